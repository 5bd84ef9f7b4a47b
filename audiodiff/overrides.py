"""Command-line overrides, quoted for Hydra.

Hydra reads `key=value` by a grammar in which blanks, brackets, commas, `=`, `~` and letters beyond ASCII have a meaning
or are refused. File and folder names follow no grammar: values of the keys that hold them are quoted before Hydra
parses them, with `~` expanded, and so is any other value that Hydra cannot parse. The type check (`audiodiff.schema`)
then reports what is wrong with such a value by its key.
"""

import os
import re
from collections.abc import Container, Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException

# Last component of keys whose values are names of files, folders, clips or runs.
PATH_KEYS = frozenset({"path", "codec", "folder", "dir", "subdir", "save_dir", "init_from", "resume", "clip", "name"})
# Those of them that also take a list in brackets; a folder whose name is in brackets is quoted there.
LIST_KEYS = frozenset({"data.path"})
_SWEEPS = ("choice(", "glob(", "shuffle(")
_MULTIRUN = {"-m", "--multirun"}
# Options of Hydra's command line that are followed by a value.
_WITH_VALUE = {
    *("-c", "--cfg", "-p", "--package", "-i", "--info", "--experimental-rerun"),
    *("-cp", "--config-path", "-cn", "--config-name", "-cd", "--config-dir"),
}


def split_arguments(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split a command line into Hydra's options and the overrides."""
    options, overrides, before = [], [], ""
    for word in arguments:
        (options if word.startswith("-") or before in _WITH_VALUE else overrides).append(word)
        before = word
    return options, overrides


def is_multirun(arguments: Sequence[str]) -> bool:
    """Whether a command line starts a sweep."""
    return not _MULTIRUN.isdisjoint(split_arguments(arguments)[0])


def quote_arguments(arguments: Sequence[str], groups: Container[str]) -> list[str]:
    """Quote the overrides of a command line; with -m, commas separate the values of a sweep."""
    options, overrides = split_arguments(arguments)
    sweep = not _MULTIRUN.isdisjoint(options)
    return [*options, *(quote(override, groups, sweep) for override in overrides)]


def quote(override: str, groups: Container[str], sweep: bool = False) -> str:
    """Quote the value of an override where Hydra needs it; other overrides are returned unchanged.

    Args:
        override: `key=value`.
        groups: names of configuration groups; `group=null` becomes Hydra's `~group`.
        sweep: whether commas separate values, each of which is quoted by itself.
    """
    key, _, value = override.partition("=")
    if key == "+recipe":  # it is in the defaults list, so that `debug` is composed after it
        key, override = "recipe", override.removeprefix("+")
    if value == "null" and key in groups:
        return f"~{key}"
    if not value or value in ("null", "???") or "${" in value or (sweep and value.startswith(_SWEEPS)):
        return override
    if key.lstrip("+") in LIST_KEYS and value[0] == "[" and value[-1] == "]":
        return f"{key}={_quoted_list(value)}"
    if key.lstrip("+").rsplit(".", 1)[-1] in PATH_KEYS:
        parts = _split(value) if sweep else [value]
        return f"{key}={','.join(_quoted(part) for part in parts)}"
    try:
        OverridesParser.create().parse_override(override)
    except HydraException:
        if value[0] == "[" and value[-1] == "]":
            return f"{key}={_quoted_list(value)}"
        return f"{key}={_quoted(value)}"
    return override


def _split(value: str) -> list[str]:
    """Split a value at commas outside of quotes."""
    return re.findall(r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"|[^,]+", value)


def _quoted_list(value: str) -> str:
    """Quote each part of a list in brackets."""
    return f"[{','.join(_quoted(part.strip()) for part in _split(value[1:-1]))}]"


def _quoted(value: str) -> str:
    text = _unquoted(value)
    if text is not None and not text.startswith("~"):
        return value
    text = value if text is None else text
    return QuotedString(os.path.expanduser(text), Quote.single).with_quotes()


def _unquoted(value: str) -> str | None:
    """Text between the quotes of a value; None if it has none, or they are part of a name, as in 'a','b'."""
    if len(value) < 2 or value[0] not in "'\"" or value[-1] != value[0]:
        return None
    try:
        text = OverridesParser.create().parse_override(f"key={value}").value()
    except HydraException:
        return None
    return text if isinstance(text, str) else None
