"""Mel files, always with their spec.

`NAME.npy` holds the array (M, F), with the spec in `NAME.melspec.json` beside it; `NAME.safetensors` holds the tensor
`mel` and the spec in its metadata. For a `.npy` file of other programs, without JSON, the caller passes the spec.
"""

import json
import os
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
from audiodiff.audio.npy import MAX_BYTES, read_header, read_npy
from audiodiff.errors import UserError, first_line
from audiodiff.files import atomic_write, write_text

EXTENSIONS = (".npy", ".safetensors")
_MAX_SPEC_BYTES = 1 << 20
_KEY = "mel"
_METADATA = "melspec"


def spec_path(path: str | Path) -> Path:
    """The path of a `.npy` mel's spec: NAME.melspec.json."""
    return Path(path).with_suffix(".melspec.json")


def save_mel(path: str | Path, mel: Tensor, spec: MelSpec) -> None:
    """Save a log-mel (M, F) with its spec, atomically, as `.npy` or `.safetensors` by the suffix.

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
        raise UserError(path, "is not a format that mels are saved in", f"use {' or '.join(EXTENSIONS)}")


def load_mel(path: str | Path, spec: MelSpec | None = None) -> tuple[Tensor, MelSpec]:
    """Load a log-mel (M, F), float32, and its spec; an array (1, M, F) is squeezed.

    Args:
        path: `.npy` or `.safetensors`.
        spec: spec of the mel, for a file without one; if the file has one, they must agree.

    Raises:
        UserError: no such file, not an array, larger than `npy.MAX_BYTES`, a pickle, no spec, a spec that differs from
            `spec`, no frames, NaN, or another number of bands than the spec's.
    """
    path = Path(path)
    if not os.path.isfile(path):
        raise UserError(path, "is a folder, not a mel" if os.path.isdir(path) else "no such file", "check the path")
    if path.stat().st_size > MAX_BYTES + _MAX_SPEC_BYTES:
        raise UserError(path, f"has {path.stat().st_size} bytes, which is too many", "split it into several files")
    if (suffix := path.suffix.lower()) not in EXTENSIONS:
        raise UserError(path, "is not a mel", f"expected {' or '.join(EXTENSIONS)}")
    mel, stored = _read_npy(path) if suffix == ".npy" else _read_safetensors(path)
    known = stored or spec
    if known is None:
        raise UserError(
            path,
            "has no mel spec",
            f"put {spec_path(path).name} beside it or name its spec ({', '.join(PRESETS)})",
        )
    if stored and spec and (differences := stored.differences(spec)):
        raise UserError(
            path, f"has another mel spec: {'; '.join(differences)}", "leave out the spec or convert the mel"
        )
    return _checked(path, mel, known), known


def mel_frames(path: str | Path) -> int:
    """Number of frames of a `.npy` or `.safetensors` mel, from the file's header.

    It is not checked whether the array is a mel; `load_mel` does that.

    Raises:
        UserError: the file's content does not match its suffix.
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
    """Load the spec in a NAME.melspec.json.

    Raises:
        UserError: no such file, or it holds no spec.
    """
    path = Path(path)
    try:
        if (size := path.stat().st_size) > _MAX_SPEC_BYTES:
            raise UserError(path, f"is not a mel spec: it has {size} bytes", "write it with MelSpec.to_dict")
        return parse_spec(path, path.read_bytes())
    except OSError as error:
        raise UserError(path, f"cannot be read ({error.strerror})", "check its permissions") from error


def parse_spec(path: str | Path, text: str | bytes) -> MelSpec:
    """Parse the JSON of a spec.

    Args:
        path: file that it is from, for errors.
        text: JSON.

    Raises:
        UserError: it is not a spec.
    """
    try:
        return MelSpec.from_dict(json.loads(text))
    except UserError as error:
        raise UserError(path, str(error)) from error
    except (ValueError, OverflowError) as error:
        raise UserError(path, f"is not JSON ({first_line(error)})", "write it with MelSpec.to_dict") from error
    except RecursionError as error:
        raise UserError(path, "is nested too deeply", "write it with MelSpec.to_dict") from error


@contextmanager
def _npy(path: Path) -> Iterator[BinaryIO]:
    try:
        with path.open("rb") as file:
            yield file
    except (ValueError, OSError) as error:
        problem = f"is not a complete .npy array (pickles are not read): {first_line(error)}"
        raise UserError(path, problem, "save one array of real numbers with numpy.save") from error


def _read_npy(path: Path) -> tuple[Tensor, MelSpec | None]:
    with _npy(path) as file:
        array = read_npy(file, path.stat().st_size)
    beside = spec_path(path)
    return torch.from_numpy(array.astype(np.float32)), read_spec(beside) if beside.is_file() else None


@contextmanager
def _safetensors(path: Path) -> Iterator[tuple[Any, str]]:
    """The open file, and the name of its mel."""
    try:
        with safe_open(path, framework="pt") as file:
            names = list(file.keys())
            if _KEY not in names and len(names) != 1:
                raise UserError(path, f"holds {len(names)} tensors, none named {_KEY!r}", "save one tensor")
            yield file, _KEY if _KEY in names else names[0]
    except (SafetensorError, OSError) as error:
        raise UserError(path, f"is not a complete safetensors file ({error})", "save it again") from error


def _read_safetensors(path: Path) -> tuple[Tensor, MelSpec | None]:
    with _safetensors(path) as (file, key):
        mel, stored = file.get_tensor(key), (file.metadata() or {}).get(_METADATA)
    return mel.float(), parse_spec(path, stored) if stored else None


def _checked(path: Path, mel: Tensor, spec: MelSpec) -> Tensor:
    mel = mel[0] if mel.ndim == 3 and len(mel) == 1 else mel
    shape = " x ".join(map(str, mel.shape))
    if mel.ndim != 2:
        raise UserError(path, f"has shape {shape or 'of a single number'}", f"save {spec.n_mels} bands x frames")
    if mel.numel() == 0:
        raise UserError(path, f"has no frames ({shape})", "give at least one")
    if mel.shape[0] != spec.n_mels:
        turned = "; it looks transposed" if mel.shape[1] == spec.n_mels else ""
        raise UserError(path, f"has {mel.shape[0]} bands, its spec {spec.n_mels}{turned}", "save bands x frames")
    if not mel.isfinite().all():
        raise UserError(path, "holds NaN or infinite values", "compute it again")
    return mel
