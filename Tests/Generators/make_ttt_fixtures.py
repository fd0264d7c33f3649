"""Writes Tests/BraidMixersTests/Fixtures/ttt_linear.safetensors: the linear test-time-training memory by the naive form
of flash-linear-attention (fla/ops/ttt/naive.py), in float64. Usage: make_ttt_fixtures.py FLA_FOLDER, the folder that
holds fla/. Needs torch and safetensors."""
import pathlib
import sys

import torch
from safetensors.torch import save_file

source = (pathlib.Path(sys.argv[1]) / "fla/ops/ttt/naive.py").read_text().replace("torch.float32", "torch.float64")
scope = {}
exec(compile(source, "ttt", "exec"), scope)
torch.manual_seed(0)
B, L, H, D = 2, 48, 2, 6
make = lambda *shape, scale=1.0: (scale * torch.randn(*shape)).float().double()
inputs = {"q": make(B, L, H, D), "k": make(B, L, H, D, scale=0.5), "v": make(B, L, H, D),
          "w": 1 + make(H, D, scale=0.1), "b": make(H, D, scale=0.1), "eta": 0.05 * make(B, L, H, 1).abs(),
          "state": make(B, H, D, D, scale=0.4), "bias": make(B, H, 1, D, scale=0.1)}
o, state, bias = scope["chunk_ttt_linear_ref"](
    inputs["q"].clone(), inputs["k"], inputs["v"], inputs["w"], inputs["b"], inputs["eta"], mini_batch_size=16,
    initial_state=inputs["state"], initial_state_bias=inputs["bias"], output_final_state=True)
assert o.dtype == torch.float64
out = dict(inputs, o=o, final_state=state, final_bias=bias)
path = pathlib.Path(__file__).parent.parent / "BraidMixersTests/Fixtures/ttt_linear.safetensors"
save_file({name: value.float().contiguous() for name, value in out.items()}, path)
