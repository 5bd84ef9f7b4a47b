"""Where the configuration lives, which recipes there are, and the guard against misspelt keys.

`conf/` is the vocabulary: groups of YAML files, each one `_target_` and its arguments. `recipes/<name>/recipe.yaml` is
a sentence: a choice of words under one name, asked for with `+recipe=<name>`. Both stand beside the package in a
source tree, and inside it in a wheel.

Hydra turns a misspelt group that is given with `+` into a plain key and trains the default model; `check` composes the
configuration first and refuses whatever the primary configuration does not know.
"""

import functools
import itertools
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra._internal.utils import get_args_parser
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from audiodiff.errors import UserError
from audiodiff.files import write_text
from audiodiff.overrides import quote, quote_arguments

PRIMARY = "train"
OVERRIDES = "overrides.yaml"  # in a run's folder: what it was started with
_PACKAGE = Path(__file__).resolve().parent


def _beside_or_inside(name: str) -> Path:
    inside = _PACKAGE / name
    return inside if inside.is_dir() else _PACKAGE.parent / name


def conf_folder() -> Path:
    """The folder of configuration groups."""
    return _beside_or_inside("conf")


def recipes() -> dict[str, Path]:
    """Recipe names and their files: the project's own, then those of the folders in `AUDIODIFF_RECIPES`."""
    extra = [Path(folder) for folder in os.environ.get("AUDIODIFF_RECIPES", "").split(os.pathsep) if folder]
    found = {}
    for folder in [_beside_or_inside("recipes"), *extra]:
        if not folder.is_dir():
            raise UserError(folder, "no such folder of recipes", "mend AUDIODIFF_RECIPES")
        found |= {file.parent.name: file for file in sorted(folder.glob("*/recipe.yaml"))}
    return found


def register() -> None:
    """Tell Hydra of the recipes, and OmegaConf of the resolvers for run folders, list lengths and optional parts."""
    store = ConfigStore.instance()
    for name, file in recipes().items():
        try:
            node = OmegaConf.load(file)
        except (OSError, ValueError, YAMLError, OmegaConfBaseException) as error:
            raise UserError(file, f"is not a recipe ({str(error).splitlines()[0]})", "mend its YAML") from error
        store.store(group="recipe", name=name, node=node, package="_global_")
    OmegaConf.register_new_resolver("run_folder", run_folder, replace=True)
    OmegaConf.register_new_resolver("new_folder", new_folder, replace=True)
    OmegaConf.register_new_resolver("count", _count, replace=True)
    OmegaConf.register_new_resolver("present", lambda part: int(part is not None), replace=True)
    OmegaConf.register_new_resolver("absent", lambda part: part is None, replace=True)


def _count(listed: Sequence | None) -> int:
    """The length of a list; of what is none 0, as the list's own check will refuse it."""
    return len(listed) if OmegaConf.is_list(listed) else 0


def run_folder(name: str, resume: str | None, stamp: str) -> str:
    """The run's folder: a new one, or that of the run to resume ("last" for the newest of this recipe)."""
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
    """The name of a folder created below `runs` for this process alone: `stamp`, with a number where that is taken.

    Raises:
        UserError: the disk refuses.
    """
    return _new_folder(os.path.abspath(runs), stamp)


@functools.cache  # Hydra asks several times
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


def compose(overrides: Sequence[str] = ()) -> DictConfig:
    """The whole configuration of a training run, guarded; interpolations of Hydra's own stay unresolved.

    Raises:
        UserError: an override that does not parse, or names a recipe, group or key that there is not.
    """
    overrides = [quote(override, _groups()) for override in overrides]
    register()
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(conf_folder()), version_base="1.3"):
            composed = hydra_compose(PRIMARY, overrides)
            known = set(hydra_compose(PRIMARY))
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        if key := re.match(r"Could not override '(\S+)'", str(error)):
            raise UserError(key[1], f"is no key of the configuration (+{key[1]}= adds one)", _vocabulary()) from error
        raise UserError(" ".join(overrides), _one_line(error), _vocabulary()) from error
    unknown = [str(key) for key in composed if key not in known]
    if unknown:
        raise UserError(", ".join(unknown), "is no key of the configuration", _vocabulary())
    return composed


def check(arguments: Sequence[str]) -> list[str]:
    """Compose what a command line asks for, before Hydra does; of a sweep, each override's first value.

    Returns:
        The command line as Hydra is to read it (`audiodiff.overrides`).

    Raises:
        UserError: as `compose`.
    """
    arguments = quote_arguments(arguments, _groups())
    overrides = get_args_parser().parse_args(arguments).overrides
    compose([_first(override) for override in _parse(overrides) if not override.is_hydra_override()])
    return arguments


def resume_arguments(arguments: Sequence[str]) -> list[str]:
    """A command line with `resume=`, completed by what the run was started with; what it says itself comes first.

    Any other command line is returned as it is, and so is one whose run is not there. What Hydra saved of a run of an
    older version is copied to `overrides.yaml` first: Hydra replaces it at every start, a refused one too.

    Raises:
        UserError: an override that does not parse, or another `init_from` than the run's.
    """
    parsed = get_args_parser().parse_args(quote_arguments(arguments, _groups()))
    explicit = _by_key(parsed.overrides)
    if "resume" not in explicit or parsed.multirun:
        return list(arguments)
    folder = _resumed_folder(explicit)
    saved = _by_key(saved_overrides(folder)) if folder else {}
    if not saved:
        return list(arguments)
    if not (folder / OVERRIDES).exists():
        save_overrides(folder, [override.input_line for override in saved.values()])
    if "init_from" in explicit:
        began = saved["init_from"].value() if "init_from" in saved else None
        asked = explicit.pop("init_from").value()
        if _real(asked) != _real(began):
            problem = f"the run {folder} began with {began or 'no other model'}"
            raise UserError(f"init_from={asked}", problem, "leave it out, or start a new run without resume=")
    flags = [argument for argument in quote_arguments(arguments, _groups()) if argument not in parsed.overrides]
    lines = {key: override.input_line for key, override in (saved | explicit).items()}
    return [*flags, *(lines | {"resume": f"resume={QuotedString(str(folder), Quote.double).with_quotes()}"}).values()]


def _resumed_folder(explicit: Mapping[str, Override]) -> Path | None:
    """The folder of the run that `resume=` names; None if there is none."""
    resume = explicit["resume"].value()
    if resume == "last":
        return last_run(compose([explicit[key].input_line for key in ("recipe", "name") if key in explicit]).name)
    return Path(str(resume)) if resume else None


def _real(name: str | None) -> str | None:
    """A model's folder, or the name of a shipped one, however it is spelt."""
    return None if name is None else os.path.realpath(str(name))


def saved_overrides(folder: Path) -> list[str]:
    """The overrides that a run was started with; those that Hydra saved where an older version started it."""
    for file in (folder / OVERRIDES, folder / ".hydra" / "overrides.yaml"):
        try:
            return [quote(str(text), _groups()) for text in OmegaConf.load(file)]
        except (OSError, ValueError, TypeError, YAMLError, OmegaConfBaseException):
            continue
    return []


def save_overrides(folder: Path, overrides: Sequence[str]) -> None:
    """Write what `saved_overrides` reads, without `resume`."""
    lasting = [override.input_line for key, override in _by_key(overrides).items() if key != "resume"]
    write_text(folder / OVERRIDES, OmegaConf.to_yaml(lasting))


def _parse(overrides: Sequence[str]) -> list[Override]:
    try:
        return OverridesParser.create().parse_overrides(list(overrides))
    except (HydraException, ValueError) as error:
        raise UserError(" ".join(overrides), _one_line(error), _vocabulary()) from error


def _by_key(overrides: Sequence[str]) -> dict[str, Override]:
    """Overrides by what they override: of two for one key the later."""
    return {override.get_key_element().lstrip("+~"): override for override in _parse(overrides)}


def _first(override: Override) -> str:
    if not override.is_sweep_override():
        return override.input_line
    value = next(iter(override.sweep_string_iterator()))
    return f"{override.input_line.split('=', 1)[0]}={value}"


def _one_line(error: Exception) -> str:
    return re.sub(r"\s+", " ", str(error)).strip()[:300]


def _vocabulary() -> str:
    return f"recipes: {', '.join(recipes())} (+recipe=NAME); groups: {', '.join(_groups())} (GROUP=NAME)"


def _groups() -> list[str]:
    return sorted(folder.name for folder in conf_folder().iterdir() if folder.is_dir())
