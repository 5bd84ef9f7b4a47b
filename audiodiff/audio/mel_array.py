"""Arrays that other programs saved as mels: no spec, any layout, in one of the formats that people use.

Unlike `mel_file`, which reads what a vocoder can be given, this reads numbers to be looked at.
"""

import json
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from audiodiff.audio.mel import MelSpec
from audiodiff.audio.mel_file import spec_path
from audiodiff.errors import UserError

SUFFIXES = (".npy", ".npz", ".pt", ".pth", ".safetensors")


def read_array(path: str | Path) -> tuple[np.ndarray, MelSpec | None]:
    """The numbers of a saved array, as they are, and the spec that the file or a NAME.melspec.json beside it states.

    Args:
        path: `.npy`, `.npz`, `.pt`, `.pth` or `.safetensors`; of several arrays, the one called `mel`.

    Raises:
        UserError: no such file, another format, damaged, a pickle of more than tensors, no array of real numbers.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(path, "is a folder, not a mel" if path.is_dir() else "no such file")
    if path.suffix not in SUFFIXES:
        raise UserError(path, "is not a mel", f"expected {', '.join(SUFFIXES)}")
    try:
        content, stated = _content(path)
    except (ValueError, EOFError, OSError, RuntimeError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        line = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise UserError(path, f"cannot be read ({line})", "save one array of numbers again") from error
    except SafetensorError as error:
        raise UserError(path, f"is not a whole safetensors file ({error})", "save it again") from error
    array = _only(path, content)
    return array, _spec(path, stated)


def _content(path: Path) -> tuple[Any, str | None]:
    """(array or arrays by name, JSON of a spec)."""
    if path.suffix == ".safetensors":
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, (file.metadata() or {}).get("melspec")  # noqa: SIM118
    beside = spec_path(path)
    stated = beside.read_text(encoding="utf-8") if beside.is_file() else None
    if path.suffix in (".pt", ".pth"):
        return torch.load(path, map_location="cpu", weights_only=True), stated
    content = np.load(path, allow_pickle=False)
    return dict(content) if path.suffix == ".npz" else content, stated


def _only(path: Path, content: Any) -> np.ndarray:
    if isinstance(content, Mapping):
        if "mel" not in content and len(content) != 1:
            raise UserError(path, f"holds {len(content)} things, none called 'mel'", "save one array of numbers")
        content = content["mel"] if "mel" in content else next(iter(content.values()))
    if isinstance(content, torch.Tensor):
        content = (content.float() if content.is_floating_point() else content).detach().numpy()
    if not isinstance(content, np.ndarray) or content.dtype.kind not in "fiu":
        raise UserError(path, "holds no array of real numbers", "save one array of numbers")
    return content


def _spec(path: Path, stated: str | None) -> MelSpec | None:
    try:
        return None if stated is None else MelSpec.from_dict(json.loads(stated))
    except UserError as error:
        raise UserError(path, str(error)) from error
    except ValueError as error:
        raise UserError(path, f"its spec is not JSON ({error})", "write it with MelSpec.to_dict") from error
