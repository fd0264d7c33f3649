"""Golden files of MambAttention's siblings: SEMamba (Mamba alone) and xLSTM-SENet (mLSTM alone), in float64.

Written from the published module definitions (github.com/RoyChao19477/SEMamba, github.com/NikolaiKyhne/xLSTM-SENet):
modules have the attribute names of those, so that state dictionaries have the published keys and shapes, and the
computation is the literal one: recurrences are loops over positions. Each file holds the weights (float32, at random),
"input" and "output" samples at 16 kHz, and in its metadata the number of parameters of the published size.

usage: make_speech_sibling_fixtures.py FOLDER    (needs torch, safetensors)
"""
import math
import os
import sys

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

FRAME, HOP, COMPRESSION, LIMIT = 400, 100, 0.3, 2.0


def normalized(*layers, channels):
    return nn.Sequential(*layers, nn.InstanceNorm2d(channels, affine=True), nn.PReLU(channels))


class DenseBlock(nn.Module):
    def __init__(self, c, depth=4):
        super().__init__()
        self.dense_block = nn.ModuleList(
            normalized(nn.Conv2d(c * (i + 1), c, (3, 3), dilation=(2**i, 1), padding=(2**i, 1)), channels=c)
            for i in range(depth))

    def forward(self, x):
        seen = x
        for layer in self.dense_block:
            x = layer(seen)
            seen = torch.cat([x, seen], dim=1)
        return x


class Encoder(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.dense_conv_1 = normalized(nn.Conv2d(2, c, (1, 1)), channels=c)
        self.dense_block = DenseBlock(c)
        self.dense_conv_2 = normalized(nn.Conv2d(c, c, (1, 3), stride=(1, 2)), channels=c)

    def forward(self, x):
        return self.dense_conv_2(self.dense_block(self.dense_conv_1(x)))


class Sigmoid(nn.Module):
    def __init__(self, bins):
        super().__init__()
        self.slope = nn.Parameter(torch.ones(bins, 1))

    def forward(self, x):  # [batch, bins, frames]
        return LIMIT * torch.sigmoid(self.slope * x)


class MagnitudeDecoder(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.dense_block = DenseBlock(c)
        self.mask_conv = nn.Sequential(
            nn.ConvTranspose2d(c, c, (1, 3), stride=(1, 2)), nn.Conv2d(c, 1, (1, 1)),
            nn.InstanceNorm2d(1, affine=True), nn.PReLU(1), nn.Conv2d(1, 1, (1, 1)))
        self.lsigmoid = Sigmoid(FRAME // 2 + 1)

    def forward(self, x):
        mask = self.mask_conv(self.dense_block(x)).squeeze(1)
        return self.lsigmoid(mask.transpose(1, 2))  # [batch, bins, frames]


class PhaseDecoder(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.dense_block = DenseBlock(c)
        self.phase_conv = normalized(nn.ConvTranspose2d(c, c, (1, 3), stride=(1, 2)), channels=c)
        self.phase_conv_r = nn.Conv2d(c, 1, (1, 1))
        self.phase_conv_i = nn.Conv2d(c, 1, (1, 1))

    def forward(self, x):
        x = self.phase_conv(self.dense_block(x))
        return torch.atan2(self.phase_conv_i(x), self.phase_conv_r(x)).squeeze(1).transpose(1, 2)


class RMSNorm(nn.Module):
    def __init__(self, c, eps=1e-5):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(c))
        self.eps = eps

    def forward(self, x):
        return x / torch.sqrt(x.square().mean(-1, keepdim=True) + self.eps) * self.weight


class Mamba(nn.Module):
    def __init__(self, c, state=16, kernel=4, expand=4):
        super().__init__()
        inner = expand * c
        self.rank, self.state = math.ceil(c / 16), state
        self.in_proj = nn.Linear(c, 2 * inner, bias=False)
        self.conv1d = nn.Conv1d(inner, inner, kernel, groups=inner, padding=kernel - 1)
        self.x_proj = nn.Linear(inner, self.rank + 2 * state, bias=False)
        self.dt_proj = nn.Linear(self.rank, inner)
        self.A_log = nn.Parameter(torch.log(torch.arange(1.0, state + 1)).repeat(inner, 1))
        self.D = nn.Parameter(torch.ones(inner))
        self.out_proj = nn.Linear(inner, c, bias=False)

    def forward(self, h):
        length = h.shape[1]
        x, z = self.in_proj(h).chunk(2, dim=-1)
        x = F.silu(self.conv1d(x.transpose(1, 2))[..., :length]).transpose(1, 2)
        step, b, c = self.x_proj(x).split([self.rank, self.state, self.state], dim=-1)
        step = F.softplus(self.dt_proj(step))
        decay = -torch.exp(self.A_log)
        memory = torch.zeros(h.shape[0], x.shape[-1], self.state, dtype=h.dtype)
        rows = []
        for t in range(length):
            memory = torch.exp(step[:, t, :, None] * decay) * memory
            memory = memory + (step[:, t] * x[:, t])[:, :, None] * b[:, t, None, :]
            rows.append((memory * c[:, t, None, :]).sum(-1) + self.D * x[:, t])
        return self.out_proj(torch.stack(rows, 1) * F.silu(z))


class MambaLayer(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.mixer = Mamba(c)
        self.norm = RMSNorm(c)

    def forward(self, x):
        return self.mixer(self.norm(x)) + x


class ResidualNorm(nn.Module):
    """A layer norm (of each of several heads) whose weight is stored as its distance from 1."""

    def __init__(self, c):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(c))
        self.bias = nn.Parameter(torch.zeros(c))

    def forward(self, x, heads=1):
        shape = x.shape
        parts = x.reshape(*shape[:-1], heads, shape[-1] // heads)
        parts = F.layer_norm(parts, parts.shape[-1:], eps=1e-5).reshape(shape)
        return parts * (1 + self.weight) + self.bias


class HeadwiseLinear(nn.Module):
    def __init__(self, c, block=4):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(c // block, block, block))
        self.bias = nn.Parameter(torch.zeros(c))

    def forward(self, x):
        parts = x.reshape(*x.shape[:-1], self.weight.shape[0], -1)
        return torch.einsum("blnd,nod->blno", parts, self.weight).reshape(x.shape) + self.bias


class CausalConvolution(nn.Module):
    def __init__(self, c, kernel=4):
        super().__init__()
        self.conv = nn.Conv1d(c, c, kernel, padding=kernel - 1, groups=c)

    def forward(self, x):
        return self.conv(x.transpose(1, 2))[..., :x.shape[1]].transpose(1, 2)


class Cell(nn.Module):
    def __init__(self, c, heads=4):
        super().__init__()
        self.heads = heads
        self.igate = nn.Linear(3 * c, heads)
        self.fgate = nn.Linear(3 * c, heads)
        self.outnorm = ResidualNorm(c)

    def forward(self, q, k, v):
        batch, length, c = q.shape
        size = c // self.heads
        gates = torch.cat([q, k, v], dim=-1)
        i, f = self.igate(gates), F.logsigmoid(self.fgate(gates))
        q, k, v = (a.reshape(batch, length, self.heads, size) for a in (q, k, v))
        k = k / math.sqrt(size)
        memory = torch.zeros(batch, self.heads, size, size, dtype=q.dtype)
        total = torch.zeros(batch, self.heads, size, dtype=q.dtype)
        top = torch.full((batch, self.heads), -math.inf, dtype=q.dtype)
        rows = []
        for t in range(length):
            new = torch.maximum(f[:, t] + top, i[:, t])
            keep, add = torch.exp(f[:, t] + top - new), torch.exp(i[:, t] - new)
            memory = keep[..., None, None] * memory + add[..., None, None] * k[:, t, :, :, None] * v[:, t, :, None, :]
            total = keep[..., None] * total + add[..., None] * k[:, t]
            top = new
            scale = torch.maximum((q[:, t] * total).sum(-1).abs(), torch.exp(-top)) + 1e-6
            rows.append((q[:, t, :, :, None] * memory).sum(-2) / scale[..., None])
        return self.outnorm(torch.stack(rows, 1).reshape(batch, length, c), self.heads)


class MatrixLSTM(nn.Module):
    def __init__(self, c, expansion=2):
        super().__init__()
        inner = expansion * c
        self.proj_up = nn.Linear(c, 2 * inner)
        self.q_proj, self.k_proj, self.v_proj = (HeadwiseLinear(inner) for _ in range(3))
        self.conv = CausalConvolution(inner)
        self.mlstm_cell = Cell(inner)
        self.learnable_skip = nn.Parameter(torch.ones(inner))
        self.proj_down = nn.Linear(inner, c)

    def forward(self, x):
        x, z = self.proj_up(x).chunk(2, dim=-1)
        u = F.silu(self.conv(x))
        y = self.mlstm_cell(self.q_proj(u), self.k_proj(u), self.v_proj(x))
        return self.proj_down((y + self.learnable_skip * u) * F.silu(z))


class MatrixLSTMLayer(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.norm = ResidualNorm(c)
        self.layer = MatrixLSTM(c)

    def forward(self, x):
        return x + self.layer(self.norm(x))


class Directions(nn.Module):
    def __init__(self, c, layer):
        super().__init__()
        self.forward_blocks = nn.ModuleList([layer(c)])
        self.backward_blocks = nn.ModuleList([layer(c)])

    def forward(self, x):
        return torch.cat([self.forward_blocks[0](x), self.backward_blocks[0](x.flip(1)).flip(1)], dim=-1)


class Block(nn.Module):
    def __init__(self, c, layer, name):
        super().__init__()
        self.name = name
        setattr(self, "time_" + name, Directions(c, layer))
        setattr(self, "freq_" + name, Directions(c, layer))
        self.tlinear = nn.ConvTranspose1d(2 * c, c, 1)
        self.flinear = nn.ConvTranspose1d(2 * c, c, 1)

    def forward(self, x):  # [batch, channels, frames, bins]
        b, c, t, f = x.shape
        def mixed(y, axis, linear):
            return linear(getattr(self, axis + self.name)(y).transpose(1, 2)).transpose(1, 2) + y
        x = mixed(x.permute(0, 3, 2, 1).reshape(b * f, t, c), "time_", self.tlinear)
        x = x.reshape(b, f, t, c).transpose(1, 2).reshape(b * t, f, c)
        x = mixed(x, "freq_", self.flinear)
        return x.reshape(b, t, f, c).permute(0, 3, 1, 2)


class Network(nn.Module):
    def __init__(self, c, blocks, layer, list_name, name):
        super().__init__()
        self.list_name = list_name
        self.dense_encoder = Encoder(c)
        setattr(self, list_name, nn.ModuleList(Block(c, layer, name) for _ in range(blocks)))
        self.mask_decoder = MagnitudeDecoder(c)
        self.phase_decoder = PhaseDecoder(c)

    def forward(self, magnitude, phase):  # [batch, bins, frames]
        x = self.dense_encoder(torch.stack([magnitude, phase], 1).transpose(2, 3))
        for block in getattr(self, self.list_name):
            x = block(x)
        return magnitude * self.mask_decoder(x), self.phase_decoder(x)

    def enhanced(self, samples):
        gain = torch.sqrt(samples.numel() / samples.square().sum())
        window = torch.hann_window(FRAME, dtype=samples.dtype)
        spectrum = torch.stft(samples[None] * gain, FRAME, HOP, FRAME, window, return_complex=True)
        # Real by symmetry, where only rounding would choose between the angles pi and -pi: both ends of a spectrum, and
        # the frame that is centred on the first sample.
        imaginary = spectrum.imag.clone()
        imaginary[:, [0, -1]] = 0
        imaginary[:, :, 0] = 0
        magnitude, phase = self(
            spectrum.abs() ** COMPRESSION, torch.atan2(imaginary, spectrum.real))
        magnitude = magnitude ** (1 / COMPRESSION)
        clean = torch.istft(torch.polar(magnitude, phase), FRAME, HOP, FRAME, window)
        return clean[0] / gain


def main(folder):
    os.makedirs(folder, exist_ok=True)
    for file, layer, list_name, name, published in [
        ("semamba", MambaLayer, "TSMamba", "mamba", (64, 4)),
        ("xlstm_senet", MatrixLSTMLayer, "TSxLSTM", "xlstm", (64, 8)),
    ]:
        torch.manual_seed(7)
        model = Network(8, 1, layer, list_name, name)
        with torch.no_grad():
            for key, value in model.named_parameters():
                if key.endswith("A_log"):
                    value.add_(0.2 * torch.randn_like(value))
                elif value.dim() == 1:
                    value.add_(0.2 * torch.randn_like(value))
                else:
                    value.normal_(0, 1 / math.sqrt(value[0].numel() if "lsigmoid" not in key else 1))
            # The mask's slopes stay positive.
            model.mask_decoder.lsigmoid.slope.abs_()
        weights = {k: v.detach().clone().contiguous() for k, v in model.state_dict().items()}
        samples = (torch.randn(2000) * 0.1).float()
        model.double()
        with torch.no_grad():
            output = model.enhanced(samples.double())
        full = Network(*published, layer, list_name, name)
        count = sum(p.numel() for p in full.parameters())
        save_file(
            weights | {"fixture.input": samples, "fixture.output": output.float().contiguous()},
            f"{folder}/{file}.safetensors", {"published_parameters": str(count)})
        print(file, sum(v.numel() for v in weights.values()), "published size:", count, "output", output.abs().max().item())


if __name__ == "__main__":
    main(sys.argv[1])
