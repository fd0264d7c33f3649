"""Writes Tests/BraidMixersTests/Fixtures/decay_mixers.safetensors: weights under their published names, an input and an
output of transformers' Mamba-2 layers (Mamba-2, Bamba, Falcon-H1, Nemotron-H, Zamba2) and MiniMaxLightningAttention,
and of layers of flash-linear-attention, their forwards written out here over the recurrences of its ops/*/naive.py.
Needs torch, transformers, safetensors and einops; the argument is the folder of flash-linear-attention that holds ops."""
import math
import pathlib
import sys

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from transformers import BambaConfig, FalconH1Config, Mamba2Config, MiniMaxConfig, NemotronHConfig, Zamba2Config
from transformers.models.bamba.modeling_bamba import BambaMixer
from transformers.models.falcon_h1.modeling_falcon_h1 import FalconH1Mixer, compute_mup_vector
from transformers.models.mamba2.modeling_mamba2 import Mamba2Mixer
from transformers.models.minimax.modeling_minimax import MiniMaxLightningAttention
from transformers.models.nemotron_h.modeling_nemotron_h import NemotronHMamba2Mixer
from transformers.models.zamba2.modeling_zamba2 import Zamba2MambaMixer

torch.manual_seed(0)
out = {}
C, B, L = 12, 1, 70


def randomize(parameters):
    for name, p in parameters:
        scale = 0.3 if p.dim() > 1 else 0.5
        offset = 1 if "norm" in name else -2 if name.endswith("dt_bias") else 0.5 if name.endswith("A_log") else 0
        p.data = (offset + scale * torch.randn(p.shape)).to(p.dtype)


def record(case, weights, x, y):
    out.update({f"{case}.weights.{name}": value.detach().float().contiguous().clone() for name, value in weights.items()})
    out[f"{case}.input"], out[f"{case}.output"] = x.float(), y.detach().float().contiguous()


def run(case, module, *arguments):
    module.eval()
    randomize(module.named_parameters())
    x = torch.randn(B, L, C)
    with torch.no_grad():
        y = module(x, *arguments)
        record(case, dict(module.named_parameters()), x, y[0] if isinstance(y, tuple) else y)


# 4 heads of 6, 5 states; chunks of 16
run("mamba2", Mamba2Mixer(Mamba2Config(
    hidden_size=C, num_heads=4, head_dim=6, state_size=5, n_groups=1, expand=2, chunk_size=16, layer_norm_epsilon=1e-5,
    num_hidden_layers=2), 0))
run("bamba", BambaMixer(BambaConfig(
    hidden_size=C, mamba_n_heads=4, mamba_d_head=6, mamba_d_state=5, mamba_n_groups=2, mamba_expand=2,
    mamba_chunk_size=16, mamba_proj_bias=True, rms_norm_eps=1e-6, num_hidden_layers=2, time_step_limit=(0.1, 0.3),
    num_attention_heads=4, num_key_value_heads=2), 0))
run("nemotron_h", NemotronHMamba2Mixer(NemotronHConfig(
    hidden_size=C, mamba_num_heads=4, mamba_head_dim=6, ssm_state_size=5, n_groups=2, chunk_size=16, use_bias=False,
    layer_norm_epsilon=1e-5, time_step_min=0.12, num_attention_heads=4, num_key_value_heads=2), 0))
run("zamba2", Zamba2MambaMixer(Zamba2Config(
    hidden_size=C, n_mamba_heads=4, mamba_headdim=6, mamba_d_state=5, mamba_ngroups=1, mamba_expand=2, chunk_size=16,
    add_bias_linear=True, time_step_min=0.12, num_attention_heads=4), 0))
falcon = dict(
    hidden_size=C, mamba_n_heads=4, mamba_d_head=6, mamba_d_ssm=24, mamba_d_state=5, mamba_n_groups=2,
    mamba_chunk_size=16, rms_norm_eps=1e-5, num_hidden_layers=2, ssm_in_multiplier=0.6,
    ssm_multipliers=[0.7, 1.3, 0.4, 1.1, 0.9], num_attention_heads=4, num_key_value_heads=2)
for case, options in [("falcon_h1", dict(mamba_rms_norm=False)),
                      ("falcon_h1_norm", dict(mamba_rms_norm=True, mamba_norm_before_gate=True))]:
    config = FalconH1Config(**falcon, **options)
    mixer = FalconH1Mixer(config, 0)
    mixer.mup_vector = compute_mup_vector(config)
    run(case, mixer)

run("minimax", MiniMaxLightningAttention(MiniMaxConfig(
    hidden_size=C, num_attention_heads=3, num_key_value_heads=3, head_dim=6, num_hidden_layers=4, block_size=16,
    layer_types=["linear_attention"] * 4), 2), None, None)


# Layers of flash-linear-attention, in double precision: 4 heads (2 of keys) with keys of 6 and values of 5
def naive(family):
    namespace = {}
    source = (pathlib.Path(sys.argv[1]) / f"ops/{family}/naive.py").read_text()
    for line in ["from fla", "import triton"]:
        assert line not in source
    exec(source.replace(".float()", ".double()").replace("torch.float32", "torch.float64")
         .replace("dtype=torch.float)", "dtype=torch.float64)"), namespace)
    return namespace


H, G, K, V, eps = 4, 2, 6, 5, 1e-5


def weights(shapes):
    w = {name: torch.nn.Parameter(torch.empty(shape)) for name, shape in shapes.items()}
    randomize(w.items())
    return w, {name: value.detach().double() for name, value in w.items()}


def projections(heads, key, value, groups=None):
    groups = groups or heads
    return {"q_proj.weight": (heads * key, C), "k_proj.weight": (groups * key, C), "v_proj.weight": (groups * value, C),
            "o_proj.weight": (C, heads * value)}


def rms(x, weight=None):
    y = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps)
    return y if weight is None else y * weight


def conv(x, weight, activation=F.silu):
    size = weight.shape[-1]
    return activation(F.conv1d(F.pad(x.mT, (size - 1, 0)), weight, groups=weight.shape[0]).mT)


def heads(x, width, repeat=1):
    return x.reshape(B, L, -1, width).repeat_interleave(repeat, 2)


def rotary(x):
    half = x.shape[-1] // 2
    angle = torch.arange(L).double()[:, None] * 10000 ** (-torch.arange(half).double() / half)
    cos, sin = angle.cos()[:, None], angle.sin()[:, None]
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


h = torch.randn(B, L, C).double()

# RetNet: rotary, gated
w, d = weights({**projections(H, K, K), "g_proj.weight": (H * K, C), "g_norm_swish_gate.weight": (K,)})
q, k, v = (heads(h @ d[f"{n}_proj.weight"].T, K) for n in "qkv")
o = naive("retention")["naive_retention"](rotary(q).transpose(1, 2), rotary(k).transpose(1, 2), v.transpose(1, 2))
o = rms(o.transpose(1, 2), d["g_norm_swish_gate.weight"]).reshape(B, L, -1) * F.silu(h @ d["g_proj.weight"].T)
record("retnet", w, h, o @ d["o_proj.weight"].T)

# Simple GLA: convolutions, shared keys, gated
w, d = weights({**projections(H, K, V, G), "g_proj.weight": (H * V, C), "g_norm_swish_gate.weight": (V,),
                "gk_proj.weight": (H, C), "gk_proj.bias": (H,), "q_conv1d.weight": (H * K, 1, 4),
                "k_conv1d.weight": (G * K, 1, 4), "v_conv1d.weight": (G * V, 1, 4)})
q, k, v = (conv(h @ d[f"{n}_proj.weight"].T, d[f"{n}_conv1d.weight"]) for n in "qkv")
g = F.logsigmoid(h @ d["gk_proj.weight"].T + d["gk_proj.bias"]) / 16
o, _ = naive("simple_gla")["naive_recurrent_simple_gla"](heads(q, K), heads(k, K, 2), heads(v, V, 2), g)
o = rms(o, d["g_norm_swish_gate.weight"]).reshape(B, L, -1) * F.silu(h @ d["g_proj.weight"].T)
record("simple_gla", w, h, o @ d["o_proj.weight"].T)

# GLA: shared keys, gated
w, d = weights({**projections(H, K, V, G), "g_proj.weight": (H * V, C), "g_norm_swish_gate.weight": (V,),
                "gk_proj.0.weight": (3, C), "gk_proj.1.weight": (G * K, 3), "gk_proj.1.bias": (G * K,)})
q, k, v = (h @ d[f"{n}_proj.weight"].T for n in "qkv")
g = F.logsigmoid(h @ d["gk_proj.0.weight"].T @ d["gk_proj.1.weight"].T + d["gk_proj.1.bias"]) / 0.5
o, _ = naive("gla")["naive_recurrent_gla"](heads(q, K), heads(k, K, 2), heads(v, V, 2), heads(g, K, 2))
o = rms(o, d["g_norm_swish_gate.weight"]).reshape(B, L, -1) * F.silu(h @ d["g_proj.weight"].T)
record("gla", w, h, o @ d["o_proj.weight"].T)

# HGRN2: heads of 6, lower bound 0.3
w, d = weights({"q_proj.weight": (2 * K, C), "f_proj.weight": (2 * K, C), "i_proj.weight": (C, C),
                "o_proj.weight": (C, C), "g_norm.weight": (C,)})
q, f, i = (h @ d[f"{n}_proj.weight"].T for n in "qfi")
bound = torch.tensor(0.3).double()
g = torch.logaddexp(bound.log(), torch.log1p(-bound) + F.logsigmoid(f))
o, _ = naive("gla")["naive_recurrent_gla"](heads(F.silu(q), K), heads(1 - g.exp(), K), heads(i, 6), heads(g, K))
record("hgrn2", w, h, rms(o.reshape(B, L, -1), d["g_norm.weight"]) @ d["o_proj.weight"].T)

# BASED: features of 4
w, d = weights(projections(2, 4, 6))
q, k, v = (heads(h @ d[f"{n}_proj.weight"].T, width).transpose(1, 2) for n, width in [("q", 4), ("k", 4), ("v", 6)])
o = naive("based")["naive_parallel_based"](q, k, v).transpose(1, 2)
record("based", w, h, o.reshape(B, L, -1) @ d["o_proj.weight"].T)

# Linear attention: elu + 1, normalised
w, d = weights({**projections(H, K, V, G), "norm.weight": (V,)})
q, k, v = (h @ d[f"{n}_proj.weight"].T for n in "qkv")
o, _ = naive("linear_attn")["naive_recurrent_linear_attn"](
    F.elu(heads(q, K)) + 1, F.elu(heads(k, K, 2)) + 1, heads(v, V, 2), normalize=True)
record("linear_attn", w, h, rms(o, d["norm.weight"]).reshape(B, L, -1) @ d["o_proj.weight"].T)

path = pathlib.Path(__file__).parent.parent / "BraidMixersTests/Fixtures/decay_mixers.safetensors"
save_file(out, path)
