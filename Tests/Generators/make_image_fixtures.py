#!/usr/bin/env python3
"""Writes Tests/BraidVisionTests/Fixtures/images: small pictures of every kind, and the samples they decode to.

Needs numpy and Pillow. The expected samples (.npy, uint8 or uint16) come from the array that was encoded (lossless
formats) or from Pillow, which uses the same libjpeg and libwebp (lossy formats).
"""
import io, os, struct, sys, zlib
import numpy as np
from PIL import Image, ImageCms

out = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "BraidVisionTests", "Fixtures", "images")
os.makedirs(out, exist_ok=True)
rng = np.random.default_rng(7)


def scene(h, w, c, top=255):
    y, x = np.mgrid[0:h, 0:w]
    planes = [(0.5 + 0.5 * np.sin(x / (3 + k) + y / (5 - k) + k)) * top for k in range(c)]
    noise = rng.integers(-top // 16, top // 16 + 1, (h, w, c))
    return np.clip(np.stack(planes, -1) + noise, 0, top).astype(np.uint16 if top > 255 else np.uint8)


def save(name, data, expected):
    with open(os.path.join(out, name), "wb") as f:
        f.write(data)
    expected = np.ascontiguousarray(expected)
    if expected.ndim == 2:
        expected = expected[..., None]
    np.save(os.path.join(out, name + ".npy"), expected)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def png(samples, bits, colour_type, extra=b"", interlaced=False, after=b""):
    """A PNG of integer samples [h, w, c] at `bits`; rows unfiltered."""
    h, w, c = samples.shape

    def rows(a):
        if a.shape[0] == 0 or a.shape[1] == 0:
            return b""
        result = b""
        for line in a.reshape(a.shape[0], -1):
            if bits == 16:
                packed = line.astype(">u2").tobytes()
            elif bits == 8:
                packed = line.astype(np.uint8).tobytes()
            else:
                flags = ((line[:, None] >> np.arange(bits - 1, -1, -1)) & 1).astype(np.uint8).reshape(-1)
                packed = np.packbits(flags).tobytes()
            result += b"\0" + packed
        return result

    data = b"".join(rows(samples[y0::dy, x0::dx]) for x0, y0, dx, dy in ADAM7) if interlaced else rows(samples)
    header = struct.pack(">IIBBBBB", w, h, bits, colour_type, 0, 0, int(interlaced))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(data)) + after
            + chunk(b"IEND", b""))


def exif(orientation, big=False):
    """Orientation, a make, and the size in the EXIF directory."""
    e = ">" if big else "<"
    make = b"Braid camera\0"
    first = 8
    entries = 3
    make_at = first + 2 + 12 * entries + 4
    sub = make_at + len(make) + 1
    blob = (b"MM\0*" if big else b"II*\0") + struct.pack(e + "I", first) + struct.pack(e + "H", entries)
    blob += struct.pack(e + "HHII", 0x010F, 2, len(make), make_at)
    blob += struct.pack(e + "HHIHH", 0x0112, 3, 1, orientation, 0)
    blob += struct.pack(e + "HHII", 0x8769, 4, 1, sub) + struct.pack(e + "I", 0) + make + b"\0"
    blob += struct.pack(e + "H", 2) + struct.pack(e + "HHII", 0xA002, 4, 1, 37)
    blob += struct.pack(e + "HHII", 0xA003, 4, 1, 23) + struct.pack(e + "I", 0)
    return blob


icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
open(os.path.join(out, "srgb.icc"), "wb").write(icc)

# PNG
for bits in (1, 2, 4):
    a = scene(13, 19, 1) >> (8 - bits)
    save(f"grey{bits}.png", png(a, bits, 0), (a * (255 // (2**bits - 1))).astype(np.uint8))
for interlaced in (False, True):
    tag = "_interlaced" if interlaced else ""
    for bits, top in ((8, 255), (16, 65535)):
        for name, colour_type, c in (("grey", 0, 1), ("greyalpha", 4, 2), ("rgb", 2, 3), ("rgba", 6, 4)):
            a = scene(11, 17, c, top)
            save(f"{name}{bits}{tag}.png", png(a, bits, colour_type, interlaced=interlaced), a)
palette = rng.integers(0, 256, (16, 3)).astype(np.uint8)
transparency = np.array([0, 128, 255, 30], np.uint8)
index = (scene(12, 15, 1) >> 4)
full = np.concatenate([transparency, np.full(12, 255, np.uint8)])
rgb, rgba = palette[index[..., 0]], np.concatenate([palette, full[:, None]], 1)[index[..., 0]]
save("palette4.png", png(index, 4, 3, chunk(b"PLTE", palette.tobytes())), rgb)
save("palette8.png", png(index, 8, 3, chunk(b"PLTE", palette.tobytes())), rgb)
save("palette4_transparent.png",
     png(index, 4, 3, chunk(b"PLTE", palette.tobytes()) + chunk(b"tRNS", transparency.tobytes())), rgba)
a = scene(9, 10, 3)
key = a[2, 3]
alpha = np.where((a == key).all(-1), 0, 255).astype(np.uint8)[..., None]
save("rgb8_key.png", png(a, 8, 2, chunk(b"tRNS", key.astype(">u2").tobytes())), np.concatenate([a, alpha], -1))
a = scene(9, 10, 3)
profile = chunk(b"iCCP", b"sRGB\0\0" + zlib.compress(icc))
save("metadata.png", png(a, 8, 2, profile + chunk(b"eXIf", exif(6)) + chunk(b"tEXt", b"Comment\0hello")),
     np.rot90(a, -1))

# JPEG: expected samples from Pillow's libjpeg.
photo = scene(23, 37, 3)


def jpeg(image, **options):
    f = io.BytesIO()
    image.save(f, "JPEG", **options)
    return f.getvalue()


def decoded(data):
    return np.asarray(Image.open(io.BytesIO(data)))


d = jpeg(Image.fromarray(photo), quality=90)
save("rgb.jpg", d, decoded(d))
d = jpeg(Image.fromarray(photo), quality=70, progressive=True, subsampling=0)
save("progressive.jpg", d, decoded(d))
d = jpeg(Image.fromarray(photo[..., 0]), quality=80)
save("grey.jpg", d, decoded(d))
turns = {1: lambda a: a, 2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1],
         5: lambda a: a.transpose(1, 0, 2), 6: lambda a: np.rot90(a, -1),
         7: lambda a: a[::-1, ::-1].transpose(1, 0, 2), 8: lambda a: np.rot90(a)}
for o, turn in turns.items():
    d = jpeg(Image.fromarray(photo), quality=85, exif=b"Exif\0\0" + exif(o, big=o % 2 == 0), icc_profile=icc)
    save(f"orientation{o}.jpg", d, turn(decoded(d)))
big_icc = icc + bytes(70_000)
big_icc = struct.pack(">I", len(big_icc)) + big_icc[4:]
d = jpeg(Image.fromarray(photo[:8, :8]), icc_profile=big_icc)
save("large_icc.jpg", d, decoded(d))
# Pillow shows CMYK as stored ink; white = 255 - K. Adobe's inversion is undone by Pillow on reading.
inks = scene(16, 24, 4)
d = jpeg(Image.fromarray(inks, "CMYK"), quality=95)
ink = np.asarray(Image.open(io.BytesIO(d))).astype(np.int64)
save("cmyk.jpg", d, (((255 - ink[..., :3]) * (255 - ink[..., 3:]) + 127) // 255).astype(np.uint8))

# WebP
a = scene(14, 21, 4)
f = io.BytesIO(); Image.fromarray(a).save(f, "WEBP", lossless=True, exact=True)
save("rgba.webp", f.getvalue(), a)
f = io.BytesIO(); Image.fromarray(a[..., :3]).save(f, "WEBP", quality=80, icc_profile=icc, exif=b"Exif\0\0" + exif(8))
save("rgb.webp", f.getvalue(), np.rot90(decoded(f.getvalue())))
f = io.BytesIO()
Image.fromarray(a).save(f, "WEBP", save_all=True, append_images=[Image.fromarray(a[::-1])], duration=100)
open(os.path.join(out, "animated.webp"), "wb").write(f.getvalue())

# TIFF
def tiff(image, **options):
    f = io.BytesIO(); image.save(f, "TIFF", **options)
    return f.getvalue()


a = scene(15, 18, 3)
save("rgb.tif", tiff(Image.fromarray(a)), a)
save("lzw.tif", tiff(Image.fromarray(a), compression="tiff_lzw", icc_profile=icc), a)
save("deflate.tif", tiff(Image.fromarray(a), compression="tiff_adobe_deflate"), a)
save("jpeg.tif", tiff(Image.fromarray(a), compression="jpeg"), decoded(tiff(Image.fromarray(a), compression="jpeg")))
g = scene(15, 18, 1)[..., 0]
save("grey.tif", tiff(Image.fromarray(g)), g)
save("bilevel.tif", tiff(Image.fromarray(g).convert("1", dither=0), compression="group4"),
     np.where(g >= 128, 255, 0).astype(np.uint8))
q = Image.fromarray(a).quantize(8)
save("palette.tif", tiff(q), np.asarray(q.convert("RGB")))
save("rgba.tif", tiff(Image.fromarray(scene(15, 18, 4))), decoded(tiff(Image.fromarray(np.zeros((1, 1, 4), np.uint8))))
     if False else np.zeros((1, 1, 4), np.uint8))
b = scene(15, 18, 4); save("rgba.tif", tiff(Image.fromarray(b)), b)


def raw_tiff(a, bits, fmt, photometric, extra=None, tile=None, planar=1, orientation=1, big=False):
    """An uncompressed TIFF of any sample type, by hand: one strip, tiles, or one strip a plane."""
    e = ">" if big else "<"
    h, w, c = a.shape
    a = a.astype(a.dtype.newbyteorder(e))
    if tile:
        blocks = []
        for y in range(0, h, tile):
            for x in range(0, w, tile):
                t = np.zeros((tile, tile, c), a.dtype)
                part = a[y:y + tile, x:x + tile]
                t[:part.shape[0], :part.shape[1]] = part
                blocks.append(t.tobytes())
    elif planar == 2:
        blocks = [np.ascontiguousarray(a[..., k]).tobytes() for k in range(c)]
    else:
        blocks = [a.tobytes()]
    data, offsets = b"", []
    for block in blocks:
        offsets.append(8 + len(data))
        data += block
    data += b"\0" * (len(data) % 2)
    tags = [(256, 3, [w]), (257, 3, [h]), (258, 3, [bits] * c), (259, 3, [1]), (262, 3, [photometric]),
            (274, 3, [orientation]), (277, 3, [c]), (284, 3, [planar]), (339, 3, [fmt] * c)]
    counts = [len(b) for b in blocks]
    if tile:
        tags += [(322, 3, [tile]), (323, 3, [tile]), (324, 4, offsets), (325, 4, counts)]
    else:
        tags += [(273, 4, offsets), (278, 3, [h]), (279, 4, counts)]
    if extra is not None:
        tags.append((338, 3, [extra]))
    tags.sort()
    directory = 8 + len(data)
    outside = directory + 2 + 12 * len(tags) + 4
    entries, tail = b"", b""
    for tag, kind, values in tags:
        packed = struct.pack(e + ("H" if kind == 3 else "I") * len(values), *values)
        if len(packed) > 4:
            entries += struct.pack(e + "HHII", tag, kind, len(values), outside + len(tail))
            tail += packed + b"\0" * (len(packed) % 2)
        else:
            entries += struct.pack(e + "HHI", tag, kind, len(values)) + packed.ljust(4, b"\0")
    start = (b"MM\0*" if big else b"II*\0") + struct.pack(e + "I", directory)
    return start + data + struct.pack(e + "H", len(tags)) + entries + struct.pack(e + "I", 0) + tail


a = scene(19, 22, 3, 65535)
save("rgb16.tif", raw_tiff(a, 16, 1, 2), a)
save("rgb16_big_endian_tiles.tif", raw_tiff(a, 16, 1, 2, tile=16, big=True), a)
save("rgb16_planes.tif", raw_tiff(a, 16, 1, 2, planar=2, orientation=6), np.rot90(a, -1))
f32 = (a / 65535).astype(np.float32) * 1.2 - 0.1
save("rgb32f.tif", raw_tiff(f32, 32, 3, 2),
     (np.clip(f32, 0, 1) * np.float32(65535) + np.float32(0.5)).astype(np.uint16))
g = scene(9, 12, 1, 65535)
save("grey16_minis_white.tif", raw_tiff(g, 16, 1, 0), 65535 - g)
straight = scene(9, 12, 4)
alpha = straight[..., 3:].astype(np.int64)
multiplied = ((straight[..., :3] * alpha + 127) // 255)
back = np.where(alpha > 0, np.minimum((multiplied * 255 + alpha // 2) // np.maximum(alpha, 1), 255), multiplied)
save("rgba_associated.tif", raw_tiff(np.concatenate([multiplied, alpha], -1).astype(np.uint8), 8, 1, 2, extra=1),
     np.concatenate([back, alpha], -1).astype(np.uint8))

# BMP
a = scene(10, 13, 3)


def bmp(image):
    f = io.BytesIO(); image.save(f, "BMP")
    return f.getvalue()


save("rgb24.bmp", bmp(Image.fromarray(a)), a)
save("grey8.bmp", bmp(Image.fromarray(a[..., 0])), a[..., 0])
save("bit1.bmp", bmp(Image.fromarray(a[..., 0]).convert("1", dither=0)),
     np.where(a[..., 0] >= 128, 255, 0).astype(np.uint8))
q = Image.fromarray(a).quantize(16)
save("palette8.bmp", bmp(q), np.asarray(q.convert("RGB")))


def raw_bmp(h, w, bits, compression, palette, pixels, top_down=False, masks=()):
    size = 124 if len(masks) == 4 else 40
    mask_bytes = b"".join(struct.pack("<I", m) for m in masks)
    info = struct.pack("<IiiHHIIiiII", size, w, -h if top_down else h, 1, bits, compression, len(pixels), 0, 0,
                       len(palette), 0)
    info = info + mask_bytes
    if size == 124:
        info = info.ljust(124, b"\0")
    table = b"".join(bytes([p[2], p[1], p[0], 0]) for p in palette)
    offset = 14 + len(info) + len(table)
    return b"BM" + struct.pack("<IHHI", offset + len(pixels), 0, 0, offset) + info + table + pixels


pal = [tuple(int(v) for v in p) for p in palette]
index = (scene(7, 9, 1)[..., 0] >> 4)
packed = b"".join(
    bytes((row[i] << 4) | (row[i + 1] if i + 1 < 9 else 0) for i in range(0, 9, 2)).ljust(8, b"\0") for row in index[::-1])
save("palette4.bmp", raw_bmp(7, 9, 4, 0, pal, packed), palette[index])
stream = b""
for row in index[::-1]:
    stream += bytes([0, 5]) + bytes(row[:5].tolist()) + b"\0" + b"".join(bytes([1, v]) for v in row[5:].tolist()) + b"\0\0"
save("rle8.bmp", raw_bmp(7, 9, 8, 1, pal, stream + b"\0\1"), palette[index])
five = scene(6, 7, 3) >> 3
words = (five[..., 0].astype(np.uint16) << 10 | five[..., 1].astype(np.uint16) << 5 | five[..., 2])
words = np.pad(words, ((0, 0), (0, 1)))
save("rgb16_top_down.bmp", raw_bmp(6, 7, 16, 0, [], words.astype("<u2").tobytes(), top_down=True),
     ((five.astype(np.int64) * 255 + 15) // 31).astype(np.uint8))
b = scene(6, 7, 4)
save("rgba32.bmp", raw_bmp(6, 7, 32, 3, [], b[::-1][..., [2, 1, 0, 3]].tobytes(),
                           masks=(0xFF0000, 0xFF00, 0xFF, 0xFF000000)), b)
print(len(os.listdir(out)), "files,", sum(os.path.getsize(os.path.join(out, f)) for f in os.listdir(out)), "bytes")
