#!/usr/bin/env python3
"""Speed of the sequence mixers' operations beside their PyTorch forms: ratios of medians in one run, two threads.

    python3 Benchmarks/mixers.py --braid .build/release/braid [--runs 5] [--only selective-scan,ssd] [--limit 4] [--quick]

Shapes and rows are those of `braid bench mixers`. Braid and PyTorch take turns; a turn is the median of its runs, the
first not counted, where they are short. Each PyTorch form is timed as it is and with float32 matmul precision "medium".
Forms that loop over steps take time in proportion to their length: where a whole run would take longer than --limit
seconds they run over fewer steps and the time is scaled, which the table says.
--quick takes every row once over few steps, to see that all of them work. PyTorch comes from PyPI into a virtual
environment under .build, unless --python names an interpreter that has it.
"""
import argparse, datetime, os, statistics, sys

import bench

LENGTH, LEAST = 4096, 128

# A row of `braid bench mixers`: the PyTorch forms that it is compared with, and what is asked of the ratio to each
# where something is.
ROWS = {
    "selective-scan": [("reference", 90), ("lazy", 20)],
    "selective-scan-narrow": [("reference", None), ("lazy", None)],
    "ssd": [("ssd-transformers", 10), ("simple-recurrent", None)],
    "gla": [("gla-recurrent", 10), ("gla-chunked", None)],
    "gla-64": [("gla-recurrent", 10), ("gla-chunked", None)],
    "retnet": [("retention-naive", 10), ("simple-recurrent", None), ("simple-chunked", None)],
    "lightning": [("lightning-step", 10), ("lightning-transformers", None)],
    "delta-rule": [("delta", 10)],
    "gated-delta-rule": [("delta", 10), ("gated-delta-transformers", None)],
    "kimi-delta-rule": [("delta", 10)],
}


# Inputs of a row, and the forms. All are the published equations; names say whose form it is.

def scan_inputs(row, length):
    import torch
    channels, states = 128 if row == "selective-scan-narrow" else 1536, 16
    return (torch.randn(length, channels), torch.rand(length, channels) * 0.1 + 0.001,
            torch.rand(channels, states) * -8 - 0.5, torch.randn(length, states), torch.randn(length, states))


def reference(u, delta, a, b, c):
    """The reference loop of the published code of Mamba: decays and inputs of all steps first."""
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


def linear_inputs(row, length):
    """q, k, v [length, heads, width], and the logarithm of the decay [length, heads, 1 or keys]."""
    import torch
    heads, keys, values = {"ssd": (24, 128, 64), "gla": (8, 128, 128), "gla-64": (16, 64, 64),
                           "retnet": (8, 128, 256), "lightning": (8, 128, 128)}[row]
    groups = 1 if row == "ssd" else heads
    q, k = (torch.randn(length, groups, keys) for _ in range(2))
    v = torch.randn(length, heads, values)
    if row.startswith("gla"):
        decay = torch.rand(length, heads, keys) * -0.1
    elif row == "ssd":
        decay = torch.rand(length, heads, 1) * -0.1
    else:
        decay = fixed_decay(heads).reshape(1, heads, 1).expand(length, heads, 1)
    return q, k, v, decay


def fixed_decay(heads):
    """RetNet's."""
    import torch
    return torch.log1p(-2.0 ** (-5 - torch.arange(heads).float()))


def recurrent(q, k, v, decay):
    """fla's naive recurrent form of gated linear attention, of simple GLA where a head has one decay."""
    import torch
    heads = v.shape[1]
    q, k = (x.expand(-1, heads, -1) * s for x, s in ((q, q.shape[2] ** -0.5), (k, 1)))
    state, ys = torch.zeros(heads, k.shape[2], v.shape[2]), []
    for t in range(q.shape[0]):
        state = state * decay[t].exp().unsqueeze(-1) + k[t].unsqueeze(-1) * v[t].unsqueeze(1)
        ys.append((q[t].unsqueeze(-1) * state).sum(1))
    return torch.stack(ys)


def chunked(q, k, v, decay, size=64):
    """Products of whole chunks, as fla's chunked PyTorch form of simple GLA (one decay a head) has them."""
    import torch
    heads, chunks = v.shape[1], q.shape[0] // size
    q, k, v, decay = (x.expand(-1, heads, -1).reshape(chunks, size, heads, -1).permute(2, 0, 1, 3)
                      for x in (q, k, v, decay))
    q = q * q.shape[-1] ** -0.5
    total = decay.cumsum(2)
    mask = torch.ones(size, size, dtype=torch.bool).triu(1)
    pairs = (total - total.transpose(2, 3)).masked_fill(mask, float("-inf")).exp()
    inside = (q @ k.transpose(2, 3) * pairs) @ v
    last = total[:, :, -1:]
    products = (k * (last - total).exp()).transpose(2, 3) @ v
    state, states = torch.zeros_like(products[:, 0]), []
    for i in range(chunks):
        states.append(state)
        state = state * last[:, i].exp() + products[:, i]
    return inside + (q * total.exp()) @ torch.stack(states, 1)


def gla_chunked(q, k, v, decay, size=16):
    """Products of whole chunks with a decay for every key, short enough that exp(-total) stays in range."""
    import torch
    heads, chunks = v.shape[1], q.shape[0] // size
    q, k, v, decay = (x.reshape(chunks, size, heads, -1).permute(2, 0, 1, 3) for x in (q, k, v, decay))
    total = decay.cumsum(2)
    q, inverse = q * q.shape[-1] ** -0.5 * total.exp(), k * (-total).exp()
    mask = torch.ones(size, size, dtype=torch.bool).triu(1)
    inside = (q @ inverse.transpose(2, 3)).masked_fill(mask, 0) @ v
    last = total[:, :, -1:]
    products = (k * (last - total).exp()).transpose(2, 3) @ v
    state, states = torch.zeros_like(products[:, 0]), []
    for i in range(chunks):
        states.append(state)
        state = state * last[:, i].exp().transpose(1, 2) + products[:, i]
    return inside + q @ torch.stack(states, 1)


def retention(q, k, v, decay):
    """fla's naive retention: all pairs of positions."""
    import torch
    n = torch.arange(q.shape[0]).float()
    distance = n.unsqueeze(-1) - n
    weights = torch.exp(distance * decay[0].reshape(-1, 1, 1)) * (distance >= 0)
    scores = torch.einsum("qhd,khd,hqk->hqk", q * q.shape[2] ** -0.5, k, weights)
    return torch.einsum("hqk,khd->qhd", scores, v)


def lightning(q, k, v, decay, size=256):
    """transformers' blocks of MiniMax's Lightning attention."""
    import torch
    slope = -decay[0].reshape(-1, 1, 1)
    q, k, v = (x.transpose(0, 1) for x in (q, k, v))
    place = torch.arange(size).unsqueeze(-1) + 1
    query_decay, key_decay = torch.exp(-slope * place), torch.exp(-slope * (size - place))
    distance = place - place.T
    diagonal = torch.exp(torch.where(distance >= 0, -slope * distance, float("-inf")))
    state, ys = torch.zeros(q.shape[0], q.shape[2], v.shape[2]), []
    for i in range(0, q.shape[1], size):
        a, b, c = q[:, i:i + size], k[:, i:i + size], v[:, i:i + size]
        length = a.shape[1]
        inside = (a @ b.transpose(1, 2) * diagonal[:, :length, :length]) @ c
        ys.append((a * query_decay[:, :length]) @ state + inside)
        state = state * torch.exp(-slope * length) + (b * key_decay[:, -length:]).transpose(1, 2) @ c
    return torch.cat(ys, 1)


def lightning_step(q, k, v, decay):
    """transformers' loop over positions, which MiniMax's layer takes once it has a cache."""
    import torch
    ratio = decay[0].reshape(-1, 1, 1).exp()
    q, k, v = (x.transpose(0, 1) for x in (q, k, v))
    state, ys = torch.zeros(q.shape[0], q.shape[2], v.shape[2]), []
    for t in range(q.shape[1]):
        state = ratio * state + k[:, t:t + 1].transpose(1, 2) @ v[:, t:t + 1]
        ys.append(q[:, t:t + 1] @ state)
    return torch.cat(ys, 1)


def segment_sum(x):
    import torch
    size = x.shape[-1]
    below = torch.ones(size, size, dtype=torch.bool).tril(-1)
    sums = x.unsqueeze(-1).expand(*x.shape, size).masked_fill(~below, 0).cumsum(-2)
    return sums.masked_fill(torch.ones(size, size, dtype=torch.bool).triu(1), float("-inf"))


def ssd(q, k, v, decay, size=256):
    """transformers' products of whole chunks of Mamba-2 (q is C, k is B, v is the step times x)."""
    import torch
    size = min(size, q.shape[0])
    heads, chunks = v.shape[1], q.shape[0] // size
    c, b, x, a = (t.expand(-1, heads, -1).reshape(chunks, size, heads, -1) for t in (q, k, v, decay))
    a = a.squeeze(-1).permute(2, 0, 1)
    total = a.cumsum(-1)
    scores = torch.einsum("clhn,cshn->clsh", c, b) * segment_sum(a).exp().permute(1, 2, 3, 0)
    inside = torch.einsum("clsh,cshp->clhp", scores, x)
    decayed = b * (total[..., -1:] - total).exp().permute(1, 2, 0).unsqueeze(-1)
    states = torch.einsum("clhn,clhp->chpn", decayed, x)
    states = torch.cat([torch.zeros_like(states[:1]), states])
    between = segment_sum(torch.nn.functional.pad(total[..., -1], (1, 0))).exp()
    states = torch.einsum("hcz,zhpn->chpn", between, states)[:-1]
    outside = torch.einsum("clhn,chpn->clhp", c, states) * total.exp().permute(1, 2, 0).unsqueeze(-1)
    return inside + outside


def delta_inputs(row, length):
    import torch
    heads, width = 8, 128
    q, k, v = (torch.randn(length, heads, width) for _ in range(3))
    decay = {"gated-delta-rule": (length, heads, 1), "kimi-delta-rule": (length, heads, width)}.get(row)
    return (q, torch.nn.functional.normalize(k, dim=-1), v, torch.rand(length, heads),
            None if decay is None else torch.rand(decay) * -0.1)


def delta(q, k, v, beta, decay):
    """The delta rule, step by step, as fla's naive forms and transformers' recurrent form have it."""
    import torch
    state, ys, scale = torch.zeros(q.shape[1], q.shape[2], v.shape[2]), [], q.shape[2] ** -0.5
    for t in range(q.shape[0]):
        if decay is not None:
            state = state * decay[t].exp().unsqueeze(-1)
        old = (state * k[t].unsqueeze(-1)).sum(1)
        state = state + k[t].unsqueeze(-1) * ((v[t] - old) * beta[t].unsqueeze(-1)).unsqueeze(1)
        ys.append((state * (q[t] * scale).unsqueeze(-1)).sum(1))
    return torch.stack(ys)


def gated_delta_chunked(q, k, v, beta, decay, size=64):
    """transformers' products of whole chunks of the gated delta rule."""
    import torch
    heads, chunks = v.shape[1], q.shape[0] // size
    q, k, v, beta, decay = (x.reshape(chunks, size, heads, -1).permute(2, 0, 1, 3).contiguous()
                            for x in (q * q.shape[2] ** -0.5, k, v, beta.unsqueeze(-1), decay))
    total = decay.cumsum(2)
    mask = torch.ones(size, size, dtype=torch.bool).triu(1)
    pairs = (total - total.transpose(2, 3)).masked_fill(mask, float("-inf")).exp()
    system = (k * beta) @ k.transpose(2, 3) * pairs
    scores = q @ k.transpose(2, 3) * pairs
    values = torch.linalg.solve_triangular(system, v * beta, upper=False, unitriangular=True)
    keys = torch.linalg.solve_triangular(system, k * beta * total.exp(), upper=False, unitriangular=True)
    last = total[:, :, -1:]
    q, k = q * total.exp(), k * (last - total).exp()
    state, out = torch.zeros(heads, k.shape[3], v.shape[3]), torch.zeros_like(v)
    for i in range(chunks):
        new = values[:, i] - keys[:, i] @ state
        out[:, i] = q[:, i] @ state + scores[:, i] @ new
        state = state * last[:, i].exp() + k[:, i].transpose(1, 2) @ new
    return out


FORMS = {  # name: (inputs of a row, the form, whether its time is in proportion to its length)
    "reference": (scan_inputs, reference, True),
    "lazy": (scan_inputs, lazy, True),
    "ssd-transformers": (linear_inputs, ssd, False),
    "simple-recurrent": (linear_inputs, recurrent, True),
    "simple-chunked": (linear_inputs, chunked, False),
    "gla-recurrent": (linear_inputs, recurrent, True),
    "gla-chunked": (linear_inputs, gla_chunked, False),
    "retention-naive": (linear_inputs, retention, False),
    "lightning-transformers": (linear_inputs, lightning, False),
    "lightning-step": (linear_inputs, lightning_step, True),
    "delta": (delta_inputs, delta, True),
    "gated-delta-transformers": (delta_inputs, gated_delta_chunked, False),
}


def serve(limit, quick):
    """Lines `ROW FORM PRECISION` on standard input; answers with the seconds of a whole run and the steps it took."""
    import time, torch
    torch.set_num_threads(2)
    prepared = {}

    def run(form, inputs):
        start = time.perf_counter()
        FORMS[form][1](*inputs)
        return time.perf_counter() - start

    def prepare(row, form):
        make, _, scales = FORMS[form]
        length = LEAST if quick and scales else LENGTH
        if scales:  # a short run says what a whole one would take
            trial = make(row, LEAST)
            run(form, trial)
            step = run(form, trial) / LEAST
            while length > LEAST and length * step > limit:
                length //= 2
        inputs = make(row, length)
        run(form, inputs)
        return inputs, length

    with torch.inference_mode():
        print("ready", flush=True)
        for line in sys.stdin:
            row, form, precision = line.split()
            torch.set_float32_matmul_precision(precision)
            if (row, form) not in prepared:
                prepared = {key: value for key, value in prepared.items() if key[0] == row}
                prepared[row, form] = prepare(row, form)
            inputs, length = prepared[row, form]
            print("run", run(form, inputs) * LENGTH / length, length, flush=True)


class Asked(bench.Worker):
    """A program that answers each line with `run SECONDS ...`."""

    def __init__(self, command):
        self.head = []
        super().__init__(command)

    def started(self, line):
        self.head.append(line)

    def ask(self, *words):
        self.process.stdin.write(" ".join(words) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().split()
        if answer[:1] != ["run"]:
            sys.exit(f"no answer to {' '.join(words)}: {' '.join(answer)}")
        return [float(word) for word in answer[1:]]

    def measure(self, *words):
        """The median answer of a turn. Runs of less than a second are repeated for a tenth of one, and the first does
        not count: the other program's threads still spin then, and this one's sleep."""
        answers = [self.ask(*words)]
        while answers[0][0] < 1 and (len(answers) < 2 or sum(answer[0] for answer in answers) < 0.1):
            answers.append(self.ask(*words))
        return sorted(answers[1:] or answers)[(len(answers) - 1) // 2]

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--braid", default=os.path.join(bench.HERE, "..", ".build", "release", "braid"))
    parser.add_argument("--python")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--only", default=",".join(ROWS), metavar="ROW,ROW")
    parser.add_argument("--limit", type=float, default=4, help="seconds of a whole run of a loop over steps")
    parser.add_argument("--quick", action="store_true", help="every row once, loops over few steps")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        return serve(arguments.limit, arguments.quick)
    rows = arguments.only.split(",")
    for row in rows:
        if row not in ROWS:
            sys.exit(f"no row {row}; there are {', '.join(ROWS)}")
    runs = 1 if arguments.quick else arguments.runs
    python = bench.environment(arguments.python, ("torch",))
    torch = Asked([python, os.path.abspath(__file__), "--serve", "--limit", str(arguments.limit)]
                  + ["--quick"] * arguments.quick)
    print(f"{datetime.date.today()}, {bench.processor()}, 2 threads, load {os.getloadavg()[0]:.1f}\n")
    print("| operation | Braid ms | backward | work | PyTorch form | steps | s | ratio | medium s | ratio | asked |")
    print("|-|-|-|-|-|-|-|-|-|-|-|", flush=True)
    for row in rows:
        braid = Asked([arguments.braid, "bench", "mixers", "--rows", row, "--interactive", "--threads", "2"])
        forms = [(form, precision) for form, _ in ROWS[row] for precision in ("highest", "medium")]
        times, steps, forward, backward = {form: [] for form in forms}, {}, [], []
        for _ in range(runs):
            forward += braid.measure(row, "forward")
            backward += braid.measure(row, "backward")
            for form in forms:
                seconds, length = torch.measure(row, *form)
                times[form].append(seconds)
                steps[form] = int(length)
        head = {line.split()[0]: line.split()[1:] for line in braid.head}
        braid.close()
        work, unit = float(head["work"][1]), head["work"][2]
        time = statistics.median(forward)
        if unit == "flops":
            rate = work / time
            figure = f"{rate / 1e9:.0f} GFLOP/s, {rate / float(head['product-flops'][0]):.0%} of a product"
        else:
            figure = (f"{time / work * 1e9:.4f} ns a state element, floor of one exponential "
                      f"{float(head['exponential-seconds'][0]) * 1e9:.4f}")
        for form, asked in ROWS[row]:
            plain, medium = (statistics.median(times[form, p]) for p in ("highest", "medium"))
            print(f"| {row} | {time * 1e3:.1f} | {statistics.median(backward) / time:.2f} x | {figure} | {form} | "
                  f"{steps[form, 'highest']} | {plain:.2f} | {plain / time:.1f} | {medium:.2f} | {medium / time:.1f} | "
                  f"{asked or ''} |", flush=True)
    torch.close()


if __name__ == "__main__":
    main()
