"""Writes Tests/BraidMixersTests/Fixtures/attention.safetensors: attention layers of Hugging Face transformers in
float64 on random weights (input, output, weights under their published names), and rotary frequencies of each scaling.
Needs torch, transformers (5.23.0) and safetensors."""
import pathlib

import torch
from safetensors.torch import save_file
from transformers import DeepseekV2Config, DeepseekV3Config, Gemma2Config, GptOssConfig, LlamaConfig
from transformers.masking_utils import create_causal_mask, create_sliding_window_causal_mask
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.deepseek_v2 import modeling_deepseek_v2 as v2
from transformers.models.deepseek_v3 import modeling_deepseek_v3 as v3
from transformers.models.gemma2 import modeling_gemma2 as gemma2
from transformers.models.gpt_oss import modeling_gpt_oss as gpt_oss

torch.manual_seed(0)
out = {}
LENGTH = 21


def layer(name, attention, rotary, config, window=None):
    attention = attention.double().eval()
    for parameter in attention.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    config._attn_implementation = "eager"
    x = torch.randn(2, LENGTH, config.hidden_size, dtype=torch.float64)
    positions = torch.arange(LENGTH)[None].expand(2, -1)
    i, j = torch.arange(LENGTH)[:, None], torch.arange(LENGTH)[None]
    seen = (j <= i) & ((j > i - window) if window else (j >= 0))
    mask = torch.zeros(LENGTH, LENGTH, dtype=torch.float64).masked_fill(~seen, float("-inf"))[None, None]
    with torch.no_grad():
        y = attention(x, position_embeddings=rotary(x, positions), attention_mask=mask)[0]
    out[f"{name}.input"], out[f"{name}.output"] = x.float(), y.float()
    for key, value in attention.state_dict().items():
        out[f"{name}.weights.{key}"] = value.float()


yarn = dict(rope_type="yarn", rope_theta=10000.0, factor=8.0, original_max_position_embeddings=16, beta_fast=4.0,
            beta_slow=1.0)
config = GptOssConfig(
    hidden_size=12, num_attention_heads=4, num_key_value_heads=2, head_dim=8, sliding_window=5,
    layer_types=["sliding_attention"], num_hidden_layers=1, attention_bias=True, max_position_embeddings=128,
    rope_parameters=dict(yarn, truncate=False))
layer("gpt_oss", gpt_oss.GptOssAttention(config, 0), gpt_oss.GptOssRotaryEmbedding(config), config, window=5)

config = Gemma2Config(
    hidden_size=12, num_attention_heads=2, num_key_value_heads=1, head_dim=8, attn_logit_softcapping=2.0,
    query_pre_attn_scalar=5, num_hidden_layers=1, layer_types=["full_attention"])
layer("gemma2", gemma2.Gemma2Attention(config, 0), gemma2.Gemma2RotaryEmbedding(config), config)

latent = dict(
    hidden_size=12, num_attention_heads=3, num_key_value_heads=3, kv_lora_rank=8, qk_nope_head_dim=4,
    qk_rope_head_dim=6, v_head_dim=5, num_hidden_layers=1, max_position_embeddings=128, attention_bias=True)
config = DeepseekV2Config(**latent, q_lora_rank=7, rope_parameters=dict(rope_type="default", rope_theta=10000.0))
layer("deepseek_v2", v2.DeepseekV2Attention(config, 0), v2.DeepseekV2RotaryEmbedding(config), config)
config = DeepseekV3Config(
    **latent, q_lora_rank=None, rope_interleave=True,
    rope_parameters=dict(yarn, mscale=1.0, mscale_all_dim=0.7))
layer("deepseek_v3", v3.DeepseekV3Attention(config, 0), v3.DeepseekV3RotaryEmbedding(config), config)

scalings = {
    "linear": dict(factor=4.0),
    "llama3": dict(factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=64),
    "yarn": dict(factor=8.0, original_max_position_embeddings=64),
    "longrope": dict(long_factor=[1.0 + i for i in range(8)], short_factor=[1.0 + i / 8 for i in range(8)],
                     original_max_position_embeddings=64, factor=4.0),
}
for name, scaling in scalings.items():
    config = LlamaConfig(
        hidden_size=32, num_attention_heads=2, head_dim=16, max_position_embeddings=256,
        rope_parameters=dict(scaling, rope_type=name, rope_theta=10000.0))
    frequencies, factor = ROPE_INIT_FUNCTIONS[name](config)
    out[f"rotary.{name}"] = torch.cat([frequencies.float(), torch.tensor([float(factor)])])

target = pathlib.Path(__file__).parent.parent / "BraidMixersTests" / "Fixtures" / "attention.safetensors"
save_file({key: value.contiguous() for key, value in out.items()}, target)
