"""Checkpoints: a folder with `config.json`, `model.safetensors` and `README.md`, and nothing that can run code.

`config.json` holds the constructor arguments of every component, nested, each under a short type name from the table
`TYPES`. It is written by reading a component's constructor signature and the attributes of the same names, and read by
calling the constructors again: a config is a constructor call written down.
"""

import hashlib
import inspect
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from audiodiff.audio.mel import MelSpec
from audiodiff.audio.prior import MelPrior, StandardPrior
from audiodiff.diffusion.adapted_schedule import ScaledInput, ShiftedLogSNR
from audiodiff.diffusion.discrete_schedule import DiscreteSchedule
from audiodiff.diffusion.learned_schedule import LearnedSchedule
from audiodiff.diffusion.objective import X0, Epsilon, Flow, Score, V
from audiodiff.diffusion.schedule import (
    Cosine,
    LinearBeta,
    OffsetCosine,
    RectifiedFlow,
    Sigmoid,
    SubVP,
    VarianceExploding,
)
from audiodiff.diffusion.stored_grid import StoredGrid
from audiodiff.diffusion.variance import LearnedVariance
from audiodiff.diffusion.weighting import P2, SNR, MinSNR, SigmoidWeighting, VariationalBound
from audiodiff.errors import UserError
from audiodiff.files import atomic, write_text
from audiodiff.nn.frontend import IdentityFrontend, StftFrontend, StridedFrontend
from audiodiff.nn.network import Network

FORMAT_VERSION = 1
TYPES: dict[str, type] = {
    "network": Network,
    "strided": StridedFrontend,
    "stft": StftFrontend,
    "identity": IdentityFrontend,
    "cosine": Cosine,
    "offset_cosine": OffsetCosine,
    "linear_beta": LinearBeta,
    "sub_vp": SubVP,
    "variance_exploding": VarianceExploding,
    "rectified_flow": RectifiedFlow,
    "sigmoid": Sigmoid,
    "shifted_log_snr": ShiftedLogSNR,
    "scaled_input": ScaledInput,
    "discrete": DiscreteSchedule,
    "learned": LearnedSchedule,
    "stored_grid": StoredGrid,
    "epsilon": Epsilon,
    "x0": X0,
    "v": V,
    "score": Score,
    "flow": Flow,
    "learned_variance": LearnedVariance,
    "snr": SNR,
    "min_snr": MinSNR,
    "p2": P2,
    "sigmoid_weighting": SigmoidWeighting,
    "variational_bound": VariationalBound,
    "mel_spec": MelSpec,
    "mel_prior": MelPrior,
    "standard_prior": StandardPrior,
}
_NAMES = {component: name for name, component in TYPES.items()}
# What constructors answer to arguments of any type and value.
_MISBUILT = (ValueError, TypeError, AttributeError, LookupError, ArithmeticError, RuntimeError)
_NOT_OURS = "choose a folder that `audiodiff train` exported (runs/<recipe>/<date_time>/model)"


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint folder holds.

    Args:
        type: what the folder is a model of, such as "vocoder".
        arguments: constructor arguments of the composed model, components built.
        weights: state dictionary.
        training: what training recorded of itself (steps, data, seconds), free form.
        digest: SHA-256 over config and weights, hexadecimal.
    """

    type: str
    arguments: dict[str, Any]
    weights: dict[str, torch.Tensor]
    training: dict[str, Any] = field(default_factory=dict)
    digest: str = ""


def describe(value: Any) -> Any:
    """A component as JSON: its type name and constructor arguments, recursively; plain values as they are."""
    if type(value) in _NAMES:
        names = inspect.signature(type(value)).parameters
        return {"type": _NAMES[type(value)]} | {name: describe(getattr(value, name)) for name in names}
    if isinstance(value, (list, tuple)):
        return [describe(item) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise ValueError(f"{type(value).__name__} has no name in the table of checkpoint types")


def build(described: Any) -> Any:
    """The inverse of `describe`.

    Raises:
        ValueError: an unknown type name, or arguments that its constructor does not take.
    """
    if isinstance(described, dict):
        arguments = {name: build(value) for name, value in described.items() if name != "type"}
        name = described.get("type")
        if name not in TYPES:
            raise ValueError(f"unknown type {name!r}, known are {', '.join(TYPES)}")
        try:
            return TYPES[name](**arguments)
        except _MISBUILT as error:
            raise ValueError(f"{name}: {error}") from error
    return [build(item) for item in described] if isinstance(described, list) else described


def save(folder: str | Path, checkpoint: Checkpoint, card: str) -> None:
    """Write a checkpoint folder; the weights come last, so that a folder with weights is complete."""
    folder = Path(folder)
    config = {
        "format": "audiodiff",
        "version": FORMAT_VERSION,
        "type": checkpoint.type,
        "model": {name: describe(value) for name, value in checkpoint.arguments.items()},
        "training": checkpoint.training,
    }
    write_text(folder / "config.json", json.dumps(config, indent=2) + "\n")
    write_text(folder / "README.md", card)
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.weights.items()}
    with atomic(folder / "model.safetensors") as temporary:
        save_file(weights, temporary)


def load(folder: str | Path) -> Checkpoint:
    """Read a checkpoint folder onto the CPU.

    Raises:
        UserError: the folder or a file is missing, not a checkpoint of ours, of a newer version, or damaged.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(folder, "no such model folder", _NOT_OURS)
    config_file, weights_file = folder / "config.json", folder / "model.safetensors"
    for file in (config_file, weights_file):
        if not file.is_file():
            raise UserError(file, "is missing", _NOT_OURS)
    try:
        config = json.loads(config_file.read_text(encoding="utf-8"))
        format, version = config["format"], config["version"]
        readable = format == "audiodiff" and version <= FORMAT_VERSION
        arguments = {name: build(value) for name, value in config["model"].items()} if readable else {}
        kind, training = config["type"], dict(config.get("training", {}))
    except _MISBUILT as error:
        reason, *_ = str(error).partition("\n")
        problem = f"is not a model config ({reason})"
        raise UserError(config_file, problem, _NOT_OURS) from error
    if not readable:
        raise UserError(config_file, f"format {format!r} version {version} is not readable", "update audiodiff")
    try:
        weights = load_file(weights_file)
    except (SafetensorError, OSError) as error:
        problem = f"is not a whole safetensors file ({error})"
        raise UserError(weights_file, problem, "copy or export it again; pickles are never read") from error
    digest = hashlib.sha256(config_file.read_bytes() + weights_file.read_bytes()).hexdigest()
    return Checkpoint(kind, arguments, weights, training, digest)
