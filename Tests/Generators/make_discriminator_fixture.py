#!/usr/bin/env python3
"""The discriminator of MetricGAN in PyTorch, in double precision: weights, maps, scores and the gradient of their sum.

    python3 make_discriminator_fixture.py ../BraidSpeechTests/Fixtures/discriminator.safetensors

Spectral norms are those of vectors that have converged: 3000 calls come first.
"""
import sys
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils import spectral_norm

torch.manual_seed(1)
torch.set_default_dtype(torch.float64)
WIDTH = 4


class Slope(nn.Module):
    def __init__(self):
        super().__init__()
        self.slope = nn.Parameter(torch.full((1,), 1.3))

    def forward(self, x):
        return torch.sigmoid(self.slope * x)


widths = [2, WIDTH, 2 * WIDTH, 4 * WIDTH, 8 * WIDTH]
layers = []
for a, b in zip(widths, widths[1:]):
    layers += [spectral_norm(nn.Conv2d(a, b, 4, 2, 1, bias=False)), nn.InstanceNorm2d(b, affine=True), nn.PReLU(b)]
layers += [nn.AdaptiveMaxPool2d(1), nn.Flatten(), spectral_norm(nn.Linear(8 * WIDTH, 4 * WIDTH)), nn.Dropout(0.3),
           nn.PReLU(4 * WIDTH), spectral_norm(nn.Linear(4 * WIDTH, 1)), Slope()]
network = nn.Module()
network.layers = nn.Sequential(*layers)
for name, parameter in network.named_parameters():
    if "orig" not in name:
        with torch.no_grad():
            parameter += 0.2 * torch.randn_like(parameter)

clean, estimate = torch.rand(2, 33, 40), torch.rand(2, 33, 40)  # [batch, bins, frames]
estimate.requires_grad_()
maps = torch.stack([clean, estimate], dim=1)
with torch.no_grad():
    for _ in range(3000):
        network.layers(maps)
network.eval()
scores = network.layers(maps).flatten()
weight = network.layers[0].weight_orig
gradient, weights = torch.autograd.grad((scores * torch.tensor([1.0, -2.0])).sum(), [estimate, weight])
tensors = {name: p.detach() for name, p in network.named_parameters()}
tensors |= {"clean": clean, "estimate": estimate.detach(), "scores": scores.detach(), "gradient": gradient,
            "weight_gradient": weights}
# Maps as Braid has them: [batch, frames, bins].
for name in ("clean", "estimate", "gradient"):
    tensors[name] = tensors[name].transpose(1, 2)
save_file({k: v.float().contiguous() for k, v in tensors.items()}, sys.argv[1])
