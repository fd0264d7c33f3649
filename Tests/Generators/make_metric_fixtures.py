#!/usr/bin/env python3
"""Writes Tests/BraidVisionTests/Fixtures/metrics: PSNR, SSIM and imresize by BasicSR's formulas.

Needs numpy, scipy and Pillow. The formulas follow basicsr/metrics/psnr_ssim.py, basicsr/utils/color_util.py and
basicsr/utils/matlab_functions.py (there in torch float32, here in float64).
"""
import json, math, os
import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter
from scipy.signal import convolve2d

out = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "BraidVisionTests", "Fixtures", "metrics")
os.makedirs(out, exist_ok=True)
rng = np.random.default_rng(11)


# basicsr.utils.color_util and basicsr.metrics.metric_util
def bgr2ycbcr_y(img):
    img_type = img.dtype
    assert img_type == np.float32
    out_img = np.dot(img, [24.966, 128.553, 65.481]) + 16.0
    out_img /= 255.0
    return out_img.astype(img_type)


def to_y_channel(img):
    img = img.astype(np.float32) / 255.0
    if img.ndim == 3 and img.shape[2] == 3:
        img = bgr2ycbcr_y(img)[..., None]
    return img * 255.0


def prepare(a, b, crop, y):
    if crop:
        a, b = a[crop:-crop, crop:-crop], b[crop:-crop, crop:-crop]
    if y:
        a, b = to_y_channel(a), to_y_channel(b)
    return a.astype(np.float64), b.astype(np.float64)


def psnr(a, b, crop, y):
    a, b = prepare(a, b, crop, y)
    mse = np.mean((a - b) ** 2)
    return 10.0 * np.log10(255.0 * 255.0 / mse)


def ssim_plane(a, b):
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    k = np.exp(-((np.arange(11) - 5.0) ** 2) / (2 * 1.5**2))
    k /= k.sum()
    window = np.outer(k, k)
    f = lambda p: convolve2d(p, window, mode="valid")
    mu1, mu2 = f(a), f(b)
    s1, s2, s12 = f(a**2) - mu1**2, f(b**2) - mu2**2, f(a * b) - mu1 * mu2
    m = ((2 * mu1 * mu2 + c1) * (2 * s12 + c2)) / ((mu1**2 + mu2**2 + c1) * (s1 + s2 + c2))
    return m.mean()


def ssim(a, b, crop, y):
    a, b = prepare(a, b, crop, y)
    return float(np.mean([ssim_plane(a[..., c], b[..., c]) for c in range(a.shape[2])]))


values = []
for name, (h, w), c, strength in (("a", (33, 47), 3, 12), ("b", (28, 29), 3, 40), ("c", (40, 25), 1, 5)):
    base = rng.random((h, w, c))
    clean = gaussian_filter(base, (1.5, 1.5, 0))
    clean = np.rint(255 * (clean - clean.min()) / (clean.max() - clean.min())).astype(np.uint8)
    noisy = np.clip(np.rint(clean + rng.normal(0, strength, clean.shape)), 0, 255).astype(np.uint8)
    for tag, image in (("clean", clean), ("noisy", noisy)):
        Image.fromarray(image if c == 3 else image[..., 0]).save(os.path.join(out, f"{name}_{tag}.png"))
    # BasicSR works on BGR.
    p, q = (clean[..., ::-1], noisy[..., ::-1]) if c == 3 else (clean, noisy)
    for crop in (0, 2, 4):
        for y in (False, True):
            values.append({"name": name, "crop": crop, "y": y, "psnr": psnr(p, q, crop, y),
                           "ssim": ssim(p, q, crop, y)})
json.dump(values, open(os.path.join(out, "expected.json"), "w"), indent=1)


# basicsr.utils.matlab_functions
def cubic(x):
    a = np.abs(x)
    return ((1.5 * a**3 - 2.5 * a**2 + 1) * (a <= 1)
            + (-0.5 * a**3 + 2.5 * a**2 - 4 * a + 2) * ((a > 1) & (a <= 2)))


def contributions(n, m, scale):
    width = 4.0 / scale if scale < 1 else 4.0
    x = np.arange(1, m + 1, dtype=np.float64)
    u = x / scale + 0.5 * (1 - 1 / scale)
    left = np.floor(u - width / 2)
    p = math.ceil(width) + 2
    indices = left[:, None] + np.arange(p)[None]
    d = u[:, None] - indices
    weights = scale * cubic(d * scale) if scale < 1 else cubic(d)
    return weights / weights.sum(1, keepdims=True), indices.astype(int)


def resize_rows(a, scale, integer):
    n = a.shape[0]
    m = math.ceil(n * scale)
    weights, indices = contributions(n, m, scale)
    pad = max(-(indices.min() - 1), indices.max() - n, 0)
    padded = np.pad(a, [(pad, pad), (0, 0), (0, 0)], mode="symmetric")
    result = np.stack([np.tensordot(weights[i], padded[indices[i] - 1 + pad], (0, 0)) for i in range(m)])
    return np.clip(np.floor(result + 0.5), 0, 255) if integer else result


def imresize(a, scale, integer=False):
    a = a.astype(np.float64)
    return resize_rows(resize_rows(a, scale, integer).transpose(1, 0, 2), scale, integer).transpose(1, 0, 2)


source = rng.random((13, 18, 3)).astype(np.float32)
np.save(os.path.join(out, "resize_source.npy"), source)
for tag, scale in (("d2", 1 / 2), ("d3", 1 / 3), ("d4", 1 / 4), ("u2", 2), ("u3", 3), ("u4", 4)):
    np.save(os.path.join(out, f"resize_{tag}.npy"), imresize(source, scale).astype(np.float32))
clean = np.asarray(Image.open(os.path.join(out, "a_clean.png")))
for tag, scale in (("d2", 1 / 2), ("d3", 1 / 3), ("u2", 2)):
    np.save(os.path.join(out, f"resize8_{tag}.npy"), imresize(clean, scale, True).astype(np.uint8))
tiny = rng.random((3, 2, 1)).astype(np.float32)
np.save(os.path.join(out, "tiny_source.npy"), tiny)
np.save(os.path.join(out, "tiny_d4.npy"), imresize(tiny, 1 / 4).astype(np.float32))

# Gaussian blur: 3 sigma, mirrored without repeating the edge.
for sigma in (0.8, 2.0):
    r = math.ceil(3 * sigma)
    k = np.exp(-(np.arange(-r, r + 1) ** 2) / (2 * sigma**2)); k /= k.sum()
    p = np.pad(source.astype(np.float64), [(r, r), (r, r), (0, 0)], mode="reflect")
    v = sum(k[i] * p[i:i + 13] for i in range(2 * r + 1))
    v = sum(k[i] * v[:, i:i + 18] for i in range(2 * r + 1))
    np.save(os.path.join(out, f"blur_{int(sigma * 10)}.npy"), v.astype(np.float32))
print(len(os.listdir(out)), "files,", sum(os.path.getsize(os.path.join(out, f)) for f in os.listdir(out)), "bytes")
