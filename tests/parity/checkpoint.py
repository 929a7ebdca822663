"""checkpoint.py - reads a checkpoint of glow (docs/checkpoint.md), a safetensors file: eight bytes with the
length of a JSON header, the header, the elements. With the stock package safetensors where it is
installed, else with the few lines of read_plainly()."""
import json

import numpy as np

try:
    from safetensors import safe_open
except ImportError:
    safe_open = None


def read_plainly(path):
    """Tensors by name and the metadata, both dicts."""
    with open(path, "rb") as f:
        header = json.loads(f.read(int.from_bytes(f.read(8), "little")))
        data = f.read()
    metadata, tensors = header.pop("__metadata__", {}), {}
    for name, t in header.items():
        begin, end = t["data_offsets"]
        kind = {"F32": "<f4", "F64": "<f8"}[t["dtype"]]
        tensors[name] = np.frombuffer(data[begin:end], kind).reshape(t["shape"])
    return tensors, metadata


def read_stock(path):
    with safe_open(path, framework="numpy") as f:
        return {name: f.get_tensor(name) for name in f.keys()}, f.metadata()


class Checkpoint:
    """tensor(path, name): a parameter in float64; options[path]: the resolved options of an instance;
    layers and latents: lists of dicts in the order of the flow; seed: of the noise."""

    def __init__(self, path, average=False):
        self.tensors, metadata = (read_stock if safe_open else read_plainly)(path)
        self.file, self.average = path, average
        self.options = {k: v["options"] for k, v in json.loads(metadata["instances"]).items()}
        self.ids = {k: v["id"] for k, v in json.loads(metadata["instances"]).items()}
        model = json.loads(metadata["model"])
        self.layers, self.latents = model["layers"], model["latents"]
        self.seed = int(metadata["seed"])
        self.has_average = any(name.startswith("average.") for name in self.tensors)

    def tensor(self, path, name):
        name = f"{path}.{name}"
        if self.average and "average." + name in self.tensors:    # frozen ones have no average
            name = "average." + name
        return self.tensors[name].astype(np.float64)
