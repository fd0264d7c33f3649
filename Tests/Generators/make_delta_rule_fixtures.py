"""Writes Tests/BraidTensorTests/Fixtures/delta_rule.safetensors: outputs, final states and gradients of the naive
recurrences of flash-linear-attention (fla/ops/{delta_rule,gated_delta_rule,kda}/naive.py), computed in float64.
Usage: make_delta_rule_fixtures.py FLA_FOLDER, the folder that holds fla/. Needs torch, einops and safetensors."""
import pathlib
import sys

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

folder = pathlib.Path(sys.argv[1])


def naive(name, function):
    """A function of ops/NAME/naive.py whose arithmetic is float64 instead of float32."""
    source = (folder / "fla/ops" / name / "naive.py").read_text()
    source = source.replace("torch.float32", "torch.float64").replace("torch.float)", "torch.float64)")
    source = source.replace("x.float()", "x.double()")
    scope = {}
    exec(compile(source, name, "exec"), scope)
    return scope[function]


torch.manual_seed(0)
torch.set_default_dtype(torch.float64)
out = {}
B, L, K, V = 1, 70, 6, 5
for case, heads, key_heads in [("delta", 2, 2), ("gated", 2, 2), ("kimi", 4, 2)]:
    round32 = lambda x: x.float().double().requires_grad_()
    inputs = {
        "q": round32(F.normalize(torch.randn(B, L, key_heads, K), dim=-1)),
        "k": round32(F.normalize(torch.randn(B, L, key_heads, K) + 0.4, dim=-1)),
        "v": round32(torch.randn(B, L, heads, V)),
        "beta": round32(torch.rand(B, L, heads)),
        "state": round32(torch.randn(B, heads, K, V)),
    }
    if case == "gated":
        inputs["g"] = round32(-3 * torch.rand(B, L, heads) ** 3)
    if case == "kimi":
        inputs["g"] = round32(-6 * torch.rand(B, L, heads, K) ** 3)
    q, k, v, beta, state, g = (inputs.get(n) for n in ["q", "k", "v", "beta", "state", "g"])
    if case == "delta":
        swap = lambda x: x.transpose(1, 2)
        o, s = naive("delta_rule", "delta_rule_recurrence")(swap(q), swap(k), swap(v), swap(beta), state)
        o = swap(o)
    elif case == "gated":
        o, s = naive("gated_delta_rule", "naive_recurrent_gated_delta_rule")(
            q, k, v, beta, g, initial_state=state, output_final_state=True)
    else:
        o, s = naive("kda", "naive_recurrent_kda")(q, k, v, g, beta, initial_state=state, output_final_state=True)
    assert o.dtype == s.dtype == torch.float64
    do, ds = torch.randn_like(o).float().double(), torch.randn_like(s).float().double()
    gradients = torch.autograd.grad([o, s], list(inputs.values()), [do, ds])
    for name, value in inputs.items():
        out[f"{case}.{name}"] = value.detach()
    for name, value in zip(inputs, gradients):
        out[f"{case}.d_{name}"] = value
    out.update({f"{case}.o": o.detach(), f"{case}.final": s.detach(), f"{case}.do": do, f"{case}.ds": ds})
path = pathlib.Path(__file__).parent.parent / "BraidTensorTests/Fixtures/delta_rule.safetensors"
save_file({name: value.float().contiguous() for name, value in out.items()}, path)
