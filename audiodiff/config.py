"""The configuration: its folders, recipes, and the check for misspelt keys.

`conf/` is the vocabulary: groups of YAML files, each with a `_target_` and its arguments. `recipes/<name>/recipe.yaml`
chooses among them under one name, selected by `+recipe=<name>`. Both are beside the package in a source tree, and
inside it in a wheel.

Hydra turns a misspelt group with `+` into a plain key and trains the default model; `check` composes the configuration
first and refuses keys that the primary configuration does not have.
"""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from audiodiff.errors import UserError, did_you_mean
from audiodiff.overrides import quote, quote_arguments, split_arguments

PRIMARY = "train"
_PACKAGE = Path(__file__).resolve().parent


def _beside_or_inside(name: str) -> Path:
    inside = _PACKAGE / name
    return inside if inside.is_dir() else _PACKAGE.parent / name


def conf_folder() -> Path:
    """The folder of configuration groups."""
    return _beside_or_inside("conf")


def groups() -> list[str]:
    """Names of the configuration's groups."""
    return sorted(folder.name for folder in conf_folder().iterdir() if folder.is_dir())


def recipes() -> dict[str, Path]:
    """Files of the recipes by name: those of the project, then of the folders in `AUDIODIFF_RECIPES`."""
    extra = [Path(folder) for folder in os.environ.get("AUDIODIFF_RECIPES", "").split(os.pathsep) if folder]
    found = {}
    for folder in [_beside_or_inside("recipes"), *extra]:
        if not folder.is_dir():
            raise UserError(folder, "no such recipe folder", "correct AUDIODIFF_RECIPES")
        found |= {file.parent.name: file for file in sorted(folder.glob("*/recipe.yaml"))}
    return found


def register() -> None:
    """Register the recipes with Hydra, and the OmegaConf resolvers for list lengths and optional parts."""
    store = ConfigStore.instance()
    for name, file in recipes().items():
        try:
            node = OmegaConf.load(file)
        except (OSError, ValueError, YAMLError, OmegaConfBaseException) as error:
            raise UserError(file, f"is not a recipe ({str(error).splitlines()[0]})", "correct its YAML") from error
        store.store(group="recipe", name=name, node=node, package="_global_")
    OmegaConf.register_new_resolver("count", _count, replace=True)
    OmegaConf.register_new_resolver("present", lambda part, count=1: count * (part is not None), replace=True)
    OmegaConf.register_new_resolver("absent", lambda part: part is None, replace=True)


def _count(listed: Sequence | None) -> int:
    """Length of a list; 0 for other values, which the check of types refuses."""
    return len(listed) if OmegaConf.is_list(listed) else 0


def compose(overrides: Sequence[str] = ()) -> DictConfig:
    """Compose the configuration of a training run; interpolations of Hydra's own stay unresolved.

    Raises:
        UserError: an override does not parse, or names an unknown recipe, group, option or key.
    """
    overrides = [quote(override, groups()) for override in overrides]
    parse(overrides)
    register()
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(conf_folder()), version_base="1.3"):
            composed = hydra_compose(PRIMARY, overrides)
            known = {*hydra_compose(PRIMARY), "prepare", "adapter"}  # groups without a default
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise _explained(error, overrides) from error
    except TypeError as error:  # of Hydra, which looks for options by what is no name, such as [1,2]
        raise UserError(" ".join(overrides), "has a group whose option is no name", _vocabulary()) from error
    if unknown := [str(key) for key in composed if key not in known]:
        fix = did_you_mean(unknown[0], {"recipe", *known}, _vocabulary())
        raise UserError(", ".join(unknown), "is not a key of the configuration", fix)
    return composed


def _explained(error: Exception, overrides: Sequence[str]) -> UserError:
    """Error for the key or option that Hydra refuses, with the nearest match."""
    text = str(error)
    if found := re.match(r"Could not override '(\S+?)'", text):
        problem = f"is not a key of the configuration (+{found[1]}= adds one)"
        return UserError(found[1], problem, did_you_mean(found[1], _all_keys(overrides), _vocabulary()))
    if found := re.search(r"Could not find '(?:.*/)?([^/']+)/([^/']+)'", text):
        group, option = found.groups()
        options = recipes() if group == "recipe" else [file.stem for file in (conf_folder() / group).glob("*.yaml")]
        return UserError(f"{group}/{option}", "does not exist", did_you_mean(option, options, _vocabulary()))
    return UserError(" ".join(overrides), _one_line(error), _vocabulary())


def _all_keys(overrides: Sequence[str]) -> set[str]:
    """Groups and keys of the configuration with the recipe and group options of the command line."""
    choices = [word for word in overrides if word.split("=")[0].lstrip("+~") in {"recipe", *groups()}]
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        try:
            composed = hydra_compose(PRIMARY, choices)
        except (HydraException, OmegaConfBaseException, ValueError, TypeError):
            composed = hydra_compose(PRIMARY)
    return {"recipe", *groups(), *_keys(OmegaConf.to_container(composed, resolve=False))}


def _keys(node: dict, at: str = "") -> Iterator[str]:
    for name, value in node.items():
        yield f"{at}{name}"
        if isinstance(value, dict):
            yield from _keys(value, f"{at}{name}.")


def parse(overrides: Sequence[str]) -> list[Override]:
    """Parse overrides as Hydra does.

    Raises:
        UserError: an override does not parse.
    """
    parsed = []
    for override in overrides:
        try:
            parsed.append(OverridesParser.create().parse_override(override))
        except (HydraException, ValueError) as error:
            raise UserError(override, _one_line(error), _vocabulary()) from error
    return parsed


def check(arguments: Sequence[str]) -> list[str]:
    """Compose the configuration of a command line before Hydra does; of a sweep, the first value of each override.

    Returns:
        The command line, quoted for Hydra (`audiodiff.overrides`).

    Raises:
        UserError: as `compose`.
    """
    arguments = quote_arguments(arguments, groups())
    _, overrides = split_arguments(arguments)
    compose([_first(override) for override in parse(overrides) if not override.is_hydra_override()])
    return arguments


def _first(override: Override) -> str:
    if not override.is_sweep_override():
        return override.input_line
    value = next(iter(override.sweep_string_iterator()))
    return f"{override.input_line.split('=', 1)[0]}={value}"


def _one_line(error: Exception) -> str:
    return re.sub(r"\s+", " ", str(error)).strip()[:300]


def _vocabulary() -> str:
    return f"recipes: {', '.join(recipes())} (+recipe=NAME); groups: {', '.join(groups())} (GROUP=NAME)"
