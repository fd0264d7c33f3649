"""Pairs of recordings and what PyPI's pystoi says of them (plus SI-SDR, segmental SNR and log-spectral distance by
their formulas in numpy), for SpeechQualityTests.

    python3 Tests/Generators/speech_quality.py Tests/BraidSpeechTests/Fixtures/quality.safetensors

The speech is espeak-ng's, the noise a modulated random walk.
"""
import subprocess, sys, tempfile
import numpy as np, soundfile
from scipy.signal import resample_poly
from pystoi import stoi
from safetensors.numpy import save_file


def si_sdr(x, r):
    x, r = x - x.mean(), r - r.mean()
    s = (x @ r) / (r @ r) * r
    return 10 * np.log10((s @ s) / ((x - s) @ (x - s)))


def segmental(x, r, rate):
    size = round(30 * rate / 1000); hop = size // 4
    w = 0.5 * (1 - np.cos(2 * np.pi * np.arange(1, size + 1) / (size + 1)))
    out = []
    for t in range(len(x) // hop - size // hop):
        a = r[t * hop:t * hop + size] * w; b = x[t * hop:t * hop + size] * w
        out.append(np.clip(10 * np.log10((a @ a) / ((a - b) @ (a - b) + 1e-10) + 1e-10), -10, 35))
    return np.mean(out)


def distance(x, r, rate):
    size = rate * 32 // 1000 // 4 * 4; hop = size // 4
    w = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    def power(s): return np.array([np.abs(np.fft.rfft(s[i:i + size] * w)) ** 2 for i in range(0, len(s) - size + 1, hop)])
    d = 10 * np.log10((power(x) + 1e-10) / (power(r) + 1e-10))
    return np.mean(np.sqrt(np.mean(d ** 2, axis=1)))


rate = 16000
with tempfile.NamedTemporaryFile(suffix=".wav") as file:
    subprocess.run(["espeak-ng", "-w", file.name, "The quick brown fox jumps over the lazy dog near the river bank."], check=True)
    clean, found = soundfile.read(file.name)
clean = resample_poly(clean, rate, found)[:3 * rate]
random = np.random.default_rng(1)
noise = np.convolve(random.standard_normal(len(clean)), 0.9 ** np.arange(60), "same")
noise *= 1 + 0.8 * np.sin(2 * np.pi * 3 * np.arange(len(clean)) / rate)
out, scores = {"clean": np.round(clean * 16384).astype(np.int16)}, []
clean = out["clean"] / 32768
for k, snr in enumerate((-5, 5, 20)):
    gain = np.sqrt((clean @ clean) / (noise @ noise) / 10 ** (snr / 10))
    noisy = np.round((clean + gain * noise) * 32768)
    out[f"noisy.{k}"] = np.clip(noisy, -32768, 32767).astype(np.int16); noisy = out[f"noisy.{k}"] / 32768
    scores.append([si_sdr(noisy, clean), segmental(noisy, clean, rate), stoi(clean, noisy, rate),
                   stoi(clean, noisy, rate, extended=True), distance(noisy, clean, rate)])
out["scores"] = np.array(scores, dtype=np.float64)
save_file(out, sys.argv[1])
print(np.array(scores))
