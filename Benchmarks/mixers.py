#!/usr/bin/env python3
"""Speed of the sequence mixers' operations beside their PyTorch forms: ratios of medians in one run, two threads.

    python3 Benchmarks/mixers.py --braid .build/release/braid [--runs 5] [--rows selective-scan,delta-rule]

Shapes and rows are those of `braid bench mixers`. Runs take turns. Each PyTorch form is timed as it is and with
float32 matmul precision "medium". PyTorch comes from PyPI into a virtual environment under .build, unless --python
names an interpreter that has it.
"""
import argparse, datetime, os, statistics, sys

import bench

# A row of `braid bench mixers`: the PyTorch forms that it is compared with.
ROWS = {
    "selective-scan": ["reference", "lazy"],
    "selective-scan-narrow": ["reference", "lazy"],
    "delta-rule": ["delta"],
    "gated-delta-rule": ["gated-delta"],
    "kimi-delta-rule": ["kimi-delta"],
}


def scan_inputs(row):
    import torch
    length, channels, states = 4096, 128 if row == "selective-scan-narrow" else 1536, 16
    return (torch.randn(length, channels), torch.rand(length, channels) * 0.1 + 0.001,
            torch.rand(channels, states) * -8 - 0.5, torch.randn(length, states), torch.randn(length, states))


def reference(u, delta, a, b, c):
    """The reference loop of the published code: decays and inputs of all steps first."""
    import torch
    decays = torch.exp(delta.unsqueeze(-1) * a)
    inputs = (delta * u).unsqueeze(-1) * b.unsqueeze(1)
    state, ys = torch.zeros_like(a), []
    for t in range(u.shape[0]):
        state = decays[t] * state + inputs[t]
        ys.append(state @ c[t])
    return torch.stack(ys)


def lazy(u, delta, a, b, c):
    """The loop that makes each step's decays when it needs them."""
    import torch
    state, ys = torch.zeros_like(a), []
    for t in range(u.shape[0]):
        state = torch.exp(delta[t].unsqueeze(-1) * a) * state + (delta[t] * u[t]).unsqueeze(-1) * b[t]
        ys.append(state @ c[t])
    return torch.stack(ys)


def delta_inputs(row):
    import torch
    length, heads, width = 4096, 8, 128
    q, k, v = (torch.randn(length, heads, width) for _ in range(3))
    decay = {"gated-delta-rule": (length, heads, 1), "kimi-delta-rule": (length, heads, width)}.get(row)
    return (q, torch.nn.functional.normalize(k, dim=-1), v, torch.rand(length, heads),
            None if decay is None else torch.rand(decay) * -0.1)


def delta(q, k, v, beta, decay):
    """The delta rule, step by step, as the naive published forms have it."""
    import torch
    state, ys, scale = torch.zeros(q.shape[1], q.shape[2], v.shape[2]), [], q.shape[2] ** -0.5
    for t in range(q.shape[0]):
        if decay is not None:
            state = state * decay[t].exp().unsqueeze(-1)
        old = torch.einsum("hk,hkv->hv", k[t], state)
        state = state + torch.einsum("hk,hv->hkv", k[t], (v[t] - old) * beta[t].unsqueeze(-1))
        ys.append(torch.einsum("hk,hkv->hv", q[t] * scale, state))
    return torch.stack(ys)


FORMS = {  # name: (inputs of a row, the form)
    "reference": (scan_inputs, reference),
    "lazy": (scan_inputs, lazy),
    "delta": (delta_inputs, delta),
    "gated-delta": (delta_inputs, delta),
    "kimi-delta": (delta_inputs, delta),
}


def serve(row, form, precision):
    """One run for each line on standard input; prints the seconds of each."""
    import time, torch
    torch.set_num_threads(2)
    torch.set_float32_matmul_precision(precision)
    make, run = FORMS[form]
    inputs = make(row)
    with torch.inference_mode():
        print("ready", flush=True)
        for _ in sys.stdin:
            start = time.perf_counter()
            run(*inputs)
            print("run", time.perf_counter() - start, flush=True)


class Braid(bench.Worker):
    """`braid bench mixers --interactive`: a run names its pass."""

    def __init__(self, command):
        self.head = []
        super().__init__(command)

    def started(self, line):
        self.head.append(line)

    def measure(self, row, what):
        self.process.stdin.write(f"{row} {what}\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline().split()[1])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--braid", default=os.path.join(bench.HERE, "..", ".build", "release", "braid"))
    parser.add_argument("--python")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--rows", default=",".join(ROWS))
    parser.add_argument("--serve", nargs=3)
    arguments = parser.parse_args()
    if arguments.serve:
        return serve(*arguments.serve)
    python = bench.environment(arguments.python, ("torch",))
    rows = arguments.rows.split(",")
    print(f"{datetime.date.today()}, {bench.processor()}, 2 threads, load {os.getloadavg()[0]:.1f}\n")
    print("| operation | Braid ms | backward | work | PyTorch form | s | ratio | medium s | ratio |")
    print("|-|-|-|-|-|-|-|-|-|", flush=True)
    for row in rows:
        braid = Braid([arguments.braid, "bench", "mixers", "--rows", row, "--interactive", "--threads", "2"])
        script = [python, os.path.abspath(__file__), "--serve", row]
        forms = {(form, precision): bench.Worker(script + [form, precision])
                 for form in ROWS[row] for precision in ("highest", "medium")}
        forward, backward = [], []
        for _ in range(arguments.runs):
            forward.append(braid.measure(row, "forward"))
            backward.append(braid.measure(row, "backward"))
            for worker in forms.values():
                worker.run()
        head = {line.split()[0]: line.split()[1:] for line in braid.head}
        work, unit = float(head["work"][1]), head["work"][2]
        time = statistics.median(forward)
        if unit == "flops":
            rate = work / time
            figure = f"{rate / 1e9:.0f} GFLOP/s, {rate / float(head['product-flops'][0]):.0%} of a product"
        else:
            figure = (f"{time / work * 1e9:.4f} ns a state element, floor of one exponential "
                      f"{float(head['exponential-seconds'][0]) * 1e9:.4f}")
        braid.process.stdin.close()
        braid.process.wait()
        for worker in forms.values():
            worker.finish()
        for form in ROWS[row]:
            plain, medium = forms[form, "highest"].median, forms[form, "medium"].median
            print(f"| {row} | {time * 1e3:.1f} | {statistics.median(backward) / time:.2f} x | {figure} | {form} | "
                  f"{plain:.2f} | {plain / time:.0f} | {medium:.2f} | {medium / time:.0f} |", flush=True)


if __name__ == "__main__":
    main()
