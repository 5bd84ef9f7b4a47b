"""Run folders, and the overrides that a run was started with, which resuming restores."""

import functools
import itertools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from hydra.core.override_parser.types import Override, Quote, QuotedString
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from audiodiff import __version__, config
from audiodiff.errors import UserError
from audiodiff.files import write_text
from audiodiff.overrides import is_multirun, quote, quote_arguments, split_arguments

OVERRIDES = "overrides.yaml"  # in a run's folder


def register() -> None:
    """Register the OmegaConf resolvers for run folders."""
    OmegaConf.register_new_resolver("run_folder", run_folder, replace=True)
    OmegaConf.register_new_resolver("new_folder", new_folder, replace=True)


def run_folder(name: str, resume: str | None, stamp: str) -> str:
    """Folder of the run: a new one, or that of the run to resume ("last" for the newest of this recipe)."""
    runs = Path("runs") / name
    if not resume:
        return str(runs / new_folder(str(runs), stamp))
    if resume != "last":
        return str(resume)
    return str(last_run(name) or runs / stamp)


def last_run(name: str) -> Path | None:
    """The newest run of a recipe that has checkpoints."""
    found = sorted(folder for folder in (Path("runs") / name).glob("*") if (folder / "checkpoints").is_dir())
    return found[-1] if found else None


def new_folder(runs: str, stamp: str) -> str:
    """Create a folder below `runs` for this process alone, named `stamp`, with a number if that exists.

    Raises:
        UserError: it cannot be created.
    """
    return _new_folder(os.path.abspath(runs), stamp)


@functools.cache  # Hydra resolves it several times
def _new_folder(runs: str, stamp: str) -> str:
    for number in itertools.count(1):
        name = stamp if number == 1 else f"{stamp}_{number}"
        try:
            Path(runs, name).mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            fix = "choose another folder with hydra.run.dir=FOLDER"
            raise UserError(Path(runs, name), f"cannot be created ({error.strerror})", fix) from error
        return name


def resume_arguments(arguments: Sequence[str]) -> list[str]:
    """Complete a command line with `resume=` by the overrides of the run; its own take precedence.

    Any other command line is returned unchanged, and so is one whose run does not exist.

    Raises:
        UserError: an override does not parse, `init_from` is not that of the run, or there is no run to resume.
    """
    options, overrides = split_arguments(quote_arguments(arguments, config.groups()))
    explicit = _by_key(overrides)
    if "resume" not in explicit or is_multirun(options):
        return list(arguments)
    folder = _resumed_folder(explicit)
    saved = _by_key(saved_overrides(folder)) if folder else {}
    if not saved:
        return list(arguments)
    if "init_from" in explicit:
        began = saved["init_from"].value() if "init_from" in saved else None
        requested = explicit.pop("init_from").value()
        if _real(requested) != _real(began):
            problem = f"the run {folder} started from {began or 'no other model'}"
            raise UserError(f"init_from={requested}", problem, "leave it out, or start a new run without resume=")
    lines = {key: override.input_line for key, override in (saved | explicit).items()}
    return [*options, *(lines | {"resume": f"resume={QuotedString(str(folder), Quote.double).with_quotes()}"}).values()]


def _resumed_folder(explicit: Mapping[str, Override]) -> Path | None:
    """Folder of the run that `resume=` names; None without one."""
    resume = explicit["resume"].value()
    if resume == "last":
        name = config.compose([explicit[key].input_line for key in ("recipe", "name") if key in explicit]).name
        if folder := last_run(name):
            return folder
        fix = "name its recipe (+recipe=NAME) or its folder (resume=runs/RECIPE/DATE_TIME)"
        raise UserError("resume=last", f"there is no run in {Path('runs', name)}", fix)
    if resume and Path(str(resume)).is_file():
        raise UserError(f"resume={resume}", "is a file", "give the folder of the run, runs/RECIPE/DATE_TIME")
    return Path(str(resume)) if resume else None


def _real(name: str | None) -> str | None:
    """Absolute path of a model's folder, to compare spellings."""
    return None if name is None else os.path.realpath(str(name))


def saved_overrides(folder: Path) -> list[str]:
    """The overrides that a run was started with; none before its first checkpoint.

    Raises:
        UserError: a run of an earlier version.
    """
    try:
        saved = OmegaConf.load(folder / OVERRIDES)
    except (OSError, ValueError, TypeError, YAMLError, OmegaConfBaseException):
        return []
    if not OmegaConf.is_dict(saved):  # a list, as earlier versions wrote it
        problem = "is a run of an earlier version, whose configuration had other names"
        raise UserError(folder, problem, f"start a new run with init_from={folder / 'model'}")
    return [quote(str(text), config.groups()) for text in saved.overrides]


def save_overrides(folder: Path, overrides: Sequence[str]) -> None:
    """Write what `saved_overrides` reads, without `resume`."""
    lasting = [override.input_line for key, override in _by_key(overrides).items() if key != "resume"]
    write_text(folder / OVERRIDES, OmegaConf.to_yaml({"version": __version__, "overrides": lasting}))


def _by_key(overrides: Sequence[str]) -> dict[str, Override]:
    """Overrides by key; of two for one key, the later."""
    return {override.get_key_element().lstrip("+~"): override for override in config.parse(overrides)}
