"""Upload a model or an adapter to a hub, with a card whose front matter has what the hub shows and filters by."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from shutil import copyfile
from typing import Any

from audiodiff.errors import UserError
from audiodiff.export.model_card import CARDS, hub_entries
from audiodiff.export.model_index import model_index
from audiodiff.extras import require
from audiodiff.models import adapter, checkpoint, hub, onnx_export
from audiodiff.models.model_folders import COMPANIONS, shipped_folders
from audiodiff.models.registry import load_model
from audiodiff.models.training_record import data_licenses

# Constructor arguments by which a model names others, which are loaded with it.
_NAMED = ("vocoder", "base", "embedder")


def push_to_hub(
    model: str | Path, repository: str, private: bool = False, revision: str = "", message: str = ""
) -> str:
    """Upload a model folder to a repository, which is created if there is none, and return its address.

    Checkpoints, adapters and exported models are uploaded as they are, with their cards; the front matter of a card is
    completed. The model is loaded first, so that nothing damaged is uploaded. A model of the same name is replaced by a
    new commit.

    Args:
        model: a folder, or the name of a shipped model.
        repository: `OWNER/NAME`.
        private: create a private repository; one that exists keeps its visibility.
        revision: branch to upload to, created if there is none; empty: the main one.
        message: of the commit.

    Raises:
        UserError: no such model or a damaged one, one that names another which nobody else has, a name that is none of
            a repository, no token, or the hub refuses or cannot be reached.
    """
    require(hub.EXTRA)
    from huggingface_hub import errors

    name, stated = hub.split(repository)
    if stated:
        raise UserError(repository, "names a revision", f"use {name} with revision={stated}")
    folder, entries = _read(model)
    results = model_index(name.partition("/")[2], entries.get("pipeline_tag", ""), _card(folder))
    entries |= {"model-index": results} if results else {}
    card = with_metadata(_card(folder), entries, folder / "README.md")
    api = hub.client()
    with tempfile.TemporaryDirectory() as files:
        for file in folder.iterdir():
            if file.name in hub.FILES and file.is_file():
                copyfile(file, Path(files) / file.name)
        (Path(files) / "README.md").write_text(card, encoding="utf-8")
        try:
            address = api.create_repo(name, private=private, exist_ok=True)
            if revision:
                api.create_branch(name, branch=revision, exist_ok=True)
            commit = message or f"Upload {folder.name} with audiodiff"
            api.upload_folder(repo_id=name, folder_path=files, revision=revision or None, commit_message=commit)
        except (errors.HTTPError, OSError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            fix = "log in with `hf auth login`, as somebody who may write there"
            raise UserError(repository, f"cannot be uploaded to ({reason})", fix) from error
    return str(address)


def with_metadata(card: str, entries: dict[str, Any], file: Path) -> str:
    """A card whose front matter has all `entries`; those that it has already are left as they are.

    Raises:
        UserError: its front matter is not YAML.
    """
    from huggingface_hub import ModelCard

    try:
        parsed = ModelCard(card, ignore_metadata_errors=False)
        known = parsed.data.to_dict()
    except Exception as error:  # of the parser of YAML, which has types of its own
        reason = " ".join(str(error).split())[:160]
        raise UserError(file, f"its front matter is not YAML ({reason})", "fix or delete it") from error
    for key, value in entries.items():
        if known.get(key) in (None, "", []):
            setattr(parsed.data, key, value)
    return str(parsed).rstrip() + "\n"


def _read(model: str | Path) -> tuple[Path, dict[str, Any]]:
    """The folder of a model, an exported model or an adapter, and what the front matter of its card says."""
    folder = Path(model)
    if (folder / adapter.CONFIG).is_file() and not (folder / "config.json").is_file():
        loaded = adapter.load(folder)
        base = {"base_model": loaded.base_name} if hub.is_repository(loaded.base_name) else {}
        return folder, _entries(folder, loaded.base_type, dict(loaded.training), ("adapter", loaded.kind)) | base
    if onnx_export.is_export(folder):
        config = onnx_export.read(folder).config
        return folder, _entries(folder, config["type"], config.get("training", {}), ("onnx",))
    folder = checkpoint.locate(model)
    found = checkpoint.load(folder)
    load_model(found, folder)
    public = {*COMPANIONS, *shipped_folders()}
    for argument in _NAMED:
        other = found.arguments.get(argument)
        if isinstance(other, str) and other not in public and not hub.is_repository(other):
            problem = f"names {other} as its {argument}, which is neither a shipped model nor on the hub"
            raise UserError(folder, problem, f"push that first, and train again with {argument}=OWNER/NAME")
    return folder, _entries(folder, found.type, found.training, language=found.arguments.get("language", ""))


def _entries(
    folder: Path, kind: str, training: dict[str, Any], tags: Sequence[str] = (), language: str = ""
) -> dict[str, Any]:
    task = (CARDS.get(kind) or ("",))[0]
    licenses = data_licenses(training, _card(folder))
    return hub_entries(task, licenses, kind, language, tags)


def _card(folder: Path) -> str:
    card = folder / "README.md"
    return card.read_text(encoding="utf-8", errors="replace") if card.is_file() else f"# {folder.name}\n"
