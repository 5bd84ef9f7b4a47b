"""Checkpoints: a folder with `config.json`, `model.safetensors` and `README.md`, nothing that can run code.

`config.json` holds the constructor arguments of every component, nested, each under a short type name from the table
`TYPES`. It is written by reading a component's constructor signature and the attributes of the same names, and read by
calling the constructors again: a config is a serialized constructor call. It has the hash of its weights, so that
config and weights of two exports are not mistaken for one model.

Models that come with the package (`model_folders`) are located by name alone. Weights may be stored in half precision,
as the config states; they are loaded in single precision.
"""

import hashlib
import inspect
import json
import os
import time
import warnings
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as deserialized
from safetensors.torch import save as serialized
from torch import nn

from audiodiff.audio.average_spectrum import AverageSpectrum
from audiodiff.audio.mel import MelSpec
from audiodiff.audio.mel.normalization import MelNormalization
from audiodiff.audio.prior import EnergyPrior, MelPrior, RoughPrior, StandardPrior
from audiodiff.conditioners.registry import conditioner_types
from audiodiff.diffusion.grids.stored import StoredGrid
from audiodiff.diffusion.guidance.setting import GuidanceSetting
from audiodiff.diffusion.objective import X0, Epsilon, Flow, Score, V
from audiodiff.diffusion.schedules.adapted import ScaledInput, ShiftedLogSNR
from audiodiff.diffusion.schedules.discrete import DiscreteSchedule
from audiodiff.diffusion.schedules.learned import LearnedSchedule
from audiodiff.diffusion.schedules.schedule import (
    Cosine,
    LinearBeta,
    OffsetCosine,
    RectifiedFlow,
    Sigmoid,
    SubVP,
    VarianceExploding,
)
from audiodiff.diffusion.variance import LearnedVariance
from audiodiff.diffusion.weighting import P2, SNR, MinSNR, SigmoidWeighting, TruncatedSNR, VariationalBound
from audiodiff.errors import UserError
from audiodiff.files import atomic_write
from audiodiff.models import hub
from audiodiff.models.construction import construct, within
from audiodiff.models.distillation import Distillation
from audiodiff.models.model_folders import installation, shipped_folders
from audiodiff.models.old_names import MODELS, update_model, update_weights
from audiodiff.models.setting import Setting
from audiodiff.models.training_record import check_record
from audiodiff.nn.adapters.hypernetwork import HypernetworkNetwork
from audiodiff.nn.audio_encoder import AudioEncoder
from audiodiff.nn.autoencoder import Autoencoder
from audiodiff.nn.classifier import ClassifierNetwork
from audiodiff.nn.envelope import EnvelopeNetwork
from audiodiff.nn.frontends.frontend import IdentityFrontend, StftFrontend, StridedFrontend
from audiodiff.nn.gaussian_mixture import GaussianMixtures
from audiodiff.nn.network import Network
from audiodiff.nn.pitch import PitchNetwork
from audiodiff.nn.speech_encoder import SpeechEncoder
from audiodiff.nn.text_head import TextHead
from audiodiff.text.symbols import SymbolTable

FORMAT_VERSION = 1
EXPORTED = "export.json"  # in place of `config.json`, in the folder of an exported model (`onnx_export`)
SINGLE, HALF = "float32", "float16"
TYPES: dict[str, type] = {
    "network": Network,
    "classifier_network": ClassifierNetwork,
    "strided": StridedFrontend,
    "stft": StftFrontend,
    "identity": IdentityFrontend,
    "pitch_network": PitchNetwork,
    "envelope_network": EnvelopeNetwork,
    "gaussian_mixtures": GaussianMixtures,
    "audio_encoder": AudioEncoder,
    "text_head": TextHead,
    "hypernetwork_network": HypernetworkNetwork,
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
    "guidance_setting": GuidanceSetting,
    "setting": Setting,
    "distillation": Distillation,
    "epsilon": Epsilon,
    "x0": X0,
    "v": V,
    "score": Score,
    "flow": Flow,
    "learned_variance": LearnedVariance,
    "snr": SNR,
    "min_snr": MinSNR,
    "truncated_snr": TruncatedSNR,
    "p2": P2,
    "sigmoid_weighting": SigmoidWeighting,
    "variational_bound": VariationalBound,
    "mel_spec": MelSpec,
    "energy_prior": EnergyPrior,
    "mel_prior": MelPrior,
    "rough_prior": RoughPrior,
    "standard_prior": StandardPrior,
    "average_spectrum": AverageSpectrum,
    "autoencoder": Autoencoder,
    "speech_encoder": SpeechEncoder,
    "mel_normalization": MelNormalization,
    "symbol_table": SymbolTable,
    **conditioner_types(),
}
_NAMES = {component: name for name, component in TYPES.items()}
# Reads of a folder that is being replaced, and the seconds between them.
_READS, _READ_PAUSE = 10, 0.02
_LARGEST_CONFIG = 2**24  # bytes
# Errors that constructors raise for bad arguments.
_BUILD_ERRORS = (ValueError, TypeError, AttributeError, LookupError, ArithmeticError, RuntimeError)
_NOT_OURS = "choose a folder that `audiodiff train` exported (runs/<recipe>/<date_time>/model)"


@dataclass(frozen=True)
class Checkpoint:
    """Contents of a checkpoint folder.

    Args:
        type: model type, a key of `models.registry.MODEL_TYPES`.
        arguments: constructor arguments of the model, components built; after `load` their parameters are on the meta
            device until the weights are loaded.
        weights: state dictionary.
        training: training record (steps, data, seconds), free form.
        digest: SHA-256 over config and weights, hexadecimal.
        stored: precision on disk, "float32" or "float16"; `weights` are in single precision.
    """

    type: str
    arguments: dict[str, Any]
    weights: dict[str, torch.Tensor]
    training: dict[str, Any] = field(default_factory=dict)
    digest: str = ""
    stored: str = SINGLE


def describe(value: Any) -> Any:
    """Serialize a component: type name and constructor arguments, recursively; plain values are unchanged."""
    if type(value) in _NAMES:
        names = inspect.signature(type(value)).parameters
        return {"type": _NAMES[type(value)]} | {name: describe(getattr(value, name)) for name in names}
    if isinstance(value, (list, tuple, nn.ModuleList)):
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
            return construct(TYPES[name], arguments)
        except _BUILD_ERRORS as error:
            raise ValueError(f"{name}: {error}") from error
    return [build(item) for item in described] if isinstance(described, list) else described


def shipped(kind: str = "") -> list[str]:
    """Names of the models that come with the package or its companion wheels, of all types or of one."""
    return [name for name, folder in shipped_folders().items() if not kind or type_of(folder) == kind]


def locate(model: str | Path) -> Path:
    """Find the folder of a model by its path, or by the name of a shipped model or of a repository of the hub.

    A local folder with a checkpoint, `config.json` or `model.safetensors`, precedes a shipped model of the same name; a
    folder without one does not. `OWNER/NAME` is a repository where there is no folder OWNER; it is downloaded
    (`models.hub`).

    Warns:
        UserWarning: a local checkpoint has the name of a shipped model.

    Raises:
        UserError: there is none; names the shipped models, or the wheel of one that is not installed. Or as
            `hub.download`.
    """
    folder, known = Path(model), shipped_folders()
    if any(os.path.isfile(folder / name) for name in ("config.json", "model.safetensors")):
        if str(model) in known:
            warnings.warn(f"{model}: using the local folder {folder.absolute()}, not the shipped model", stacklevel=2)
        return folder
    if str(model) in known:
        return known[str(model)]
    if os.path.isdir(folder):
        return folder
    if wheel := installation(str(model)):
        raise UserError(model, "this shipped model is not installed", wheel)
    if hub.is_repository(model) and hub.is_available():
        return hub.download(model)
    names = f"{_NOT_OURS} or a shipped model ({', '.join(known) or 'none installed'})"
    names += "; or install huggingface_hub, if it is on the hub" if hub.is_repository(model) else ""
    raise UserError(folder, "no such model folder", names)


def type_of(folder: Path) -> str:
    """The model type of a checkpoint or an exported model, under today's name; empty if its config has none."""
    try:
        config = folder / "config.json"
        with (config if config.is_file() else folder / EXPORTED).open("rb") as file:
            kind = str(json.loads(file.read(_LARGEST_CONFIG))["type"])
        return MODELS.get(kind, kind)
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return ""


def to_half_precision(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Convert float32 weights to float16; others, such as a schedule's float64, are unchanged.

    Raises:
        UserError: a weight is not finite, or exceeds float16.
    """
    half = {}
    for name, weight in weights.items():
        half[name] = weight.half() if weight.dtype == torch.float32 else weight
        if not torch.isfinite(half[name]).all():
            most = float(weight.abs().max())
            problem = f"has values up to {most:.3g}, half precision holds at most 65504"
            raise UserError(f"weight {name}", problem, "store the model in single precision")
    return half


def save(folder: str | Path, checkpoint: Checkpoint, card: str) -> None:
    """Write a checkpoint folder in the precision `checkpoint.stored`.

    All files are written beside their targets before the first is renamed: a full disk changes nothing, and a reader
    gets either the old model or the new one.

    Raises:
        UserError: as `to_half_precision`, or the folder cannot be written.
    """
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.weights.items()}
    if checkpoint.stored == HALF:
        weights = to_half_precision(weights)
    encoded = serialized(weights)
    config = {
        "format": "audiodiff",
        "version": FORMAT_VERSION,
        "type": checkpoint.type,
        "weights": checkpoint.stored,
        "weights_hash": hashlib.sha256(encoded).hexdigest(),
        "model": {name: describe(value) for name, value in checkpoint.arguments.items()},
        "training": checkpoint.training,
    }
    contents = {
        "README.md": card.encode(),
        "config.json": (json.dumps(config, indent=2) + "\n").encode(),
        "model.safetensors": encoded,
    }
    with ExitStack() as files:
        for name, content in contents.items():
            files.enter_context(atomic_write(Path(folder) / name)).write_bytes(content)


def _read(config_file: Path, weights_file: Path) -> tuple[bytes, bytes, bool]:
    """Config, weights, and whether they are of one export; read again while they are being replaced."""
    for attempt in range(_READS):
        if attempt:
            time.sleep(_READ_PAUSE)
        with config_file.open("rb") as one, weights_file.open("rb") as other:  # open files do not change
            config, weights = one.read(_LARGEST_CONFIG), other.read()
        if belong := _match(config, weights):
            break
    return config, weights, belong


def _match(config: bytes, weights: bytes) -> bool:
    """Whether a config has the hash of these weights, or none; `load` reports what is not a config."""
    try:
        named = json.loads(config).get("weights_hash")
        return named is None or named == hashlib.sha256(weights).hexdigest()
    except (ValueError, AttributeError, RecursionError):
        return True


def load(folder: str | Path, initialize: bool = False) -> Checkpoint:
    """Read a checkpoint folder, or a shipped model by its name, onto the CPU.

    Args:
        folder: its path or name.
        initialize: whether the components get initial parameters; else these wait on the meta device for the weights,
            and take neither time nor memory.

    Raises:
        UserError: the folder or a file is missing, not a checkpoint of ours, of a newer version, or damaged, or the
            config describes a larger model than the weights are.
    """
    folder = locate(folder)
    config_file, weights_file = folder / "config.json", folder / "model.safetensors"
    for file in (config_file, weights_file):
        if not file.is_file() and (folder / EXPORTED).is_file():
            fix = f'load it with Vocoder.from_pretrained("{folder}", backend="onnx")'
            raise UserError(folder, "is an exported model, not a checkpoint", fix)
        if not file.is_file():
            raise UserError(file, "is missing", _NOT_OURS)
    try:
        config_bytes, weights_bytes, belong = _read(config_file, weights_file)
    except (OSError, MemoryError) as error:
        reason = getattr(error, "strerror", "it is larger than the memory")
        raise UserError(folder, f"cannot be read ({reason})", _NOT_OURS) from error
    weights, stored = _weights(weights_file, weights_bytes)
    try:
        config = json.loads(config_bytes)
        format, version = config["format"], config["version"]
        readable = format == "audiodiff" and version <= FORMAT_VERSION
        kind, described = update_model(str(config["type"])[:60], config["model"] if readable else {})
        with within(weights, initialize):
            arguments = {name: build(value) for name, value in described.items()}
        training = check_record(config.get("training", {}))
    except _BUILD_ERRORS as error:
        reason = " ".join(str(error).split())[:200]
        problem = f"is not a model config ({reason})"
        raise UserError(config_file, problem, _NOT_OURS) from error
    if not readable:
        raise UserError(config_file, f"format {format!r} version {version} is not supported", "update audiodiff")
    if not belong:
        problem = "does not match config.json (hash of the weights differs)"
        raise UserError(weights_file, problem, "copy the whole folder again, or export it again")
    if (said := config.get("weights", SINGLE)) != stored:
        raise UserError(config_file, f"declares {said!r} weights, but they are {stored!r}", "export it again")
    digest = hashlib.sha256(config_bytes)
    digest.update(weights_bytes)
    return Checkpoint(kind, arguments, weights, training, digest.hexdigest(), stored)


def _weights(file: Path, content: bytes) -> tuple[dict[str, torch.Tensor], str]:
    """The weights of a file, in single precision at least, and their precision on disk."""
    try:
        weights = deserialized(content)
    except SafetensorError as error:
        problem = f"is not a complete safetensors file ({error})"
        raise UserError(file, problem, "copy or export it again; pickles are not supported") from error
    stored = HALF if torch.float16 in {weight.dtype for weight in weights.values()} else SINGLE
    for name, weight in weights.items():
        if not weight.is_floating_point():
            raise UserError(file, f"weight {name} is {weight.dtype}, not floating point", "export it again")
        # Copied: the bytes of a file are not aligned for kernels.
        weights[name] = weight.clone() if weight.dtype in (torch.float32, torch.float64) else weight.float()
        # The sum is a quick check; where it overflows, every number is checked.
        if not weights[name].sum().isfinite() and not weights[name].isfinite().all():
            raise UserError(file, f"weight {name} has NaN or infinite values", "export an earlier checkpoint")
    return update_weights(weights), stored
