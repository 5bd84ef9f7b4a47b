"""Models on the Hugging Face hub: repositories `OWNER/NAME`, or `OWNER/NAME@REVISION`, loaded through its cache.

A repository is looked up once per load: its files are listed with their sizes, and those that a model has (`FILES`) are
downloaded unless they are in the cache. No other file is, so nothing that is downloaded can run code. Without a
connection, or with `HF_HUB_OFFLINE=1`, the cache answers alone. `HF_ENDPOINT` names another hub, `HF_HOME` the folder
of cache and token.
"""

import os
import re
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audiodiff.errors import UserError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

# The files of checkpoints, of adapters, and of models that are exported to ONNX, without its runner, a program.
FILES = (
    "README.md",
    "NOTICE",
    "config.json",
    "model.safetensors",
    "adapter.json",
    "adapter.safetensors",
    "export.json",
    "network.onnx",
    "arrays.safetensors",
    "benchmark.json",
    "benchmark.md",
    "benchmark.png",
)
CONFIGS = ("config.json", "adapter.json", "export.json")  # one of which a repository has
MAX_BYTES = 4 * 2**30  # of these files together
EXTRA = "hub"
_TIMEOUT = 20.0  # seconds to wait for the list of files
_NAME = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,95}"
_REPOSITORY = re.compile(rf"({_NAME}/{_NAME})(?:@([A-Za-z0-9_][\w./-]{{0,127}}))?")


def is_repository(model: str | Path) -> bool:
    """Whether a name is one of a repository: it has its form, and nothing here is called like its owner."""
    return bool(_REPOSITORY.fullmatch(str(model))) and not os.path.exists(str(model).partition("/")[0])


def is_available() -> bool:
    """Whether the client of the hub is installed."""
    return find_spec("huggingface_hub") is not None


def local_folder(model: str | Path) -> Path:
    """The folder of a repository in the cache, downloaded if it is not; of any other name, the path itself.

    Raises:
        UserError: as `download`.
    """
    return download(model) if is_repository(model) and is_available() else Path(model)


def download(model: str | Path) -> Path:
    """Download a repository's model into the cache, and return its folder there.

    Args:
        model: `OWNER/NAME`, or with `@REVISION` a branch, tag or commit of it.

    Raises:
        UserError: there is no such repository or revision, it has no model or one that exceeds `MAX_BYTES`, or the hub
            cannot be reached and the cache does not have it.
    """
    from huggingface_hub import errors, snapshot_download

    name, revision = split(model)
    try:
        found = client().model_info(name, revision=revision, files_metadata=True, timeout=_TIMEOUT)
        files = {file.rfilename: file.size for file in found.siblings or () if file.rfilename in FILES}
        _check(model, files)
        folder = Path(snapshot_download(name, revision=revision, allow_patterns=list(FILES)))
        if folder.name == found.sha:
            return folder
        raise UserError(model, "was changed while it was downloaded", "run the command again")
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
        missing = "revision" if isinstance(error, errors.RevisionNotFoundError) else "repository"
        fix = "check the name; for a private or gated one, log in with `hf auth login`"
        raise UserError(model, f"no such model folder, and no such {missing} on the hub", fix) from error
    except (OSError, errors.HTTPError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        reason = error
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=list(FILES), local_files_only=True))
    except (OSError, errors.HTTPError, ValueError) as error:
        problem = f"no such model folder, and the hub cannot be reached ({_first_words(reason)})"
        raise UserError(model, problem, "check the name and the connection") from error


def split(model: str | Path) -> tuple[str, str | None]:
    """The repository and the revision of a name that `is_repository`."""
    matched = _REPOSITORY.fullmatch(str(model))
    if matched is None:
        raise UserError(model, "is not a repository of the hub", "name it OWNER/NAME, or OWNER/NAME@REVISION")
    return matched[1], matched[2]


def client() -> "HfApi":
    """The client of the hub; it takes endpoint and token from the environment, or from `hf auth login`."""
    from huggingface_hub import HfApi

    return HfApi(library_name="audiodiff")


def _check(model: str | Path, files: dict[str, Any]) -> None:
    """Check what a repository has of a model: a config, weights, and sizes that are known and within bounds."""
    weights = [name for name in files if name.endswith((".safetensors", ".onnx"))]
    if not weights or not set(CONFIGS) & set(files):
        problem = f"has no model of audiodiff ({' or '.join(CONFIGS)}, with weights in safetensors)"
        raise UserError(model, problem, "choose another repository; pickles are not supported")
    unknown = [name for name, size in files.items() if type(size) is not int or size < 0]
    if unknown:
        raise UserError(model, f"the hub states no size of {unknown[0]}", "download the repository yourself")
    if (total := sum(files.values())) > MAX_BYTES:
        problem = f"takes {total / 2**30:.1f} GiB, more than {MAX_BYTES / 2**30:.0f} GiB"
        raise UserError(model, problem, "download the repository yourself")


def _first_words(error: BaseException) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__
