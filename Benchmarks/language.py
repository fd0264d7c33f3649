#!/usr/bin/env python3
"""Braid beside transformers on a hybrid language model of Bamba's layout, 326 M parameters, random weights.

    python3 Benchmarks/language.py --braid .build/release/braid [--runs 3] [--prefill 4096] [--decode 32]

Hidden 1024, 20 layers, attention at 5, 11 and 17 with 16 heads and 4 key-value heads, Mamba-2 with 32 heads of 64 and
state 128, feed-forward 2816, vocabulary 32,000, tied. transformers makes and saves the weights; Braid reads that
folder. Runs take turns on two threads: PyTorch as it is, PyTorch with float32 matmul precision "medium", Braid with
weights held in float32, bfloat16 and int8. Medians; peaks are those of the processes.
PyTorch and transformers come from the interpreter that runs this, or --python, or PyPI (into .build/bench-python).
"""
import argparse, datetime, os, statistics, subprocess, sys, tempfile, time

import bench

ASKED = {  # times faster than PyTorch as it is (and "medium", where asked)
    ("prefill", "f32"): (4.5, 3.0), ("decode", "f32"): (2.2, None), ("decode", "bf16"): (4.0, None),
    ("decode", "int8"): (6.0, None),
}


def make(folder):
    import torch
    from transformers import BambaConfig, BambaForCausalLM
    torch.manual_seed(1)
    config = BambaConfig(
        vocab_size=32000, hidden_size=1024, intermediate_size=2816, num_hidden_layers=20, attn_layer_indices=[5, 11, 17],
        num_attention_heads=16, num_key_value_heads=4, mamba_n_heads=32, mamba_d_head=64, mamba_n_groups=1,
        mamba_d_state=128, mamba_d_conv=4, mamba_expand=2, tie_word_embeddings=True)
    model = BambaForCausalLM(config).eval()
    print(sum(p.numel() for p in model.parameters()), "parameters")
    model.save_pretrained(folder)


def serve(folder, precision, prefill, decode):
    """A measurement for each line on standard input, "prefill" or "decode"; prints its seconds."""
    import torch
    from transformers import BambaForCausalLM
    torch.set_num_threads(2)
    torch.set_float32_matmul_precision(precision)
    model = BambaForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    ids = torch.randint(0, 32000, (1, prefill), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        cache = model(ids[:, :64], use_cache=True, logits_to_keep=1).past_key_values
        print("ready", flush=True)
        for line in sys.stdin:
            start = time.perf_counter()
            if line.strip() == "prefill":
                cache = model(ids, use_cache=True, logits_to_keep=1).past_key_values
            else:
                token = ids[:, :1]
                for _ in range(decode):
                    out = model(token, past_key_values=cache, use_cache=True)
                    cache, token = out.past_key_values, out.logits[:, -1:].argmax(-1)
            print("run", time.perf_counter() - start, flush=True)


class Worker(bench.Worker):
    def measure(self, what):
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline().split()[1])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--braid", default=os.path.join(bench.HERE, "..", ".build", "release", "braid"))
    parser.add_argument("--python")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--prefill", type=int, default=4096)
    parser.add_argument("--decode", type=int, default=32)
    parser.add_argument("--make", help=argparse.SUPPRESS)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--precision", default="highest", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.make:
        return make(arguments.make)
    if arguments.serve:
        return serve(arguments.serve, arguments.precision, arguments.prefill, arguments.decode)
    python = bench.environment(arguments.python, ("torch", "transformers"))
    braid = os.path.abspath(arguments.braid)
    version = subprocess.check_output(
        [python, "-c", "import torch, transformers as t; print(torch.__version__, 'transformers', t.__version__)"],
        text=True, stderr=subprocess.DEVNULL).strip()
    print(f"{datetime.date.today()}, {bench.processor()}, 2 threads, PyTorch {version}, load {os.getloadavg()[0]:.1f}\n")
    with tempfile.TemporaryDirectory() as folder:
        script = [python, os.path.abspath(__file__)]
        subprocess.check_call(script + ["--make", folder])
        sizes = ["--prefill", str(arguments.prefill), "--decode", str(arguments.decode)]
        commands = {
            "PyTorch": script + sizes + ["--serve", folder],
            "PyTorch medium": script + sizes + ["--serve", folder, "--precision", "medium"],
        }
        for form in ("f32", "bf16", "int8", "q4_0"):
            commands[form] = [braid, "lm", "bench", "--model", folder, "--weights-format", form, "--interactive",
                              "--threads", "2"] + sizes
        workers = {name: Worker(command) for name, command in commands.items()}
        times = {(what, name): [] for what in ("prefill", "decode") for name in workers}
        for _ in range(arguments.runs):
            for what in ("prefill", "decode"):
                for name, worker in workers.items():
                    times[what, name].append(worker.measure(what))
        for worker in workers.values():
            worker.finish()
    median = {key: statistics.median(values) for key, values in times.items()}
    print(f"| | prefill of {arguments.prefill}, s | decode, ms a token | peak MB |\n|-|-|-|-|")
    for name, worker in workers.items():
        print(f"| {name} | {median['prefill', name]:.2f} | {median['decode', name] / arguments.decode * 1e3:.1f} | "
              f"{worker.peak / 1e6:.0f} |")
    print()
    table = bench.Table()
    for (what, form), (plain, medium) in ASKED.items():
        table.add(f"{what}, {form}: times faster than PyTorch", median[what, "PyTorch"] / median[what, form], plain, "",
                  least=True)
        if medium:
            table.add(f"{what}, {form}: times faster than PyTorch, medium",
                      median[what, "PyTorch medium"] / median[what, form], medium, "", least=True)
    table.add("peak memory, f32, beside PyTorch's", workers["f32"].peak / workers["PyTorch"].peak, 0.8, "")
    table.show()


if __name__ == "__main__":
    main()
