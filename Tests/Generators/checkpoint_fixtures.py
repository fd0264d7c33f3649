"""Writes Tests/BraidCheckpointTests/Fixtures: small files of torch.save, and pickles that must be refused.

Usage: python checkpoint_fixtures.py FOLDER        (needs torch and numpy)

Every good file is described in expected.json: key -> stored type, shape, values after loading.
"""

import collections
import io
import json
import os
import pickle
import struct
import sys
import zipfile

import numpy as np
import torch

out = sys.argv[1]
os.makedirs(out, exist_ok=True)
expected = {}

CODES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64",
    torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
}


def describe(name, tensors, **more):
    expected[name] = {
        "tensors": [
            {
                "key": key, "type": CODES[tensor.dtype], "shape": list(tensor.shape),
                "values": tensor.detach().to(torch.float64).flatten().tolist(),
            }
            for key, tensor in tensors.items()
        ],
        **more,
    }


def save(name, value, tensors, protocol=2, **more):
    for suffix, zipped in (("zip", True), ("legacy", False)):
        file = f"{name}.{suffix}.pth"
        torch.save(
            value, os.path.join(out, file), pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
        describe(file, tensors, **more)


generator = torch.Generator().manual_seed(7)
ramp = torch.randn(3, 4, generator=generator, dtype=torch.float64)
types = {
    str(dtype).removeprefix("torch."): (ramp * 20).to(dtype) if dtype != torch.bool else ramp > 0 for dtype in CODES
}
save("types", types, types)
save("types4", types, types, protocol=4)

base = torch.arange(24, dtype=torch.float32)
strided = {
    "base": base,
    "transposed": base.view(4, 6).t(),
    "middle": base[5:17].view(3, 4),
    "every_other": base.view(4, 6)[:, ::2],
    "permuted": base.view(2, 3, 4).permute(2, 0, 1),
    "expanded": torch.tensor([[3.0], [4.0]]).expand(2, 5),
    "scalar": torch.tensor(2.5),
    "empty": torch.zeros(0, 3),
    "half_transposed": base.half().view(4, 6).t(),
}
save("strided", strided, strided)

module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
state = module.state_dict()
save("state", state, state)  # OrderedDict with the attribute _metadata
parameters = dict(module.named_parameters())
save("parameters", parameters, parameters)
wrapped = collections.OrderedDict(("module." + key, value) for key, value in state.items())
save("prefix", {"state_dict": wrapped, "epoch": 3, "loss": 0.25, "name": "run"}, state, weightsKey="state_dict")

ema = {key: value + 1 for key, value in state.items()}
save("averaged", {"params": state, "params_ema": ema}, ema, weightsKey="params_ema")
save("generator", {"generator": state, "steps": 10}, state, weightsKey="generator")
save("deep", {"model": {"state_dict": state}, "epoch": 1}, state, weightsKey="model.state_dict")
save("several", {"encoder": dict(state), "decoder": ema}, {}, fails="--weights-key")
tree = {"encoder": {"layers": [state["0.weight"], state["0.bias"]]}, "scale": torch.tensor([1.0])}
save("tree", tree, {"encoder.layers.0": state["0.weight"], "encoder.layers.1": state["0.bias"], "scale": tree["scale"]})
save("single", torch.tensor([1.0, 2.0]), {"tensor": torch.tensor([1.0, 2.0])})
training = {
    "state_dict": state,
    "best": np.float64(0.5),
    "counts": collections.Counter([1, 2, 2]),
    "seed": 2**63 + 5,
    "tags": {"a", "b"},
    "size": torch.Size([1, 2]),
    "dtype": torch.float16,
    "device": torch.device("cpu"),
    "bytes": b"\x00\xff",
}
save("training", training, state, weightsKey="state_dict")
save("training4", training, state, weightsKey="state_dict", protocol=4)

# A larger one, so that mutations also strike directories and data.
blocks = {f"layers.{i}.weight": torch.randn(8, 8, generator=generator) for i in range(40)}
save("blocks", {"params_ema": blocks}, blocks, weightsKey="params_ema")

# The same archive compressed, as re-zipping it leaves it.
with zipfile.ZipFile(os.path.join(out, "state.zip.pth")) as source:
    with zipfile.ZipFile(os.path.join(out, "deflated.zip.pth"), "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
describe("deflated.zip.pth", state)


# Files that must be refused. The name says why; `fails` is a part of the message.
def archive(name, pickled, records=(), fails="", compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(os.path.join(out, name), "w", compression) as target:
        target.writestr("archive/data.pkl", pickled)
        target.writestr("archive/version", "3\n")
        for key, data in records:
            target.writestr(key, data)
    expected[name] = {"tensors": [], "fails": fails}


class Call:
    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


for protocol in (0, 2, 4):
    archive(
        f"bad.system{protocol}.pth", pickle.dumps({"a": Call(os.system, "touch pwned")}, protocol), fails="posix.system")
    archive(f"bad.eval{protocol}.pth", pickle.dumps({"a": Call(eval, "1+1")}, protocol), fails="eval")
archive("bad.getattr.pth", b"\x80\x02cbuiltins\ngetattr\n.", fails="builtins.getattr")
archive("bad.inst.pth", b"(S'touch pwned'\niposix\nsystem\n.", fails="posix.system")
archive("bad.bytes.pth", b"\x80\x02ctorch.storage\n_load_from_bytes\n(U\x01xtR.", fails="_load_from_bytes")
archive("bad.object.pth", pickle.dumps({"a": Call(collections.deque)}, 2),
        fails="collections.deque")
archive("bad.empty.pth", b"", fails="ends too early")
archive("bad.nothing.pth", pickle.dumps({"a": 1}, 2), fails="no tensors")
archive("bad.nested.pth", b"\x80\x02" + b"N" + b"\x85" * 60000 + b".", fails="no tensors")
archive("bad.lists.pth", b"\x80\x02" + b"(" * 60000 + b"l" * 60000 + b".", fails="no tensors")
archive("bad.marks.pth", b"\x80\x02" + b"(" * 60000 + b".", fails="stack")

STORAGE = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQ"


def tensor(offset, size, stride):
    def number(value):
        return b"\x8a\x08" + struct.pack("<q", value)

    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n(" + STORAGE + number(offset) + b"(" + b"".join(map(number, size)) + b"t("
        + b"".join(map(number, stride)) + b"t\x89ccollections\nOrderedDict\n)RtR"
    )


def one(body):
    return b"\x80\x02}X\x01\x00\x00\x00a" + body + b"s."


data = [("archive/data/0", bytes(16))]
archive("bad.expanded.pth", one(tensor(0, [1 << 40], [0])), data, fails="8 times")
archive("bad.overflow.pth", one(tensor(0, [1 << 40, 1 << 40], [0, 0])), data, fails="overflows")
archive("bad.overflow0.pth", one(tensor(0, [1 << 40, 1 << 40, 0], [0, 0, 0])), data, fails="overflows")
archive("bad.past.pth", one(tensor(0, [5], [1])), data, fails="reach past")
archive("bad.offset.pth", one(tensor(1, [4], [1])), data, fails="reach past")
archive("bad.stride.pth", one(tensor(0, [4], [1 << 61])), data, fails="reach past")
archive("bad.negative.pth", one(tensor(3, [4], [-1])), data, fails="strides")
archive("bad.negsize.pth", one(tensor(0, [-4], [1])), data, fails="negative")
archive("bad.negoffset.pth", one(tensor(-1, [1], [1])), data, fails="negative")
archive("bad.short.pth", one(tensor(0, [4], [1])), [("archive/data/0", bytes(15))], fails="promises")
archive("bad.missing.pth", one(tensor(0, [4], [1])), fails="not in the file")
archive("bad.bigendian.pth", one(tensor(0, [4], [1])), data + [("archive/byteorder", "big")], fails="big-endian")
archive("bad.torchscript.pth", one(tensor(0, [4], [1])), data + [("archive/constants.pkl", b"")], fails="TorchScript")
archive(
    "bad.bomb.pth", one(tensor(0, [4], [1])), [("archive/data/0", bytes(60_000_000))], fails="16 times",
    compression=zipfile.ZIP_DEFLATED)
# d = {"a": tensor, "d": d}: a dictionary within itself.
archive(
    "bad.cycle.pth", b"\x80\x02}q\x00X\x01\x00\x00\x00a" + tensor(0, [4], [1]) + b"sX\x01\x00\x00\x00dh\x00s.", data,
    fails="circle")
# Each level holds the one before twice: 2^40 paths to one tensor.
doubling = b"\x80\x02}q\x00X\x01\x00\x00\x00a" + tensor(0, [4], [1]) + b"s0"
for level in range(1, 12):
    doubling += (
        b"}q" + bytes([level]) + b"".join(
            b"X\x01\x00\x00\x00" + bytes([97 + i]) + b"h" + bytes([level - 1]) + b"s" for i in range(8)) + b"0")
archive("bad.doubling.pth", doubling + b"}X\x06\x00\x00\x00paramsh\x0bs.", data, fails="over and over")
# One list copied into 2000 dictionaries.
pairs = b"\x80\x02(" + b"".join(b"X\x02\x00\x00\x00%02xN\x86" % (i % 256) for i in range(2000)) + b"lq\x000"
archive(
    "bad.copies.pth", pairs + b"]" + b"ccollections\nOrderedDict\nh\x00\x85Ra" * 2000 + b".", fails="over and over")

json.dump(expected, open(os.path.join(out, "expected.json"), "w"), separators=(",", ":"))
