"""Options of verbs: those that several share, and those that a dataclass declares (`audiodiff.options`).

A verb's parameter whose type is a dataclass of options stands for one command-line option per field, with one per
condition in place of a field `conditions`, and one beginning with --from- in place of a field `from_conditions`. So the
command line offers what the Python API takes.
"""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from audiodiff.cli.saved_settings import load as load_settings
from audiodiff.conditioners.registry import OPTIONS as CONDITIONS
from audiodiff.errors import UserError
from audiodiff.options import Option, options_of

Model = Annotated[Path, typer.Option(help="Model folder, or the name of a shipped model such as speech-16k.")]
Data = Annotated[Path, typer.Option(help="Manifest, or the folder that holds manifest.jsonl.")]
Splits = Annotated[
    list[str] | None, typer.Option("--split", help="Split to evaluate; repeat for several (default: validation, test).")
]
Settings = Annotated[
    Path | None,
    typer.Option(
        help="File whose clip to make again: audio or sidecar of audiodiff, or JSON. Options that are named beside it "
        "win."
    ),
]
Device = Annotated[str, typer.Option(help="Device: auto (CUDA, else MPS, else CPU), cpu, cuda, cuda:1 or mps.")]
Precision = Annotated[str, typer.Option(help="Precision of the network: float32, bfloat16 or float16.")]

_TYPES = {"number": float, "integer": int, "text": str, "choice": str, "audio": Path, "flag": bool, "model": Path}


def expand_options(verb: Callable[..., None]) -> Callable[..., None]:
    """Replace each parameter of a verb whose type is a dataclass by the options that the dataclass declares."""
    parameters, configs = [], {}
    for parameter in inspect.signature(verb).parameters.values():
        if dataclasses.is_dataclass(parameter.annotation):
            configs[parameter.name] = parameter.annotation
            parameters += _parameters(parameter.annotation)
        else:
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))

    signature = inspect.Signature(parameters)
    if "settings" in signature.parameters:
        keyword_only = inspect.Parameter.KEYWORD_ONLY
        parameters.append(inspect.Parameter("invocation", keyword_only, default=None, annotation=typer.Context))
    every = {name: declared for config in configs.values() for name, declared in command_options(config).items()}

    @functools.wraps(verb)
    def expanded(invocation: typer.Context | None = None, **values: Any) -> None:
        bound = signature.bind(**values)
        bound.apply_defaults()
        values, flags, paths = dict(bound.arguments), {}, {}
        try:
            if values.get("settings") is not None and invocation is not None:
                values = load_settings(verb.__name__, values, every, invocation)
            for name, config in configs.items():
                options = command_options(config)
                flags |= {option: declared.flag_for(option) for option, declared in options.items()}
                given = {option: values.pop(option) for option in options}
                paths |= {option: given[option] for option, declared in options.items() if declared.kind == "audio"}
                values[name] = _build(config, given, paths)
            verb(**values)
        except UserError as error:
            raise _with_flag(error, flags, paths) from error

    expanded.__signature__ = inspect.Signature(parameters)
    return expanded


def command_options(config: type) -> dict[str, Option]:
    """All options of a dataclass by name, with the conditions that a request may have."""
    names = {field.name for field in dataclasses.fields(config)}
    options = options_of(config)
    options |= CONDITIONS if "conditions" in names else {}
    return options | ({f"from_{name}": _current(name) for name in CONDITIONS} if "from_conditions" in names else {})


def _current(name: str) -> Option:
    """The option of a condition that describes what an edit starts from."""
    declared = CONDITIONS[name]
    flag = declared.flag_for(name)
    help = f"What the recording is now, to invert it under; the counterpart of {flag}."
    return dataclasses.replace(declared, flag=f"--from-{flag.removeprefix('--')}", alias="", help=help)


def option_help(option: Option) -> str:
    """Help text of an option: what it does, its unit, range, choices, and what its default stands for."""
    unit = f"in {option.unit}" if option.unit else ""
    details = [
        unit if unit not in option.help else "",
        _range(option),
        " or ".join(option.choices),
        f"default: {option.default_help}" if option.default_help else "",
    ]
    text, details = option.help.rstrip("."), "; ".join(detail for detail in details if detail)
    if not details:
        return option.help
    return f"{text[:-1]}; {details})." if text.endswith(")") else f"{text} ({details})."


def _range(option: Option) -> str:
    if option.minimum is not None and option.maximum is not None:
        return f"{option.minimum:g} to {option.maximum:g}"
    limits = {"at least": option.minimum, "above": option.above, "at most": option.maximum}
    return ", ".join(f"{words} {limit:g}" for words, limit in limits.items() if limit is not None)


def _parameters(config: type) -> list[inspect.Parameter]:
    defaults, parameters = {field.name: field.default for field in dataclasses.fields(config)}, []
    for name, option in command_options(config).items():
        kind, default = _TYPES[option.kind], defaults.get(name)
        kind = list[kind] if option.multiple else kind
        annotation = Annotated[kind | None if default is None else kind, _typer_option(name, option)]
        keyword_only = inspect.Parameter.KEYWORD_ONLY
        parameters.append(inspect.Parameter(name, keyword_only, default=default, annotation=annotation))
    return parameters


def _typer_option(name: str, option: Option) -> Any:
    metavar = f"<{_TYPES[option.kind].__name__}>" if option.multiple else None  # Typer would show a list
    names = filter(None, (option.flag_for(name), option.alias))
    return typer.Option(*names, help=option_help(option), metavar=metavar)


def _build(config: type, values: dict[str, Any], paths: dict[str, Path | None]) -> Any:
    """The dataclass of the values of its options; audio is read from its file."""
    for name in values.keys() & paths.keys():
        if values[name] is not None:
            from audiodiff.audio.io import read

            values[name] = read(values[name], channels=2)
    fields = {field.name for field in dataclasses.fields(config)}
    arguments = {name: value for name, value in values.items() if name in fields}
    for kind, prefix in (("conditions", ""), ("from_conditions", "from_")):
        if kind in fields:
            named = {name: values.get(prefix + name) for name in CONDITIONS}
            arguments[kind] = {name: value for name, value in named.items() if value is not None}
    return config(**arguments)


def _with_flag(error: UserError, flags: dict[str, str], paths: dict[str, Path | None]) -> UserError:
    """The error with a subject that can be typed: the option or the audio file in place of the Python argument."""
    name, _, value = error.subject.partition(" ")
    if paths.get(name) is not None:
        return UserError(paths[name], error.problem, error.fix)
    return UserError(f"{flags[name]} {value}".rstrip(), error.problem, error.fix) if name in flags else error
