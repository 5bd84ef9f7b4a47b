"""Type check of a configuration before anything is built from it.

The schema is the constructors: each value is checked against the annotation of the argument of its name in the
constructor that `_target_` names, range included (`audiodiff.ranges`). `KEYS` has the keys that are no arguments, and
arguments of third-party constructors that accept less than their annotations say. A number written as another type,
such as 1e3 for a count, is converted; other values are refused by their key.
"""

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import is_dataclass
from functools import cache
from typing import Annotated, Any, Literal, get_type_hints

from annotated_types import Gt, Le
from hydra.errors import HydraException, InstantiationException
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationToMissingValueError, MissingMandatoryValue, OmegaConfBaseException
from pydantic import AfterValidator, ConfigDict, InstanceOf, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from audiodiff.diffusion.samplers import presets
from audiodiff.errors import UserError, did_you_mean
from audiodiff.ranges import NonNegative, NonNegativeFloat, Positive, Seed

_UNITS = {"weeks", "days", "hours", "minutes", "seconds"}


def _duration(value: Any) -> Any:
    clock = isinstance(value, str) and re.fullmatch(r"\d+(:\d+){3}", value)
    units = isinstance(value, dict) and value.keys() <= _UNITS
    if value is None or clock or (units and all(isinstance(n, int | float) and n >= 0 for n in value.values())):
        return value
    raise ValueError("should be days:hours:minutes:seconds")


KEYS: dict[str, Any] = {
    "name": str,
    "seed": Seed,
    "resume": str | None,
    "init_from": str | None,
    "trainable": list[str] | None,
    "sampler.name": Literal[presets.NAMES],
    "sampler.steps": Positive,
    "sampler.consistency": NonNegative,
    # Not float16, which scales gradients: they would be clipped wrongly. Not bf16-true: spectra need float32.
    "trainer.precision": Literal["32-true", "bf16-mixed", 32, "32", "bf16"] | None,
    "trainer.max_time": Annotated[Any, AfterValidator(_duration)],
    "trainer.val_check_interval": Positive | Annotated[float, Gt(0), Le(1)],
    "trainer.check_val_every_n_epoch": Positive | None,
    "trainer.log_every_n_steps": NonNegative,
    "trainer.gradient_clip_val": NonNegativeFloat | None,
}
# Groups that every run needs.
NEEDED = ("data", "model", "task", "training", "callbacks", "trainer")
_OPTIONS = ConfigDict(arbitrary_types_allowed=True, allow_inf_nan=False, coerce_numbers_to_str=True)


def check(cfg: DictConfig) -> None:
    """Check the values of a configuration before anything is built; whole floats become integers.

    Raises:
        UserError: a value has another type or range, a key is unknown to its constructor or not set, or a group is
            missing; names the key.
    """
    for group in NEEDED:
        if not OmegaConf.is_dict(cfg.get(group)):
            raise UserError(group, "is required", f"remove {group}=, or choose an option of the group")
    for key, kind in KEYS.items():
        group, _, name = key.rpartition(".")
        node = cfg.get(group) if group else cfg
        if node is not None and name in node:
            _check_value(node, name, key, kind)
    if "sampler" in cfg:
        presets.build(cfg.sampler.name, cfg.sampler.steps)
    _check_node(cfg.data, "data")  # first: the other groups refer to it
    _check_node(cfg, "")


def build(cfg: DictConfig, key: str, **arguments: Any) -> Any:
    """Build what a group of the configuration describes; None if the group is null or left out.

    Raises:
        UserError: its constructor, or that of one of its parts, refuses its arguments; names the key.
    """
    try:
        return instantiate(cfg.get(key), _convert_="all", **arguments)
    except InstantiationException as error:
        if isinstance(error.__cause__, UserError):
            raise error.__cause__ from error
        place = re.search(r"^full_key: (\S+)$", str(error), re.MULTILINE)  # the last line, of Hydra
        reason = " ".join(str(error.__cause__ or error).replace("\\n", " ").split()).split(" full_key: ")[0]
        subject = place[1] if place else key
        raise UserError(subject, reason, f"change {subject}") from error


def _check_node(node: DictConfig, at: str) -> None:
    parameters = _parameters(node, at) if "_target_" in node else {}
    for name in node:
        key = f"{at}.{name}".lstrip(".")
        if name in parameters:
            _check_value(node, name, key, parameters[name])
        if OmegaConf.is_interpolation(node, name) or (OmegaConf.is_missing(node, name) and name not in parameters):
            continue
        child = _get(node, name, key)
        for part in child if OmegaConf.is_list(child) else [child]:
            if OmegaConf.is_dict(part):
                _check_node(part, key)


def _parameters(node: DictConfig, at: str) -> dict[str, Any]:
    """Annotations of the arguments of a node's target, by name."""
    try:
        target = get_object(node["_target_"])
    except (HydraException, ImportError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{at}._target_ {node['_target_']}", "cannot be imported", "correct its spelling") from error
    taken, rest = _signature(target)
    unknown = [str(name) for name in node if name not in taken and not str(name).startswith("_")]
    if unknown and not rest:
        fix = did_you_mean(unknown[0], taken, f"choose among {', '.join(taken)}")
        raise UserError(f"{at}.{unknown[0]}", "is not a key there", fix)
    return taken


def describe(cfg: DictConfig, *keys: str) -> dict[str, Any]:
    """Groups of a configuration as JSON: type names and arguments, those left out by their defaults."""
    return {key: _described(OmegaConf.to_container(cfg[key], resolve=True)) for key in keys}


def _described(node: Any) -> Any:
    if isinstance(node, list | tuple):
        return [_described(one) for one in node]
    if not isinstance(node, dict):
        return node
    values = {name: _described(value) for name, value in node.items() if name != "_target_"}
    if "_target_" not in node:
        return values
    target = get_object(node["_target_"])
    left_out = {name: _described(value) for name, value in defaults(target).items()}
    return {"type": target.__name__} | left_out | values


def defaults(target: Callable) -> dict[str, Any]:
    """Default values by argument, including those passed on to parent classes; arguments without one are left out."""
    found: dict[str, Any] = {}
    for function in _constructors(target):
        for name, parameter in inspect.signature(function).parameters.items():
            if parameter.default is not parameter.empty:
                found.setdefault(name, parameter.default)
    return found


@cache
def _signature(target: Callable) -> tuple[dict[str, Any], bool]:
    """Annotations by argument, including those passed on to parent classes; whether it takes any others."""
    taken: dict[str, Any] = {}
    rest = False
    for function in _constructors(target):
        parameters = inspect.signature(function).parameters
        try:
            hints = get_type_hints(function, include_extras=True)
        except (NameError, TypeError):  # of a library, readable by type checkers only
            hints = {}
        for name, parameter in parameters.items():
            if name != "self" and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                taken.setdefault(name, hints.get(name, Any))
        rest = _passes_on(function)
    return taken, rest


def _constructors(target: Callable) -> Iterator[Callable]:
    """A function, or the constructor of a class and those of its parents that it passes arguments on to."""
    functions = [target]
    if inspect.isclass(target):
        functions = [vars(kind)["__init__"] for kind in target.__mro__ if "__init__" in vars(kind)]
    for function in functions:
        yield function
        if not _passes_on(function):
            return


def _passes_on(function: Callable) -> bool:
    parameters = inspect.signature(function).parameters.values()
    return any(parameter.kind == parameter.VAR_KEYWORD for parameter in parameters)


def _check_value(node: DictConfig, name: str, key: str, kind: Any) -> None:
    value = _get(node, name, key)
    plain = OmegaConf.to_container(value, resolve=False) if OmegaConf.is_config(value) else value
    named = isinstance(plain, dict) and "_target_" not in plain
    parts = list(plain.values()) if named else plain if isinstance(plain, list) else [plain]
    components = [isinstance(part, dict) and "_target_" in part for part in parts]
    components += [named and isinstance(part, str) and part.startswith("${") for part in parts]
    if kind is Any or any(components):  # which are checked by their targets
        return
    try:
        valid = _adapter(kind).validate_python(plain)
    except ValidationError as error:
        details = [detail for detail in error.errors() if "instance of" not in _reason(detail)] or error.errors()
        reasons = list(dict.fromkeys(_reason(detail) for detail in details))
        fix = f"write {key}=[{plain}]" if isinstance(plain, str) and "should be a list" in reasons else ""
        fixes = dict.fromkeys(filter(None, map(_allowed, details)))
        fix = fix or f"set {key} to {' or '.join(fixes) or 'another value'}"
        raise UserError(f"{key}={'null' if plain is None else plain}", " or ".join(reasons), fix) from error
    except PydanticUserError:  # an annotation that pydantic cannot read
        return
    same = type(valid) is type(plain) or (type(valid), type(plain)) == (float, int)
    if not same and isinstance(valid, int | float | str) and not OmegaConf.is_interpolation(node, name):
        node[name] = valid


@cache
def _adapter(kind: Any) -> TypeAdapter:
    # Pydantic would build an instance of a dataclass.
    return TypeAdapter(InstanceOf[kind]) if is_dataclass(kind) else TypeAdapter(kind, config=_OPTIONS)


def _reason(detail: dict) -> str:
    """Message of one of pydantic's errors, in the terms of a configuration, whose only sequences are lists."""
    kind, message = detail["type"], detail["msg"].removeprefix("Input ").removeprefix("Value error, ")
    if kind in ("list_type", "tuple_type", "sequence_str") or "instance of Sequence" in message:
        return "should be a list"
    return "should be a smaller number" if kind == "int_parsing_size" else message


def _allowed(detail: dict) -> str:
    """Values that would avoid one of pydantic's errors, for the fix; "" if its message says it."""
    kind, context = detail["type"], detail.get("ctx", {})
    words = {
        "greater_than": "a number above {gt}",
        "greater_than_equal": "{ge} or more",
        "less_than": "a number below {lt}",
        "less_than_equal": "{le} or less",
        "finite_number": "a finite number",
        "literal_error": "{expected}",
        "value_error": '"00:00:08:00" or {{minutes: 8}}',
    }
    types = {"int": "a whole number", "float": "a number", "bool": "true or false", "string": "text"}
    return words.get(kind, types.get(kind.split("_")[0], "")).format(**context)


def _get(node: DictConfig, name: str, key: str) -> Any:
    """Resolve a value; a missing one is refused by its key."""
    try:
        return node[name]
    except (MissingMandatoryValue, InterpolationToMissingValueError) as error:
        raise UserError(key, "is not set", f"set {key}=...") from error
    except OmegaConfBaseException as error:
        reason, *_ = str(error).splitlines()
        raise UserError(key, reason, "set the key that it refers to") from error
