"""Export to ONNX: write a folder that runs a model without PyTorch (`models.onnx_export` says what is in it).

The graph is one evaluation of the network. Around it, a vocoder needs a float64 pitch network, Fourier transforms and
noise, for which ONNX has no operators, or none that are exact enough: `run.py` does them in NumPy. Other models get the
graph and its description; `from_pretrained(folder, backend="onnx")` of their pipeline does the rest.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as serialized
from torch import Tensor

from audiodiff import extras
from audiodiff.errors import UserError, did_you_mean
from audiodiff.export import graph, graph_weights, onnx_card, runner, runner_settings
from audiodiff.files import atomic_write
from audiodiff.models import checkpoint
from audiodiff.models.diffusion_model import DiffusionModel
from audiodiff.models.onnx_export import ARRAYS, CARD, CONFIG, FORMAT, GRAPH, RUNNER, VERSION, is_export
from audiodiff.models.registry import MODEL_TYPES


def _vocoder(model: Any) -> dict[str, Any]:
    described = {"mel_spec": runner_settings.mel_spec(model.mel_spec), "runner": runner_settings.settings(model)}
    return described | {"positions_per_second": model.sample_rate}


# What an export describes besides the graph, by model type: at least how many positions of the network's input are a
# second. None: it has no denoiser.
DESCRIBED: dict[str, Callable[[Any], dict[str, Any]] | None] = {
    "vocoder": _vocoder,
    "audio": lambda model: {"positions_per_second": model.sample_rate / model.stride},
    "acoustic": lambda model: {
        "positions_per_second": model.sample_rate / (model.mel_spec.hop_length * model.fold),
    },
    "codec": None,
    "aligner": None,
    "audio_text": None,
    "noisy_classifier": None,
    "restorer": lambda model: {"positions_per_second": model.sample_rate},
    "hypernetwork": None,
    "upsampler": lambda model: {"positions_per_second": model.sample_rate},
}


def export_onnx(model: str | Path, out: str | Path, dtype: str = "float32", overwrite: bool = False) -> Path:
    """Export a model's network, and what it needs besides, and return the folder.

    Args:
        model: checkpoint folder, or the name of a shipped model.
        out: folder to write.
        dtype: of the stored weights: float32, float16 or int8, as `export.graph_weights` says.
        overwrite: replace an export.

    Raises:
        UserError: a model without a denoiser, an unknown dtype, the extra `onnx` is missing, a weight that half
            precision cannot represent, or `out` holds something else.
    """
    extras.require("onnx")
    if dtype not in graph_weights.DTYPES:
        fix = did_you_mean(dtype, graph_weights.DTYPES, f"choose one of {', '.join(graph_weights.DTYPES)}")
        raise UserError(f"dtype {dtype!r:.40}", "is unknown", fix)
    folder, out = checkpoint.locate(model), Path(out)
    _check_target(out, overwrite)
    found = checkpoint.load(folder)
    describe = DESCRIBED[found.type]
    if describe is None:
        known = ", ".join(kind for kind, description in DESCRIBED.items() if description)
        raise UserError(folder, f"is a {found.type}, which has no denoiser", f"export a model of type {known}")
    built = MODEL_TYPES[found.type].from_checkpoint(found, folder)
    assert isinstance(built, DiffusionModel)
    plain = graph.export_graph(built)
    variants = {name: store(plain, graph.weight_names(built)) for name, store in graph_weights.DTYPES.items()}
    encoded = {name: proto.SerializeToString() for name, proto in variants.items()}
    described = describe(built)
    arrays = built.part_weights() | (runner_settings.arrays(built) if "runner" in described else {})
    contents = {GRAPH: encoded[dtype], ARRAYS: serialized({name: _smallest(array) for name, array in arrays.items()})}
    config = {
        "format": FORMAT,
        "version": VERSION,
        "type": found.type,
        "dtype": dtype,
        "checkpoint": {"name": folder.name, "hash": found.digest},
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()},
        "graph": _interface(variants[dtype], built),
        "model": {name: checkpoint.describe(value) for name, value in found.arguments.items()},
        "training": found.training,
        **described,
    }
    contents[CONFIG] = (json.dumps(config, indent=1) + "\n").encode()
    if "runner" in described:
        contents[RUNNER] = Path(runner.__file__).read_bytes()
    contents[CARD] = onnx_card.card(built, config, encoded).encode()
    _write(out, contents)
    return out


def _check_target(out: Path, overwrite: bool) -> None:
    if is_export(out) and not overwrite:
        raise UserError(out, "holds an exported model already", "choose another --out or add --overwrite")
    if out.is_file() or (out.is_dir() and any(out.iterdir()) and not is_export(out)):
        raise UserError(out, "exists and is not an exported model", "choose a new folder")


def _write(out: Path, contents: Mapping[str, bytes]) -> None:
    """Write all files beside their targets before the first is renamed."""
    with ExitStack() as files:
        for name, content in contents.items():
            files.enter_context(atomic_write(out / name)).write_bytes(content)


def _smallest(array: Tensor) -> Tensor:
    """The array in float16 where that loses nothing."""
    array = array.detach().cpu().contiguous()
    half = array.half()
    return half if array.dtype == torch.float32 and torch.equal(half.float(), array) else array


def _interface(proto: Any, model: DiffusionModel) -> dict[str, Any]:
    """Inputs and output of a graph with their shapes, and what its length is a multiple of."""
    inputs = {
        value.name: [size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim]
        for value in proto.graph.input
    }
    return {
        "opset": graph.OPSET,
        "multiple_of": graph.multiple_of(model.network),
        "inputs": inputs,
        "output": graph.OUTPUT,
    }
