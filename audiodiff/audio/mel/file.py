"""Mels in files, never without the spec that says what their numbers mean.

`NAME.npy` holds the array (M, F) and stands beside `NAME.melspec.json`; `NAME.safetensors` holds the tensor `mel` and
the spec in its metadata. A `.npy` written by somebody else, with no JSON beside it, needs the spec from the caller.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from audiodiff.audio.mel import PRESETS, MelSpec
from audiodiff.audio.npy import MOST_BYTES, read_header, read_npy
from audiodiff.errors import UserError, first_line
from audiodiff.files import atomic_write, write_text

EXTENSIONS = (".npy", ".safetensors")
_MOST_SPEC_BYTES = 1 << 20
_KEY = "mel"
_METADATA = "melspec"


def spec_path(path: str | Path) -> Path:
    """Where the spec of a `.npy` mel lies: NAME.melspec.json."""
    return Path(path).with_suffix(".melspec.json")


def save_mel(path: str | Path, mel: Tensor, spec: MelSpec) -> None:
    """Write a log-mel (M, F) with its spec, atomically, as `.npy` or `.safetensors` by the suffix.

    Raises:
        UserError: another suffix, or a mel that `load_mel` would refuse.
    """
    path, mel = Path(path), _checked(path, mel.detach().cpu().float(), spec).contiguous()
    if path.suffix == ".npy":
        write_text(spec_path(path), json.dumps(spec.to_dict(), indent=2) + "\n")
        with atomic_write(path) as temporary:
            np.save(temporary, mel.numpy())
    elif path.suffix == ".safetensors":
        content = safetensors_bytes({_KEY: mel}, metadata={_METADATA: json.dumps(spec.to_dict())})
        with atomic_write(path) as temporary:
            temporary.write_bytes(content)
    else:
        raise UserError(path, "mels are not written in this format", f"use {' or '.join(EXTENSIONS)}")


def load_mel(path: str | Path, spec: MelSpec | None = None) -> tuple[Tensor, MelSpec]:
    """Read a log-mel (M, F), float32, and its spec; an array (1, M, F) loses its first axis.

    Args:
        path: `.npy` or `.safetensors`.
        spec: what the mel is, for a file that does not say; where it does say, the two must agree.

    Raises:
        UserError: no such file, not an array, one of more than `npy.MOST_BYTES`, a pickle, no spec, a spec that differs
            from `spec` (the fields are named), no frames, NaN, a number of bands other than the spec's.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(path, "is a folder, not a mel" if path.is_dir() else "no such file")
    if path.stat().st_size > MOST_BYTES + _MOST_SPEC_BYTES:
        raise UserError(path, f"has {path.stat().st_size} bytes, more than are read at once", "cut it into pieces")
    if (suffix := path.suffix.lower()) not in EXTENSIONS:
        raise UserError(path, "is not a mel", f"expected {' or '.join(EXTENSIONS)}")
    mel, stored = _read_npy(path) if suffix == ".npy" else _read_safetensors(path)
    if stored is None and spec is None:
        raise UserError(
            path,
            "does not say which kind of mel it is",
            f"put {spec_path(path).name} beside it or name its spec ({', '.join(PRESETS)})",
        )
    if stored and spec and (differences := stored.differences(spec)):
        raise UserError(path, f"says itself that it is of another mel spec: {'; '.join(differences)}")
    known = stored or spec
    return _checked(path, mel, known), known


def mel_frames(path: str | Path) -> int:
    """How many frames the mel in a `.npy` or `.safetensors` file has, of which only the header is read.

    Whether it is a mel at all is found by `load_mel`.

    Raises:
        UserError: the file is not what its suffix says.
    """
    path = Path(path)
    if path.suffix.lower() == ".npy":
        with _npy(path) as file:
            shape, _, _ = read_header(file, path.stat().st_size)
    else:
        with _safetensors(path) as (file, key):
            shape = file.get_slice(key).get_shape()
    return shape[-1] if shape else 0


def read_spec(path: str | Path) -> MelSpec:
    """The spec in a NAME.melspec.json.

    Raises:
        UserError: no such file, or no spec.
    """
    path = Path(path)
    try:
        if (size := path.stat().st_size) > _MOST_SPEC_BYTES:
            raise UserError(path, f"is no mel spec: it has {size} bytes", "write it with MelSpec.to_dict")
        return parse_spec(path, path.read_bytes())
    except OSError as error:
        raise UserError(path, f"cannot be read ({error.strerror})") from error


def parse_spec(path: str | Path, text: str | bytes) -> MelSpec:
    """The spec that is written as JSON in a file.

    Raises:
        UserError: it is no spec; the file is named.
    """
    try:
        return MelSpec.from_dict(json.loads(text))
    except UserError as error:
        raise UserError(path, str(error)) from error
    except (ValueError, OverflowError) as error:
        raise UserError(path, f"is not JSON ({first_line(error)})", "write it with MelSpec.to_dict") from error
    except RecursionError as error:
        raise UserError(path, "is nested too deeply for a spec", "write it with MelSpec.to_dict") from error


@contextmanager
def _npy(path: Path) -> Iterator[BinaryIO]:
    try:
        with path.open("rb") as file:
            yield file
    except (ValueError, OSError) as error:
        problem = f"is not a whole .npy array (pickles are never read): {first_line(error)}"
        raise UserError(path, problem, "save one array of real numbers with numpy.save") from error


def _read_npy(path: Path) -> tuple[Tensor, MelSpec | None]:
    with _npy(path) as file:
        array = read_npy(file, path.stat().st_size)
    beside = spec_path(path)
    return torch.from_numpy(array.astype(np.float32)), read_spec(beside) if beside.is_file() else None


@contextmanager
def _safetensors(path: Path) -> Iterator[tuple[Any, str]]:
    """The open file, and the name of the mel in it."""
    try:
        with safe_open(path, framework="pt") as file:
            names = list(file.keys())
            if _KEY not in names and len(names) != 1:
                raise UserError(path, f"holds {len(names)} tensors, none called {_KEY!r}")
            yield file, _KEY if _KEY in names else names[0]
    except (SafetensorError, OSError) as error:
        raise UserError(path, f"is not a whole safetensors file ({error})", "save it again") from error


def _read_safetensors(path: Path) -> tuple[Tensor, MelSpec | None]:
    with _safetensors(path) as (file, key):
        mel, stored = file.get_tensor(key), (file.metadata() or {}).get(_METADATA)
    return mel.float(), parse_spec(path, stored) if stored else None


def _checked(path: Path, mel: Tensor, spec: MelSpec) -> Tensor:
    mel = mel[0] if mel.ndim == 3 and len(mel) == 1 else mel
    shape = " x ".join(map(str, mel.shape))
    if mel.ndim != 2:
        raise UserError(path, f"has shape {shape or 'of a single number'}", f"expected {spec.n_mels} bands x frames")
    if mel.numel() == 0:
        raise UserError(path, f"has no frames ({shape})")
    if mel.shape[0] != spec.n_mels:
        turned = "; it looks transposed" if mel.shape[1] == spec.n_mels else ""
        raise UserError(path, f"has {mel.shape[0]} bands, its spec {spec.n_mels}{turned}", "expected bands x frames")
    if not mel.isfinite().all():
        raise UserError(path, "holds NaN or infinite values")
    return mel
