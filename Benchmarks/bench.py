#!/usr/bin/env python3
"""Speed and memory of Braid: beside PyTorch with the same weights (ratios of medians in one run, two threads), and alone.

    python3 Benchmarks/bench.py --braid .build/release/braid [--long] [--runs 7] [--models hat-x4,hat-s-x4]

PyTorch and spandrel (which holds HAT) are taken from the interpreter that runs this, or from --python, or come from
PyPI into a virtual environment under .build. Each model gets random weights; Braid reads them from the same .pth file.
Runs take turns: Braid, PyTorch as it is, PyTorch with float32 matmul precision "medium". Then the command alone:
start-up, a small picture, contrast-s-denoise, and with --long a 1024 x 768 picture through HAT-S x2 in default tiles
(minutes). One table at the end holds every figure beside what is asked of it.
"""
import argparse, datetime, os, platform, resource, statistics, struct, subprocess, sys, tempfile, time, urllib.request, zlib

HERE = os.path.dirname(os.path.abspath(__file__))
MODELS = {  # name: (spandrel keyword arguments, multiply-adds of one 64 x 64 tile as published)
    "hat-x4": (dict(embed_dim=180, compress_ratio=3, squeeze_factor=30), 102.4e9),
    "hat-s-x4": (dict(embed_dim=144, compress_ratio=24, squeeze_factor=24), 54.9e9),
}
# What is asked: of the ratios to PyTorch as it is and "medium", and of the share of its peak memory.
ASKED_RATIO, ASKED_MEDIUM, ASKED_MEMORY = 3.5, 2.8, 0.5


def make(name, upscale=4):
    from spandrel.architectures.HAT import HAT
    import torch
    torch.manual_seed(1)
    settings, _ = MODELS[name]
    model = HAT(img_size=64, window_size=16, overlap_ratio=0.5, depths=(6,) * 6, num_heads=(6,) * 6, mlp_ratio=2,
                upscale=upscale, upsampler="pixelshuffle", resi_connection="1conv", img_range=1.0, **settings)
    return model.eval()


def serve(name, precision, path):
    """One tile for each line on standard input; prints the seconds of each."""
    import torch
    torch.set_num_threads(2)
    torch.set_float32_matmul_precision(precision)
    model = make(name)
    if path:
        torch.save({"params_ema": model.state_dict()}, path)
    x = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        model(x)
        print("ready", flush=True)
        for _ in sys.stdin:
            start = time.perf_counter()
            model(x)
            print("run", time.perf_counter() - start, flush=True)
    print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, flush=True)


class Worker:
    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.times, self.tail = [], []
        while True:
            line = self.process.stdout.readline()
            if not line:
                sys.exit("could not start: " + " ".join(command))
            if line.strip() == "ready":
                break
            self.started(line)

    def started(self, line):
        """What the program said before it was ready."""

    def run(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self.times.append(float(self.process.stdout.readline().split()[1]))

    def finish(self):
        # The peak is read before the process ends, for a program that does not tell its own.
        with open(f"/proc/{self.process.pid}/status") as status:
            self.peak = next(int(l.split()[1]) * 1024 for l in status if l.startswith("VmHWM"))
        self.process.stdin.close()
        self.tail = self.process.stdout.read().splitlines()
        self.process.wait()
        return self

    @property
    def median(self):
        return statistics.median(self.times)


def environment(python, modules=("torch", "spandrel")):
    """An interpreter with PyTorch and the other modules; what is missing is installed into an environment of this
    project."""
    def has_modules(python):
        probe = "import " + ", ".join(modules)
        return subprocess.run([python, "-c", probe], stderr=subprocess.DEVNULL).returncode == 0
    if python:
        if not has_modules(python):
            sys.exit(f"{python} lacks one of {', '.join(modules)}: {python} -m pip install {' '.join(modules)}")
        return python
    if has_modules(sys.executable):
        return sys.executable
    folder = os.path.abspath(os.path.join(HERE, "..", ".build", "bench-python"))
    python = os.path.join(folder, "bin", "python")
    if not os.path.exists(python) or subprocess.run([python, "-m", "pip", "--version"],
                                                    stdout=subprocess.DEVNULL).returncode != 0:
        if subprocess.run([sys.executable, "-m", "venv", "--clear", folder]).returncode != 0:
            sys.exit("no virtual environment could be made; Debian has it in the package python3-venv")
    if not has_modules(python):
        print("Installing " + ", ".join(modules) + " into " + folder, flush=True)
        pip = [python, "-m", "pip", "install", "-q"]
        if "torch" in modules:
            # The wheels without CUDA are a tenth of the size; PyPI has the others where that server cannot be reached.
            wheels = "https://download.pytorch.org/whl/cpu"
            try:
                urllib.request.urlopen(wheels + "/torch/", timeout=10).close()
                small = ["--index-url", wheels]
            except OSError:
                small = []
            subprocess.check_call(pip + ["torch", "torchvision"] + small)
        subprocess.check_call(pip + [module for module in modules if module != "torch"])
    return python


def processor():
    with open("/proc/cpuinfo") as info:
        return next((l.split(":")[1].strip() for l in info if l.startswith("model name")), platform.machine())


class Table:
    """Every figure beside what is asked of it."""

    def __init__(self):
        self.rows = []

    def add(self, what, figure, limit, unit, least=False):
        self.rows.append((what, f"{figure:.3g} {unit}".strip(), ("at least" if least else "under") + f" {limit:g} {unit}",
                          "yes" if (figure >= limit if least else figure < limit) else "no"))

    def show(self):
        rows = [("what", "measured", "asked", "reached")] + self.rows
        widths = [max(len(row[i]) for row in rows) for i in range(4)]
        for index, row in enumerate(rows):
            print("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |")
            if index == 0:
                print("|" + "|".join("-" * (width + 2) for width in widths) + "|")


def png(path, width, height):
    """A smooth picture with texture and noise, the same at every run."""
    state, rows = 1, []
    for y in range(height):
        row = bytearray([0])
        for x in range(width):
            for c in range(3):
                state = (state * 1103515245 + 12345) & 0x7FFFFFFF
                row.append(max(0, min(255, (x * (c + 1) * 255 // (3 * width) + y * 96 // height + ((x >> 3) ^ (y >> 3)) % 64
                                            + (state >> 16) % 32))))
        rows.append(bytes(row))
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    with open(path, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
                   + chunk(b"IDAT", zlib.compress(b"".join(rows), 1)) + chunk(b"IEND", b""))


def timed(command):
    """Seconds and peak bytes of one run of a command, which must end well."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}")
    return seconds, usage.ru_maxrss * 1024


def alone(arguments, python, table):
    """The command by itself: medians of whole runs, the start of the process included."""
    with tempfile.TemporaryDirectory() as folder:
        def median(count, *command):
            runs = [timed([arguments.braid, *command]) for _ in range(count + 1)][1:]
            return statistics.median(seconds for seconds, _ in runs), max(peak for _, peak in runs)
        table.add("braid --version", median(20, "--version")[0] * 1e3, 50, "ms")
        small, middle, large = (os.path.join(folder, name + ".png") for name in ("small", "middle", "large"))
        out = ["-o", os.path.join(folder, "out.png"), "--overwrite", "--quiet", "--threads", "2"]
        png(small, 64, 64)
        table.add("braid restore, 64 x 64, shipped model", median(10, "restore", small, *out)[0], 0.5, "s")
        png(middle, 481, 321)
        seconds, _ = median(5, "restore", middle, "--model", "contrast-s-denoise", *out)
        table.add("braid restore, contrast-s-denoise, 481 x 321", seconds, 2, "s")
        if not arguments.long:
            return
        weights = os.path.join(folder, "hat-s-x2.pth")
        subprocess.check_call([python, os.path.abspath(__file__), "--make", "hat-s-x4", "--upscale", "2", "--save", weights])
        png(large, 1024, 768)
        print("1024 x 768 through hat-s-x2 ...", flush=True)
        seconds, peak = timed([arguments.braid, "restore", large, "--model", "hat-s-x2", "--weights", weights] + out)
        table.add("braid restore, hat-s-x2, 1024 x 768: peak memory", peak / 1e9, 3, "GB")
        table.rows.append(("braid restore, hat-s-x2, 1024 x 768: time", f"{seconds:.0f} s", "", ""))


def restore(arguments, python, table):
    print("| model, 64 x 64 tile | Braid s | PyTorch s | ratio | medium s | ratio | Braid MB | PyTorch MB | ratio |")
    print("|-|-|-|-|-|-|-|-|-|")
    details = []
    for name in arguments.models.split(","):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, name + ".pth")
            script = [python, os.path.abspath(__file__), "--serve", name]
            plain = Worker(script + ["--precision", "highest", "--save", path])
            medium = Worker(script + ["--precision", "medium"])
            braid = Worker([arguments.braid, "bench", "restore", "--model", name, "--weights", path, "--interactive",
                            "--threads", "2"])
            for _ in range(arguments.runs):
                for worker in (braid, plain, medium):
                    worker.run()
            for worker in (braid, plain, medium):
                worker.finish()
        print(f"| {name} | {braid.median:.3f} | {plain.median:.3f} | {plain.median / braid.median:.2f} | "
              f"{medium.median:.3f} | {medium.median / braid.median:.2f} | {braid.peak / 1e6:.0f} | "
              f"{plain.peak / 1e6:.0f} | {braid.peak / plain.peak:.2f} |", flush=True)
        table.add(f"{name}, 64 x 64: times faster than PyTorch", plain.median / braid.median, ASKED_RATIO, "", least=True)
        table.add(f"{name}, 64 x 64: times faster than PyTorch, medium", medium.median / braid.median, ASKED_MEDIUM, "",
                  least=True)
        table.add(f"{name}, 64 x 64: peak memory beside PyTorch's", braid.peak / plain.peak, ASKED_MEMORY, "")
        rate = next(float(l.split()[1]) for l in braid.tail if l.startswith("product-flops"))
        floor = 2 * MODELS[name][1] / rate
        details.append(f"{name}: at the rate of a large product here ({rate / 1e9:.0f} GFLOP/s) its multiply-adds, "
                       f"counted as published, take {floor:.3f} s; best run {min(braid.times):.3f} s, "
                       f"{floor / min(braid.times):.0%} of that rate. Time of each operation:")
        details += ["  " + l for l in braid.tail if l.startswith("operation")]
    print()
    print("\n".join(details))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--braid", default=os.path.join(HERE, "..", ".build", "release", "braid"))
    parser.add_argument("--python")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--models", default="hat-x4,hat-s-x4")
    parser.add_argument("--long", action="store_true", help="also a 1024 x 768 picture through HAT-S x2 (minutes)")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--make", help=argparse.SUPPRESS)
    parser.add_argument("--upscale", type=int, default=4, help=argparse.SUPPRESS)
    parser.add_argument("--precision", default="highest", help=argparse.SUPPRESS)
    parser.add_argument("--save", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        return serve(arguments.serve, arguments.precision, arguments.save)
    if arguments.make:
        import torch
        return torch.save({"params_ema": make(arguments.make, arguments.upscale).state_dict()}, arguments.save)
    arguments.braid = os.path.abspath(arguments.braid)
    python = environment(arguments.python)
    version = subprocess.check_output([python, "-c", "import torch; print(torch.__version__)"], text=True).strip()
    machine = f"{datetime.date.today()}, {processor()}, 2 threads, PyTorch {version}, load {os.getloadavg()[0]:.1f}"
    print(machine + "\n")
    table = Table()
    restore(arguments, python, table)
    print()
    alone(arguments, python, table)
    print("\n" + machine + "\n")
    table.show()


if __name__ == "__main__":
    main()
