"""Writes Tests/BraidTensorTests/Fixtures/torch_operations.safetensors: what PyTorch computes for operations whose
conventions it defines (interpolate, grid_sample, pooling, LSTM, real FFT). Needs torch and safetensors."""
import pathlib

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

torch.manual_seed(0)
out = {}


def last(x):
    """[B, C, spatial...] to [B, spatial..., C]."""
    return x.movedim(1, -1).contiguous().clone()


# interpolate
x = torch.randn(1, 2, 5, 7)
out["resize.input"] = last(x)
for size in [(3, 4), (11, 9), (10, 14), (1, 2)]:
    name = f"{size[0]}x{size[1]}"
    for mode in ["nearest", "nearest-exact"]:
        out[f"resize.{mode}.{name}"] = last(F.interpolate(x, size, mode=mode))
    for mode in ["bilinear", "bicubic"]:
        for corners in [False, True]:
            for antialias in [False, True]:
                y = F.interpolate(x, size, mode=mode, align_corners=corners, antialias=antialias)
                out[f"resize.{mode}.{int(corners)}{int(antialias)}.{name}"] = last(y)

# grid_sample
x = torch.randn(2, 3, 4, 5, requires_grad=True)
grid = (torch.rand(2, 3, 6, 2) * 3.6 - 1.8).requires_grad_()
seed = torch.randn(2, 3, 3, 6)
out["grid.input"], out["grid.grid"], out["grid.seed"] = last(x.detach()), grid.detach(), last(seed)
for mode in ["bilinear", "nearest", "bicubic"]:
    for padding in ["zeros", "border", "reflection"]:
        for corners in [False, True]:
            y = F.grid_sample(x, grid, mode=mode, padding_mode=padding, align_corners=corners)
            gx, gg = torch.autograd.grad((y * seed).sum(), [x, grid])
            key = f"grid.{mode}.{padding}.{int(corners)}"
            out[key], out[key + ".dinput"], out[key + ".dgrid"] = last(y.detach()), last(gx), gg

# pooling
for rank, shape in [(1, (2, 3, 11)), (2, (2, 3, 7, 9)), (3, (1, 2, 5, 6, 7))]:
    x = torch.randn(*shape, requires_grad=True)
    out[f"pool{rank}.input"] = last(x.detach())
    maximum = [F.max_pool1d, F.max_pool2d, F.max_pool3d][rank - 1]
    average = [F.avg_pool1d, F.avg_pool2d, F.avg_pool3d][rank - 1]
    adaptive = [F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d][rank - 1]
    for ceil in [False, True]:
        for dilation in [1, 2]:
            y = maximum(x, 3, 2, 1, dilation, ceil)
            out[f"pool{rank}.max.{int(ceil)}{dilation}"] = last(y.detach())
        for include in [False, True]:
            y = average(x, 3, 2, 1, ceil, include)
            out[f"pool{rank}.average.{int(ceil)}{int(include)}"] = last(y.detach())
    out[f"pool{rank}.adaptive"] = last(adaptive(x, [4, 3, 5][:rank]).detach())

# LSTM: two layers, both directions
lstm = torch.nn.LSTM(3, 4, num_layers=2, bidirectional=True, batch_first=True)
x, h, c = torch.randn(2, 5, 3), torch.randn(4, 2, 4), torch.randn(4, 2, 4)
y, (hn, cn) = lstm(x, (h, c))
for name, value in lstm.named_parameters():
    out[f"lstm.{name}"] = value.detach().clone()
for name, value in dict(input=x, h=h, c=c, output=y, hn=hn, cn=cn).items():
    out[f"lstm.{name}"] = value.detach().contiguous()

# real FFT
for n in [1, 2, 7, 9, 12, 15]:
    x = torch.randn(2, n)
    out[f"rfft.{n}.input"] = x
    for norm in ["backward", "ortho", "forward"]:
        spectrum = torch.fft.rfft(x, norm=norm)
        out[f"rfft.{n}.{norm}"] = torch.view_as_real(spectrum).contiguous()
    z = torch.randn(2, n // 2 + 1, 2)
    out[f"irfft.{n}.input"] = z
    for norm in ["backward", "ortho", "forward"]:
        out[f"irfft.{n}.{norm}"] = torch.fft.irfft(torch.view_as_complex(z), n=n, norm=norm)

path = pathlib.Path(__file__).parents[1] / "BraidTensorTests/Fixtures/torch_operations.safetensors"
save_file({k: v.contiguous() for k, v in out.items()}, path)
print(len(out), path.stat().st_size)
