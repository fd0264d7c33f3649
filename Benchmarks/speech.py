#!/usr/bin/env python3
"""Speech enhancement beside PyTorch: MambAttention as published (2.3 M parameters), the same random weights.

    python3 Benchmarks/speech.py --braid .build/release/braid [--runs 3] [--seconds 2] [--long 10,60]
    python3 Benchmarks/speech.py --pesq CLEAN ENHANCED

Runs take turns on two threads: Braid, PyTorch with the published reference scan (decays and inputs of all steps in
tensors [batch, channels, length, states], then a loop), and PyTorch with a scan that makes each step's when it needs
them, as it is and with float32 matmul precision "medium". The PyTorch model below is written from the equations, from
samples to samples. Then Braid alone on longer recordings: time per second of audio and peak memory; and the streaming
model, where this build has it. Medians; peaks are those of the processes.

--pesq prints the wide-band PESQ (ITU-T P.862.2) of one pair of files, or of the files of two folders that share a
name, by PyPI's `pesq`; CLEAN and ENHANCED are of 16 kHz.

PyTorch comes from the interpreter that runs this, or --python, or PyPI (into .build/bench-python).
"""
import argparse, datetime, os, subprocess, sys, tempfile, time

import bench

ASKED = {"reference": 15, "lazy": 5}  # times faster


def model(scan):
    import torch
    from torch import nn
    from torch.nn import functional as F
    C, BLOCKS, HEADS, STATES, INNER, RANK = 64, 4, 8, 16, 256, 4

    def reference_scan(u, delta, a, b, c, d):
        """The published reference: [B, D, L], [B, D, L], [D, N], [B, N, L], [B, N, L], [D]."""
        decays = torch.exp(torch.einsum("bdl,dn->bdln", delta, a))
        inputs = torch.einsum("bdl,bnl,bdl->bdln", delta, b, u)
        state, ys = u.new_zeros(u.shape[0], u.shape[1], a.shape[1]), []
        for t in range(u.shape[2]):
            state = decays[:, :, t] * state + inputs[:, :, t]
            ys.append(torch.einsum("bdn,bn->bd", state, c[:, :, t]))
        return torch.stack(ys, dim=2) + u * d[:, None]

    def lazy_scan(u, delta, a, b, c, d):
        state, ys = u.new_zeros(u.shape[0], u.shape[1], a.shape[1]), []
        for t in range(u.shape[2]):
            step = delta[:, :, t].unsqueeze(-1)
            state = torch.exp(step * a) * state + step * u[:, :, t].unsqueeze(-1) * b[:, None, :, t]
            ys.append((state @ c[:, :, t].unsqueeze(-1)).squeeze(-1))
        return torch.stack(ys, dim=2) + u * d[:, None]

    run_scan = {"reference": reference_scan, "lazy": lazy_scan}[scan]

    class Mamba(nn.Module):
        def __init__(self):
            super().__init__()
            self.in_proj = nn.Linear(C, 2 * INNER, bias=False)
            self.conv1d = nn.Conv1d(INNER, INNER, 4, groups=INNER, padding=3)
            self.x_proj = nn.Linear(INNER, RANK + 2 * STATES, bias=False)
            self.dt_proj = nn.Linear(RANK, INNER)
            self.out_proj = nn.Linear(INNER, C, bias=False)
            self.A_log = nn.Parameter(torch.log(torch.arange(1.0, STATES + 1)).repeat(INNER, 1))
            self.D = nn.Parameter(torch.ones(INNER))
            nn.init.uniform_(self.dt_proj.bias, -6, -2)

        def forward(self, x):
            u, z = self.in_proj(x).chunk(2, dim=-1)
            u = F.silu(self.conv1d(u.transpose(1, 2))[..., : x.shape[1]])
            steps, b, c = self.x_proj(u.transpose(1, 2)).split([RANK, STATES, STATES], dim=-1)
            delta = F.softplus(self.dt_proj(steps)).transpose(1, 2)
            y = run_scan(u, delta, -torch.exp(self.A_log), b.transpose(1, 2), c.transpose(1, 2), self.D)
            return self.out_proj(y.transpose(1, 2) * F.silu(z))

    class RMSNorm(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(C))

        def forward(self, x):
            return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * self.weight

    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.mixer = RMSNorm(), Mamba()

        def forward(self, x):
            return self.mixer(self.norm(x)) + x

    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.forward_blocks, self.backward_blocks = nn.ModuleList([Layer()]), nn.ModuleList([Layer()])

        def forward(self, x):
            return torch.cat([self.forward_blocks[0](x), self.backward_blocks[0](x.flip(1)).flip(1)], -1)

    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.attn, self.layernorm = nn.MultiheadAttention(C, HEADS, batch_first=True), nn.LayerNorm(C)

        def forward(self, x):
            x = self.layernorm(x)
            return self.attn(x, x, x)[0]

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.time_mamba, self.freq_mamba, self.attention = Pair(), Pair(), Attention()
            self.tlinear, self.flinear = nn.ConvTranspose1d(2 * C, C, 1), nn.ConvTranspose1d(2 * C, C, 1)

        def forward(self, x):
            b, c, t, f = x.shape
            def mixed(x, pair, projection):
                x = x + self.attention(x)
                return x + projection(pair(x).transpose(1, 2)).transpose(1, 2)
            x = mixed(x.permute(0, 3, 2, 1).reshape(b * f, t, c), self.time_mamba, self.tlinear)
            x = x.view(b, f, t, c).transpose(1, 2).reshape(b * t, f, c)
            return mixed(x, self.freq_mamba, self.flinear).view(b, t, f, c).permute(0, 3, 1, 2)

    def stage(convolution):
        return [convolution, nn.InstanceNorm2d(convolution.out_channels, affine=True), nn.PReLU(convolution.out_channels)]

    class Dense(nn.Module):
        def __init__(self):
            super().__init__()
            self.dense_block = nn.ModuleList(
                nn.Sequential(*stage(nn.Conv2d(C * (i + 1), C, 3, dilation=(2**i, 1), padding=(2**i, 1)))) for i in range(4))

        def forward(self, x):
            seen = x
            for layer in self.dense_block:
                x = layer(seen)
                seen = torch.cat([x, seen], dim=1)
            return x

    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.dense_conv_1 = nn.Sequential(*stage(nn.Conv2d(2, C, 1)))
            self.dense_block = Dense()
            self.dense_conv_2 = nn.Sequential(*stage(nn.Conv2d(C, C, (1, 3), (1, 2))))

        def forward(self, x):
            return self.dense_conv_2(self.dense_block(self.dense_conv_1(x)))

    class Sigmoid(nn.Module):
        def __init__(self):
            super().__init__()
            self.slope = nn.Parameter(torch.ones(201, 1))

    class Mask(nn.Module):
        def __init__(self):
            super().__init__()
            self.dense_block, self.lsigmoid = Dense(), Sigmoid()
            self.mask_conv = nn.Sequential(
                nn.ConvTranspose2d(C, C, (1, 3), (1, 2)), *stage(nn.Conv2d(C, 1, 1)), nn.Conv2d(1, 1, 1))

        def forward(self, x):
            x = self.mask_conv(self.dense_block(x))[:, 0].transpose(1, 2)
            return 2 * torch.sigmoid(self.lsigmoid.slope * x)

    class Phase(nn.Module):
        def __init__(self):
            super().__init__()
            self.dense_block = Dense()
            self.phase_conv = nn.Sequential(*stage(nn.ConvTranspose2d(C, C, (1, 3), (1, 2))))
            self.phase_conv_r, self.phase_conv_i = nn.Conv2d(C, 1, 1), nn.Conv2d(C, 1, 1)

        def forward(self, x):
            x = self.phase_conv(self.dense_block(x))
            return torch.atan2(self.phase_conv_i(x), self.phase_conv_r(x))[:, 0].transpose(1, 2)

    class MambAttention(nn.Module):
        def __init__(self):
            super().__init__()
            self.dense_encoder = Encoder()
            self.TFMambAttention = nn.ModuleList(Block() for _ in range(BLOCKS))
            self.mask_decoder, self.phase_decoder = Mask(), Phase()
            self.register_buffer("window", torch.hann_window(400), persistent=False)

        def forward(self, samples):
            gain = (samples.shape[1] / samples.pow(2).sum(1, keepdim=True)).sqrt()
            spectrum = torch.stft(samples * gain, 400, 100, 400, self.window, return_complex=True)
            magnitude, phase = spectrum.abs() ** 0.3, spectrum.angle()
            x = self.dense_encoder(torch.stack([magnitude, phase], 1).transpose(2, 3))
            for block in self.TFMambAttention:
                x = block(x)
            spectrum = torch.polar((magnitude * self.mask_decoder(x)) ** (1 / 0.3), self.phase_decoder(x))
            return torch.istft(spectrum, 400, 100, 400, self.window, length=samples.shape[1]) / gain

    torch.manual_seed(1)
    return MambAttention().eval()


def serve(scan, precision, seconds, path):
    """One run for each line on standard input; prints the seconds of each."""
    import torch
    torch.set_num_threads(2)
    torch.set_float32_matmul_precision(precision)
    network = model(scan)
    if path:
        torch.save({"generator": network.state_dict()}, path)
    samples = 0.1 * torch.randn(1, int(seconds * 16000), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        network(samples)
        print("ready", flush=True)
        for _ in sys.stdin:
            start = time.perf_counter()
            network(samples)
            print("run", time.perf_counter() - start, flush=True)


def pesq(python, clean, enhanced):
    code = """
import os, sys
import soundfile
from pesq import pesq
clean, enhanced = sys.argv[1:]
pairs = [(clean, enhanced)]
if os.path.isdir(clean):
    pairs = [(os.path.join(clean, n), os.path.join(enhanced, n)) for n in sorted(os.listdir(clean))
             if os.path.exists(os.path.join(enhanced, n))]
scores = []
for first, second in pairs:
    (a, rate), (b, other) = soundfile.read(first), soundfile.read(second)
    if rate != 16000 or other != 16000:
        sys.exit(f"{second}: PESQ wants 16 kHz")
    n = min(len(a), len(b))
    scores.append(pesq(rate, a[:n], b[:n], "wb"))
    print(f"{os.path.basename(second)}\\t{scores[-1]:.3f}")
print(f"mean of {len(scores)}\\t{sum(scores) / max(1, len(scores)):.3f}")
"""
    subprocess.check_call([python, "-c", code, clean, enhanced])


def figures(output, *names):
    found = dict(line.split()[:2] for line in output.splitlines() if line.split()[:1] and line.split()[0] in names)
    return [float(found[name]) for name in names]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--braid", default=os.path.join(bench.HERE, "..", ".build", "release", "braid"))
    parser.add_argument("--python")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--long", default="10,60", help="seconds of the longer recordings, or nothing")
    parser.add_argument("--pesq", nargs=2, metavar=("CLEAN", "ENHANCED"))
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--precision", default="highest", help=argparse.SUPPRESS)
    parser.add_argument("--save", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        return serve(arguments.serve, arguments.precision, arguments.seconds, arguments.save)
    if arguments.pesq:
        return pesq(bench.environment(arguments.python, ("pesq", "soundfile")), *arguments.pesq)
    python, braid = bench.environment(arguments.python, ("torch",)), os.path.abspath(arguments.braid)
    version = subprocess.check_output([python, "-c", "import torch; print(torch.__version__)"], text=True).strip()
    print(f"{datetime.date.today()}, {bench.processor()}, 2 threads, PyTorch {version}, load {os.getloadavg()[0]:.1f}\n")
    alone = [braid, "bench", "enhance", "--threads", "2"]
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "mambattention.pth")
        script = [python, os.path.abspath(__file__), "--seconds", str(arguments.seconds), "--serve"]
        workers = {
            "PyTorch, lazy scan": bench.Worker(script + ["lazy", "--save", path]),
            "PyTorch medium, lazy scan": bench.Worker(script + ["lazy", "--precision", "medium"]),
            "PyTorch, reference scan": bench.Worker(script + ["reference"]),
            "Braid": bench.Worker(alone + ["--weights", path, "--seconds", str(arguments.seconds), "--interactive"]),
        }
        for _ in range(arguments.runs):
            for worker in workers.values():
                worker.run()
        for worker in workers.values():
            worker.finish()
    ours = workers["Braid"].median
    print(f"| MambAttention, {arguments.seconds:g} s of audio | s | times faster | peak MB |\n|-|-|-|-|")
    for name, worker in workers.items():
        print(f"| {name} | {worker.median:.2f} | {worker.median / ours:.2f} | {worker.peak / 1e6:.0f} |")
    print("\n| seconds of audio | s per second of audio | peak MB |\n|-|-|-|")
    print(f"| {arguments.seconds:g} | {ours / arguments.seconds:.3f} | {workers['Braid'].peak / 1e6:.0f} |")
    peak = 0
    for seconds in filter(None, arguments.long.split(",")):
        output = subprocess.check_output(alone + ["--seconds", seconds, "--runs", "1", "--cold"], text=True)
        each, peak = figures(output, "per-second-of-audio", "peak-bytes")
        print(f"| {seconds} | {each:.3f} | {peak / 1e6:.0f} |", flush=True)
    table = bench.Table()
    for scan, asked in ASKED.items():
        table.add(f"times faster than PyTorch, {scan} scan", workers[f"PyTorch, {scan} scan"].median / ours, asked, "",
                  least=True)
    table.add(f"MambAttention, {arguments.seconds:g} s of audio", ours, 0.6 * arguments.seconds, "s")
    if arguments.long.split(",")[-1] == "60":
        table.add("MambAttention, 60 s of audio: peak memory", peak / 1e9, 3, "GB")
    stream = subprocess.run([braid, "bench", "stream"], text=True, capture_output=True)
    print("\n" + stream.stdout if stream.returncode == 0 else "\nThis build has no braid bench stream.")
    table.show()


if __name__ == "__main__":
    main()
