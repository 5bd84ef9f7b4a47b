"""Exported models: a folder that holds a network as an ONNX graph, and all that the model needs besides.

    export.json          format, version, hashes, the model's config, the graph's interface, settings of the runner
    network.onnx         one evaluation of the network, for any batch and length
    arrays.safetensors   weights of the model's other parts, by their names in a checkpoint, and the runner's constants
    run.py               of a vocoder: mel to audio, with NumPy and ONNX Runtime alone
    README.md            the interface, and a table of size, error and time

`audiodiff.export.onnx` writes it; `Vocoder.from_pretrained(folder, backend="onnx")` loads it.
"""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load as deserialized

from audiodiff.errors import UserError
from audiodiff.models import checkpoint, hub
from audiodiff.models.construction import construct, limited
from audiodiff.models.diffusion_model import DiffusionModel
from audiodiff.models.onnx_network import OnnxNetwork

FORMAT, VERSION = "audiodiff-onnx", 2
CONFIG, GRAPH, ARRAYS, RUNNER, CARD = checkpoint.EXPORTED, "network.onnx", "arrays.safetensors", "run.py", "README.md"
_HOW = "write one with: audiodiff export MODEL --format onnx --out DIR"
_SMALLEST_TENSOR = 32  # bytes that a weight takes in a graph at least, with its name and shape
_LARGEST_CONFIG = 2**24  # bytes
_Model = TypeVar("_Model", bound=DiffusionModel)
_BROKEN = (ValueError, TypeError, AttributeError, LookupError, ArithmeticError, RuntimeError)


@dataclass(frozen=True)
class Export:
    """Contents of an export folder.

    Attributes:
        folder: where it is.
        config: of `export.json`.
        graph: bytes of `network.onnx`.
        arrays: of `arrays.safetensors`.
        digest: SHA-256 over the config, which has the hashes of the rest; hexadecimal.
    """

    folder: Path
    config: dict[str, Any]
    graph: bytes
    arrays: dict[str, torch.Tensor]
    digest: str

    @property
    def weights(self) -> dict[str, torch.Tensor]:
        """Weights of the parts besides the network, in single precision at least."""
        found = {name: array for name, array in self.arrays.items() if "." in name}
        return {name: array.float() if array.dtype == torch.float16 else array for name, array in found.items()}

    def model(self, kind: type[_Model]) -> _Model:
        """The model, its network evaluated by ONNX Runtime.

        Raises:
            UserError: it is of another type or damaged, or onnxruntime is not installed.
        """
        if (found := self.config.get("type")) != kind.TYPE:
            problem = f"is a model of type {found!r}, not {kind.TYPE!r}"
            raise UserError(self.folder, problem, f"choose one of type {kind.TYPE!r}")
        weights = self.weights
        numbers = len(self.graph) + sum(weight.numel() for weight in weights.values())
        try:
            with limited(len(weights) + len(self.graph) // _SMALLEST_TENSOR, numbers):
                model = construct(kind, {name: checkpoint.build(value) for name, value in self.config["model"].items()})
            model.load_parts(weights)
            multiple_of = int(self.config["graph"]["multiple_of"])
        except _BROKEN as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(self.folder / CONFIG, f"is not that of a model ({reason})", "export it again") from error
        model.denoiser.network = OnnxNetwork(self.graph, model.network, multiple_of)
        return model.eval()


def is_export(folder: str | Path) -> bool:
    """Whether a folder holds an exported model."""
    return os.path.isfile(Path(folder) / CONFIG)


def read(folder: str | Path) -> Export:
    """Read an export folder, or a repository of the hub that holds one.

    Raises:
        UserError: not an export, of another version of the format, or its files are damaged or of several exports.
    """
    folder = hub.local_folder(folder)
    if not is_export(folder):
        raise UserError(folder, "is not an exported model" if os.path.isdir(folder) else "no such folder", _HOW)
    encoded = _content(folder / CONFIG, _LARGEST_CONFIG)
    try:
        config = json.loads(encoded)
        format, version, files = config["format"], config["version"], config["files"]
        named = {name: str(files[name]) for name in (GRAPH, ARRAYS)} if (format, version) == (FORMAT, VERSION) else {}
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise UserError(folder / CONFIG, f"is not that of an exported model ({error!r:.60})", _HOW) from error
    if not named:
        problem = f"format {format!r:.40} version {version!r:.20} is not supported, only {FORMAT} {VERSION}"
        raise UserError(folder / CONFIG, problem, "export the model again")
    contents = {name: _content(folder / name) for name in named}
    for name, content in contents.items():
        if hashlib.sha256(content).hexdigest() != named[name]:
            problem = f"does not match {CONFIG} (its hash differs)"
            raise UserError(folder / name, problem, "copy the whole folder again, or export it again")
    try:
        arrays = deserialized(contents[ARRAYS])
    except SafetensorError as error:
        raise UserError(folder / ARRAYS, f"is not a safetensors file ({error})", "export it again") from error
    return Export(folder, config, contents[GRAPH], arrays, hashlib.sha256(encoded).hexdigest())


def _content(path: Path, most: int = -1) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(most)
    except (OSError, MemoryError) as error:
        reason = getattr(error, "strerror", "it is larger than the memory")
        raise UserError(path, f"cannot be read ({reason})", "copy the whole folder again") from error
