"""Adapters on disk: a folder with `adapter.json`, `adapter.safetensors` and `README.md`, nothing that can run code.

An adapter changes one model, its base, which it names by a hash over the base's weights; on any other it is refused.
It holds updates of layers (`nn.adapters.update`), new words of prompts (`conditioners.prompt`), new speakers of a voice
(`conditioners.speaker`), or several of these.

How large an adapter may be depends on its base. So it is first inspected, which takes no memory for its numbers, and
these are read once the base is known (`models.adapted.apply`).
"""

import hashlib
import json
import math
import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError, safe_open
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
_LARGEST_CONFIG, _LARGEST_HEADER, _LARGEST_WEIGHTS = 2**20, 2**22, 2**30  # bytes
_PIECE = 2**20  # bytes of a file that are hashed at once
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
        return sum(tensor.numel() for tensor in self._tensors())

    def _tensors(self) -> list[Tensor]:
        updates = [tensor for update in self.updates.values() for tensor in update.values()]
        return [*updates, *self.words.values(), *self.speakers.values()]

    def loaded(self) -> "Adapter":
        """The adapter with its numbers, which are read now if it was inspected only.

        Raises:
            UserError: the files were replaced since, or as `load`.
        """
        if not any(tensor.is_meta for tensor in self._tensors()):
            return self
        found = load(self.folder)
        if found.digest != self.digest:
            raise self.error("was replaced while it was in use", "start again")
        return found

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
    """Read an adapter with its numbers, at most 1 GiB, by its folder or by a repository of the hub.

    Raises:
        UserError: a file is missing, too large, damaged, of a newer version, or not an adapter of ours.
    """
    folder = hub.local_folder(folder)
    config = _read(folder, CONFIG, _LARGEST_CONFIG, lambda file: file.read())
    weights = _read(folder, WEIGHTS, _LARGEST_WEIGHTS, lambda file: file.read())
    digest = hashlib.sha256(config)
    digest.update(weights)
    own = hashlib.sha256(weights).hexdigest()
    return _adapter(folder, config, own, digest.hexdigest(), lambda _: _deserialized(weights))


def inspect(folder: str | Path) -> Adapter:
    """Read an adapter without its numbers: tensors are on the meta device, and take no memory (`Adapter.loaded`).

    Raises:
        UserError: as `load`, but for numbers that are not finite.
    """
    folder = hub.local_folder(folder)
    config = _read(folder, CONFIG, _LARGEST_CONFIG, lambda file: file.read())
    weights, digest = hashlib.sha256(), hashlib.sha256(config)

    def hash_pieces(file: BinaryIO) -> None:
        while piece := file.read(_PIECE):
            weights.update(piece)
            digest.update(piece)

    _read(folder, WEIGHTS, _LARGEST_WEIGHTS, hash_pieces)
    return _adapter(folder, config, weights.hexdigest(), digest.hexdigest(), _shapes)


def _adapter(
    folder: Path, config_bytes: bytes, weights_hash: str, digest: str, read: Callable[[Path], dict[str, Tensor]]
) -> Adapter:
    """The adapter of a config, and of tensors that are read from the file of weights."""
    try:
        config = json.loads(config_bytes)
        if config["format"] != FORMAT:
            raise ValueError(f"format {config['format']!r:.40}")
        version, readable = config["version"], config["version"] == FORMAT_VERSION
        belongs = config["weights_hash"] == weights_hash
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
    try:
        tensors = read(folder / WEIGHTS)
    except (SafetensorError, LookupError, ValueError) as error:  # the latter two of types of numbers unknown to torch
        problem = f"is not a complete safetensors file ({error})"
        raise UserError(folder / WEIGHTS, problem, "copy it again; pickles are not supported") from error
    updates, words, speakers = _by_name(folder / WEIGHTS, tensors, kind)
    return Adapter(
        *(base["hash"], base["type"], base["name"], kind, rank, float(alpha)),
        *(updates, words, training, str(folder), digest, speakers),
    )


def _deserialized(content: bytes) -> dict[str, Tensor]:
    """Tensors of a file of weights; copies, since the bytes of a file are not aligned for kernels."""
    return {name: tensor.clone() for name, tensor in deserialized(content).items()}


def _shapes(file: Path) -> dict[str, Tensor]:
    """Tensors of a file of weights on the meta device, from its header."""
    with file.open("rb") as opened:
        if int.from_bytes(opened.read(8), "little") > _LARGEST_HEADER:
            raise ValueError(f"its header is larger than {_LARGEST_HEADER >> 20} MiB")
    found = {}
    with safe_open(file, "pt") as stored:
        for name in stored.keys():  # noqa: SIM118
            part = stored.get_slice(name)
            dtype = torch.float32 if part.get_dtype() == "F32" else torch.uint8  # all others are refused
            found[name] = torch.empty(part.get_shape(), dtype=dtype, device="meta")
    return found


def _read(folder: Path, name: str, largest: int, read: Callable[[BinaryIO], Any]) -> Any:
    """The result of `read` of an opened file of at most `largest` bytes."""
    file = folder / name
    if not os.path.isfile(file):  # which answers for any name, also one that no file can have
        known = "is a model, not an adapter" if os.path.isfile(folder / "config.json") else f"has no {name}"
        raise UserError(f"adapter {folder}", known if os.path.isdir(folder) else "no such folder", _NOT_OURS)
    try:
        with file.open("rb") as opened:
            if os.fstat(opened.fileno()).st_size > largest:
                raise UserError(file, f"is larger than {largest >> 20} MiB", _NOT_OURS)
            return read(opened)
    except (OSError, MemoryError) as error:
        reason = getattr(error, "strerror", "it is larger than the memory")
        raise UserError(file, f"cannot be read ({reason})", _NOT_OURS) from error


def _check_numbers(kind: str, rank: Any, alpha: Any) -> None:
    """Raise ValueError if they are not those of an update, or of an adapter without updates."""
    if kind and kind not in UPDATES:
        raise ValueError(f"kind {kind!r:.40} is not one of {', '.join(UPDATES)}")
    if type(rank) is not int or not (0 if not kind else 1) <= rank <= _LARGEST_RANK:
        raise ValueError(f"rank {rank!r:.40} is out of range")
    if type(alpha) not in (int, float) or abs(alpha) > _LARGEST_ALPHA or not math.isfinite(alpha):
        raise ValueError(f"alpha {alpha!r:.40} is out of range")


def _by_name(
    file: Path, weights: Mapping[str, Tensor], kind: str
) -> tuple[dict[str, dict[str, Tensor]], dict[str, Tensor], dict[str, Tensor]]:
    """Parameters of the updates by layer, vectors of the words, and those of the speakers."""
    updates: dict[str, dict[str, Tensor]] = {}
    words, speakers = {}, {}
    names = UPDATES[kind].NAMES if kind else ()
    for name, weight in weights.items():
        if weight.dtype != torch.float32 or not (weight.is_meta or weight.isfinite().all()):
            raise UserError(file, f"{name!r:.60} is not of finite float32 numbers", _NOT_OURS)
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
