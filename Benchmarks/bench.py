#!/usr/bin/env python3
"""Speed and memory of Braid beside PyTorch with the same weights: ratios of medians in one run, two threads.

    python3 Benchmarks/bench.py --braid .build/release/braid [--runs 7] [--models hat-x4,hat-s-x4]

PyTorch and spandrel (which holds HAT) come from PyPI into a virtual environment under .build, unless --python names
an interpreter that has them. Each model gets random weights; Braid reads them from the same .pth file. Runs take
turns: Braid, PyTorch as it is, PyTorch with float32 matmul precision "medium".
"""
import argparse, datetime, os, platform, resource, statistics, subprocess, sys, tempfile, time

HERE = os.path.dirname(os.path.abspath(__file__))
MODELS = {  # name: (spandrel keyword arguments, multiply-adds of one 64 x 64 tile as published)
    "hat-x4": (dict(embed_dim=180, compress_ratio=3, squeeze_factor=30), 102.4e9),
    "hat-s-x4": (dict(embed_dim=144, compress_ratio=24, squeeze_factor=24), 54.9e9),
}


def make(name):
    from spandrel.architectures.HAT import HAT
    import torch
    torch.manual_seed(1)
    settings, _ = MODELS[name]
    model = HAT(img_size=64, window_size=16, overlap_ratio=0.5, depths=(6,) * 6, num_heads=(6,) * 6, mlp_ratio=2,
                upscale=4, upsampler="pixelshuffle", resi_connection="1conv", img_range=1.0, **settings)
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


def environment(python):
    if python:
        return python
    folder = os.path.join(HERE, "..", ".build", "bench-python")
    python = os.path.join(folder, "bin", "python")
    if not os.path.exists(python):
        subprocess.check_call([sys.executable, "-m", "venv", folder])
        subprocess.check_call([python, "-m", "pip", "install", "-q", "torch", "spandrel"])
    return python


def processor():
    with open("/proc/cpuinfo") as info:
        return next((l.split(":")[1].strip() for l in info if l.startswith("model name")), platform.machine())


def restore(arguments, python):
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
    parser.add_argument("--serve")
    parser.add_argument("--precision", default="highest")
    parser.add_argument("--save")
    arguments = parser.parse_args()
    if arguments.serve:
        return serve(arguments.serve, arguments.precision, arguments.save)
    python = environment(arguments.python)
    version = subprocess.check_output([python, "-c", "import torch; print(torch.__version__)"], text=True).strip()
    print(f"{datetime.date.today()}, {processor()}, 2 threads, PyTorch {version}, load {os.getloadavg()[0]:.1f}\n")
    restore(arguments, python)


if __name__ == "__main__":
    main()
