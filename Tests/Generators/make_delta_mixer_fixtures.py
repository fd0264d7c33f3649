"""Writes Tests/BraidMixersTests/Fixtures/delta_mixers.safetensors: weights under their published names, an input and an
output of transformers' Qwen3NextGatedDeltaNet, OlmoHybridGatedDeltaNet and KimiLinearDeltaAttention, and of the
DeltaNet layer of flash-linear-attention (its forward written out here, over the recurrence of ops/delta_rule/naive.py).
Needs torch, transformers and safetensors."""
import pathlib

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from transformers.models.kimi_linear.configuration_kimi_linear import KimiLinearConfig
from transformers.models.kimi_linear.modeling_kimi_linear import KimiLinearDeltaAttention
from transformers.models.olmo_hybrid.configuration_olmo_hybrid import OlmoHybridConfig
from transformers.models.olmo_hybrid.modeling_olmo_hybrid import OlmoHybridGatedDeltaNet
from transformers.models.qwen3_next.configuration_qwen3_next import Qwen3NextConfig
from transformers.models.qwen3_next.modeling_qwen3_next import Qwen3NextGatedDeltaNet

torch.manual_seed(0)
out = {}
C, L = 12, 70


def randomize(parameters):
    for name, p in parameters:
        scale = 0.3 if p.dim() > 1 and "A_log" not in name else 0.5
        offset = 1 if "norm" in name else -2 if name.endswith("dt_bias") else 0.5 if name.endswith("A_log") else 0
        p.data = (offset + scale * torch.randn(p.shape)).float()


def record(case, weights, x, y):
    out.update({f"{case}.weights.{name}": value.detach().float().contiguous().clone() for name, value in weights.items()})
    out[f"{case}.input"], out[f"{case}.output"] = x, y.detach().float().contiguous()


def split_convolution(weights, sizes):
    """One convolution over q, k and v as the three of the published files."""
    weights = dict(weights)
    joined = weights.pop("conv1d.weight")
    for name, part in zip("qkv", joined.split(sizes, 0)):
        weights[f"{name}_conv1d.weight"] = part
    return {name.removeprefix("forget_gate."): value for name, value in weights.items()}


def run(case, module, rename=lambda w: w):
    module.eval()
    randomize(module.named_parameters())
    x = torch.randn(2, L, C)
    with torch.no_grad():
        record(case, rename(dict(module.named_parameters())), x, module(x))


shared = dict(hidden_size=C, linear_num_key_heads=2, linear_num_value_heads=4, linear_key_head_dim=6,
              linear_value_head_dim=5, linear_conv_kernel_dim=4, rms_norm_eps=1e-6, num_hidden_layers=4)
run("qwen3_next", Qwen3NextGatedDeltaNet(Qwen3NextConfig(**shared), 0))
run("olmo_hybrid", OlmoHybridGatedDeltaNet(OlmoHybridConfig(**shared, linear_allow_neg_eigval=True), 0),
    lambda w: split_convolution(w, [12, 12, 20]))
kimi = KimiLinearConfig(hidden_size=C, linear_num_heads=2, linear_head_dim=6, rms_norm_eps=1e-5, num_hidden_layers=4)
run("kimi_linear", KimiLinearDeltaAttention(kimi, 0), lambda w: split_convolution(w, [12, 12, 12]))

# DeltaNet: gated, keys of 6 and values of 5 in 2 heads
H, K, V = 2, 6, 5
shapes = {"q_proj.weight": (H * K, C), "k_proj.weight": (H * K, C), "v_proj.weight": (H * V, C),
          "b_proj.weight": (H, C), "g_proj.weight": (H * V, C), "o_proj.weight": (C, H * V), "o_norm.weight": (V,),
          "q_conv1d.weight": (H * K, 1, 4), "k_conv1d.weight": (H * K, 1, 4), "v_conv1d.weight": (H * V, 1, 4)}
w = {name: torch.nn.Parameter(torch.empty(shape)) for name, shape in shapes.items()}
randomize(w.items())
x = torch.randn(2, L, C)
d = {name: value.detach().double() for name, value in w.items()}
h = x.double()


def part(name, width):
    y = F.conv1d(F.pad((h @ d[f"{name}_proj.weight"].T).mT, (3, 0)), d[f"{name}_conv1d.weight"], groups=H * width)
    return F.silu(y).mT.reshape(2, L, H, width)


def unit(x):
    return x * torch.rsqrt(x.square().sum(-1, keepdim=True) + 1e-6)


q, k, v = unit(part("q", K)) * K**-0.5, unit(part("k", K)), part("v", V)
beta = torch.sigmoid(h @ d["b_proj.weight"].T)
state, outputs = torch.zeros(2, H, K, V).double(), []
for t in range(L):
    error = v[:, t] - (state * k[:, t, :, :, None]).sum(-2)
    state = state + k[:, t, :, :, None] * (error * beta[:, t, :, None])[:, :, None]
    outputs.append((state * q[:, t, :, :, None]).sum(-2))
o = torch.stack(outputs, 1)
o = o * torch.rsqrt(o.square().mean(-1, keepdim=True) + 1e-5) * d["o_norm.weight"]
o = o.reshape(2, L, -1) * F.silu(h @ d["g_proj.weight"].T)
record("deltanet", w, x, o @ d["o_proj.weight"].T)

path = pathlib.Path(__file__).parent.parent / "BraidMixersTests/Fixtures/delta_mixers.safetensors"
path.parent.mkdir(exist_ok=True)
save_file(out, path)
