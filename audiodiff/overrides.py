"""Command-line overrides, quoted for Hydra.

Hydra reads `key=value` by a grammar in which blanks, brackets, commas, `=`, `~` and letters beyond ASCII mean something
or are refused. The names of files and folders are free of any grammar: values of keys that hold such names are quoted
before Hydra sees them, with `~` expanded, and so is any other value that Hydra cannot read. The check of types
(`audiodiff.schema`) then says what is wrong with it in terms of its key.
"""

import re
from collections.abc import Container, Sequence
from contextlib import suppress
from pathlib import Path

from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException

# The last words of keys whose values are names of files, folders, clips or runs.
PATH_KEYS = frozenset({"path", "codec", "folder", "dir", "subdir", "save_dir", "init_from", "resume", "clip", "name"})
_SWEEPS = ("choice(", "glob(", "shuffle(")


def quote_arguments(arguments: Sequence[str], groups: Container[str]) -> list[str]:
    """A command line with its overrides as `quote` writes them; with -m, commas divide the values of a sweep."""
    parsed = get_args_parser().parse_args(arguments)
    overrides = set(parsed.overrides)
    return [quote(word, groups, parsed.multirun) if word in overrides else word for word in arguments]


def quote(override: str, groups: Container[str], sweep: bool = False) -> str:
    """An override that Hydra reads as it is meant; one that needs no quotes, or has them, as it is.

    Args:
        override: `key=value`.
        groups: names of configuration groups; null leaves one out, which Hydra writes as `~group`.
        sweep: whether commas divide values, each of which is quoted by itself.
    """
    key, _, value = override.partition("=")
    if key == "+recipe":  # it stands in the list of defaults, so that `debug` has the last word
        key, override = "recipe", override.removeprefix("+")
    if value == "null" and key in groups:
        return f"~{key}"
    if not value or value in ("null", "???") or "${" in value or (sweep and value.startswith(_SWEEPS)):
        return override
    if key.lstrip("+").rsplit(".", 1)[-1] in PATH_KEYS:
        parts = _split(value) if sweep else [value]
        return f"{key}={','.join(_quoted(part) for part in parts)}"
    try:
        OverridesParser.create().parse_override(override)
    except HydraException:
        if value[0] == "[" and value[-1] == "]":
            return f"{key}=[{','.join(_quoted(part.strip()) for part in _split(value[1:-1]))}]"
        return f"{key}={_quoted(value)}"
    return override


def _split(value: str) -> list[str]:
    """The parts of a value between commas outside of quotes."""
    return re.findall(r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"|[^,]+", value)


def _quoted(value: str) -> str:
    text = value
    if value[0] in "'\"" and value[-1] == value[0] and len(value) > 1:
        with suppress(HydraException):  # a name may begin and end with a quote
            text = OverridesParser.create().parse_override(f"key={value}").value()
            if not text.startswith("~"):
                return value
    expanded = str(Path(text).expanduser()) if text.startswith("~") else text
    return QuotedString(expanded, Quote.single).with_quotes()
