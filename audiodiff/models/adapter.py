"""Adapters on disk: a folder with `adapter.json`, `adapter.safetensors` and `README.md`, nothing that can run code.

An adapter changes one model, its base, which it names by a hash over the base's weights; on any other it is refused.
It holds updates of layers (`nn.adapters.update`), new words of prompts (`conditioners.prompt`), new speakers of a voice
(`conditioners.speaker`), or several of these.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as deserialized
from safetensors.torch import save as serialized
from torch import Tensor

from audiodiff.errors import UserError
from audiodiff.files import atomic_write
from audiodiff.models import hub
from audiodiff.models.training_record import check_record
from audiodiff.nn.adapters.update import UPDATES, WeightUpdate
from audiodiff.text.placeholder import is_placeholder, is_speaker

FORMAT, FORMAT_VERSION = "audiodiff adapter", 1
CONFIG, WEIGHTS = "adapter.json", "adapter.safetensors"
MAX_TOKENS = 8  # vectors of a new word
_WORDS, _SPEAKERS = "words.", "speakers."  # prefixes of their names among the weights
_LARGEST_CONFIG, _LARGEST_WEIGHTS = 2**20, 2**30  # bytes
_LARGEST_RANK, _LARGEST_ALPHA = 2**16, 2.0**20
_NOT_OURS = "choose a folder that a run with adapter= exported (runs/<recipe>/<date_time>/adapter)"


@dataclass(frozen=True, eq=False)
class Adapter:
    """A change of a base model.

    Attributes:
        base: hash of the base's weights (`models.adapted.weights_hash`).
        base_type: model type of the base.
        base_name: what the base was called when the adapter was trained.
        kind: of the updates, a key of `nn.adapters.update.UPDATES`; "" without updates.
        rank, alpha: of the updates.
        updates: parameters of the update of each layer, by name.
        words: vectors (N, D) of new words of prompts, such as "<my-drum>".
        speakers: vectors (E,) of new speakers by name.
        training: training record.
        folder: that it was loaded from.
        digest: SHA-256 over both files; "" of one that was not loaded.
    """

    base: str
    base_type: str
    base_name: str = ""
    kind: str = ""
    rank: int = 0
    alpha: float = 0.0
    updates: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)
    words: Mapping[str, Tensor] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    folder: str = ""
    digest: str = ""
    speakers: Mapping[str, Tensor] = field(default_factory=dict)

    def numbers(self) -> int:
        """How many numbers were learned."""
        tensors = [tensor for update in self.updates.values() for tensor in update.values()]
        return sum(tensor.numel() for tensor in (*tensors, *self.words.values(), *self.speakers.values()))

    def update(self, layer: str, weight: Tensor) -> WeightUpdate:
        """The update of a layer with this weight.

        Raises:
            ValueError: it does not fit.
        """
        parameters = {name: tensor.to(weight.device) for name, tensor in self.updates[layer].items()}
        return UPDATES[self.kind].of(weight.shape, parameters, self.rank, self.alpha)

    def error(self, problem: str, fix: str) -> UserError:
        """An error about this adapter."""
        return UserError(f"adapter {self.folder}", problem, fix)

    def save(self, folder: str | Path, card: str = "") -> None:
        """Write the folder; all files are written beside their targets before the first is renamed.

        Raises:
            UserError: it cannot be written.
        """
        weights = {f"{layer}.{name}": value for layer, update in self.updates.items() for name, value in update.items()}
        weights |= {_WORDS + word: vectors for word, vectors in self.words.items()}
        weights |= {_SPEAKERS + name: vector for name, vector in self.speakers.items()}
        encoded = serialized({name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()})
        config = {
            "format": FORMAT,
            "version": FORMAT_VERSION,
            "base": {"type": self.base_type, "name": self.base_name, "hash": self.base},
            "kind": self.kind,
            "rank": self.rank,
            "alpha": self.alpha,
            "weights_hash": hashlib.sha256(encoded).hexdigest(),
            "training": dict(self.training),
        }
        contents = {
            "README.md": card.encode(),
            CONFIG: (json.dumps(config, indent=2) + "\n").encode(),
            WEIGHTS: encoded,
        }
        with ExitStack() as files:
            for name, content in contents.items():
                files.enter_context(atomic_write(Path(folder) / name)).write_bytes(content)


def load(folder: str | Path) -> Adapter:
    """Read an adapter, by its folder or by a repository of the hub.

    Raises:
        UserError: a file is missing, too large, damaged, of a newer version, or not an adapter of ours.
    """
    folder = hub.local_folder(folder)
    config_bytes, weight_bytes = (
        _read(folder, *each) for each in ((CONFIG, _LARGEST_CONFIG), (WEIGHTS, _LARGEST_WEIGHTS))
    )
    try:
        config = json.loads(config_bytes)
        if config["format"] != FORMAT:
            raise ValueError(f"format {config['format']!r:.40}")
        version, readable = config["version"], config["version"] == FORMAT_VERSION
        belongs = config["weights_hash"] == hashlib.sha256(weight_bytes).hexdigest()
        base, kind, rank, alpha = config["base"], config["kind"], config["rank"], config["alpha"]
        texts = (base["hash"], base["type"], base["name"], kind)
        if not all(isinstance(text, str) for text in texts):
            raise ValueError("an entry of another type")
        training = check_record(config.get("training", {}))
        if readable:
            _check_numbers(kind, rank, alpha)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(folder / CONFIG, f"is not an adapter ({reason})", _NOT_OURS) from error
    if not readable:
        raise UserError(folder / CONFIG, f"version {version!r:.20} is not supported", "update audiodiff")
    if not belongs:
        problem = f"does not match {CONFIG} (hash of the weights differs)"
        raise UserError(folder / WEIGHTS, problem, "copy the whole folder again")
    updates, words, speakers = _weights(folder / WEIGHTS, weight_bytes, kind)
    digest = hashlib.sha256(config_bytes)
    digest.update(weight_bytes)
    return Adapter(
        *(base["hash"], base["type"], base["name"], kind, rank, float(alpha)),
        *(updates, words, training, str(folder), digest.hexdigest(), speakers),
    )


def _read(folder: Path, name: str, largest: int) -> bytes:
    file = folder / name
    if not file.is_file():
        known = "is a model, not an adapter" if (folder / "config.json").is_file() else f"has no {name}"
        raise UserError(f"adapter {folder}", known if folder.is_dir() else "no such folder", _NOT_OURS)
    try:
        with file.open("rb") as opened:
            content = opened.read(largest + 1)
    except (OSError, MemoryError) as error:
        reason = getattr(error, "strerror", "it is larger than the memory")
        raise UserError(file, f"cannot be read ({reason})", _NOT_OURS) from error
    if len(content) > largest:
        raise UserError(file, f"is larger than {largest >> 20} MiB", _NOT_OURS)
    return content


def _check_numbers(kind: str, rank: Any, alpha: Any) -> None:
    """Raise ValueError if they are not those of an update, or of an adapter without updates."""
    if kind and kind not in UPDATES:
        raise ValueError(f"kind {kind!r:.40} is not one of {', '.join(UPDATES)}")
    if type(rank) is not int or not (0 if not kind else 1) <= rank <= _LARGEST_RANK:
        raise ValueError(f"rank {rank!r:.40} is out of range")
    if type(alpha) not in (int, float) or abs(alpha) > _LARGEST_ALPHA or not math.isfinite(alpha):
        raise ValueError(f"alpha {alpha!r:.40} is out of range")


def _weights(
    file: Path, content: bytes, kind: str
) -> tuple[dict[str, dict[str, Tensor]], dict[str, Tensor], dict[str, Tensor]]:
    """Parameters of the updates by layer, vectors of the words, and those of the speakers."""
    updates: dict[str, dict[str, Tensor]] = {}
    words, speakers = {}, {}
    try:
        weights = deserialized(content)
    except (SafetensorError, LookupError, ValueError) as error:  # the latter two of types of numbers unknown to torch
        problem = f"is not a complete safetensors file ({error})"
        raise UserError(file, problem, "copy it again; pickles are not supported") from error
    names = UPDATES[kind].NAMES if kind else ()
    for name, weight in weights.items():
        if weight.dtype != torch.float32 or not weight.isfinite().all():
            raise UserError(file, f"{name!r:.60} is not of finite float32 numbers", _NOT_OURS)
        weight = weight.clone()  # the bytes of a file are not aligned for kernels
        layer, _, parameter = name.rpartition(".")
        if name.startswith(_WORDS):
            word = name.removeprefix(_WORDS)
            if not is_placeholder(word) or weight.ndim != 2 or not 1 <= len(weight) <= MAX_TOKENS:
                raise UserError(file, f"{name!r:.60} is not a word of 1 to {MAX_TOKENS} vectors", _NOT_OURS)
            words[word] = weight
        elif name.startswith(_SPEAKERS):
            speaker = name.removeprefix(_SPEAKERS)
            if not is_speaker(speaker) or weight.ndim != 1:
                raise UserError(file, f"{name!r:.60} is not a speaker with a vector", _NOT_OURS)
            speakers[speaker] = weight
        elif layer and parameter in names:
            updates.setdefault(layer, {})[parameter] = weight
        else:
            raise UserError(file, f"{name!r:.60} is not part of an adapter of kind {kind or 'names'}", _NOT_OURS)
    return updates, words, speakers
