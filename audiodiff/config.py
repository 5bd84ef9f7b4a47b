"""Where the configuration lives, which recipes there are, and the guard against misspelt keys.

`conf/` is the vocabulary: groups of YAML files, each one `_target_` and its arguments. `recipes/<name>/recipe.yaml` is
a sentence: a choice of words under one name, asked for with `+recipe=<name>`. Both stand beside the package in a
source tree, and inside it in a wheel.

Hydra turns a misspelt group that is given with `+` into a plain key and trains the default model; `check` composes the
configuration first and refuses whatever the primary configuration does not know.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra._internal.utils import get_args_parser
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from audiodiff.errors import UserError

PRIMARY = "train"
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
    """Tell Hydra of the recipes, and OmegaConf of the resolvers for the run's folder and for the length of a list."""
    store = ConfigStore.instance()
    for name, file in recipes().items():
        try:
            node = OmegaConf.load(file)
        except (OSError, ValueError, YAMLError, OmegaConfBaseException) as error:
            raise UserError(file, f"is not a recipe ({str(error).splitlines()[0]})", "mend its YAML") from error
        store.store(group="recipe", name=name, node=node, package="_global_")
    OmegaConf.register_new_resolver("run_folder", run_folder, replace=True)
    OmegaConf.register_new_resolver("count", len, replace=True)


def run_folder(name: str, resume: str | None, stamp: str) -> str:
    """The run's folder: a new one, or that of the run to resume ("last" for the newest of this recipe)."""
    runs = Path("runs") / name
    if not resume:
        return str(runs / stamp)
    if resume != "last":
        return str(resume)
    found = sorted(folder for folder in runs.glob("*") if (folder / "checkpoints").is_dir())
    return str(found[-1] if found else runs / stamp)


def compose(overrides: Sequence[str] = ()) -> DictConfig:
    """The whole configuration of a training run, guarded; interpolations of Hydra's own stay unresolved.

    Raises:
        UserError: an override that does not parse, or names a recipe, group or key that there is not.
    """
    register()
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(conf_folder()), version_base="1.3"):
            composed = hydra_compose(PRIMARY, list(overrides))
            known = set(hydra_compose(PRIMARY))
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(" ".join(overrides), _one_line(error), _vocabulary()) from error
    unknown = [str(key) for key in composed if key not in known]
    if unknown:
        raise UserError(", ".join(unknown), "is no key of the configuration", _vocabulary())
    return composed


def check(arguments: Sequence[str]) -> None:
    """Compose what a command line asks for, before Hydra does; of a sweep, each override's first value.

    Raises:
        UserError: as `compose`.
    """
    overrides = get_args_parser().parse_args(arguments).overrides
    try:
        parsed = OverridesParser.create().parse_overrides(overrides)
        plain = [_first(override) for override in parsed if not override.is_hydra_override()]
    except (HydraException, ValueError) as error:
        raise UserError(" ".join(overrides), _one_line(error), _vocabulary()) from error
    compose(plain)


def _first(override: Override) -> str:
    if not override.is_sweep_override():
        return override.input_line
    value = next(iter(override.sweep_string_iterator()))
    return f"{override.input_line.split('=', 1)[0]}={value}"


def _one_line(error: Exception) -> str:
    return re.sub(r"\s+", " ", str(error)).strip()[:300]


def _vocabulary() -> str:
    groups = sorted(folder.name for folder in conf_folder().iterdir() if folder.is_dir())
    return f"recipes: {', '.join(recipes())} (+recipe=NAME); groups: {', '.join(groups)} (GROUP=NAME)"
