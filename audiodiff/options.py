"""Options: values that users set, each declared once, for the Python API, the command line, sidecars and the demo.

Nothing heavy is imported here: the command line builds its help from these declarations.
"""

import dataclasses
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, SupportsFloat

from audiodiff.errors import UserError

MAX_STEPS = 10_000  # of a sampler
Kind = Literal["number", "integer", "text", "choice", "audio", "flag", "model"]


@dataclass(frozen=True)
class Option:
    """One value that users set.

    Attributes:
        kind: "number", "integer", "text", "choice", "audio", "flag" or "model", which is a folder or a name.
        help: one sentence for the command line and the demo.
        label: short title of a control in the demo.
        flag: name on the command line; empty: "--" and the option's name.
        alias: another name on the command line.
        unit: such as "s" or "BPM".
        minimum, maximum: inclusive range.
        above: exclusive lower bound.
        choices: allowed values of kind "choice"; empty where they depend on the model.
        multiple: a list of values.
        default_help: what None stands for.
    """

    kind: Kind
    help: str
    label: str = ""
    flag: str = ""
    alias: str = ""
    unit: str = ""
    minimum: float | None = None
    above: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    multiple: bool = False
    default_help: str = ""

    def flag_for(self, name: str) -> str:
        """The option on the command line."""
        return self.flag or f"--{name.replace('_', '-')}"

    def check(self, name: str, value: Any, optional: bool = True) -> Any:
        """A value as a plain Python number, string, tuple of strings or bool; audio, models and optional None as is.

        Raises:
            UserError: another type, out of range, not one of the choices, or not valid Unicode; names the value and
                what is allowed.
        """
        if (value is None and optional) or self.kind in ("audio", "model"):
            return value
        if self.kind == "flag":
            return bool(value)
        if self.kind in ("number", "integer"):
            return self._in_range(name, (real_number if self.kind == "number" else whole_number)(value, name))
        return self._texts(name, value)

    def _in_range(self, name: str, value: float) -> float:
        low, high = self.minimum, self.maximum
        fits = (low is None or value >= low) and (high is None or value <= high)
        fits = fits and (self.above is None or value > self.above) and (self.kind == "integer" or math.isfinite(value))
        if not fits:
            unit = f" {self.unit}" if self.unit else ""
            lower = (
                f"at least {low:g}" if low is not None else f"above {self.above:g}" if self.above is not None else ""
            )
            upper = f"at most {high:g}" if high is not None else ""
            limits = " and ".join(part for part in (lower, upper) if part) or "finite"
            raise UserError(f"{name} {_short(value)}", "out of range", f"use {limits or 'a finite number'}{unit}")
        return value

    def _texts(self, name: str, value: Any) -> str | tuple[str, ...]:
        if self.multiple and (isinstance(value, str) or not isinstance(value, Iterable)):
            raise UserError(f"{name} {value!r:.60}", "expected a list", f"pass [{value!r:.60}]")
        values = tuple(value) if self.multiple else (value,)
        for item in values:
            if not isinstance(item, str):
                raise UserError(f"{name} {item!r:.60}", "expected text", "pass a string")
            if self.kind == "text" and any("\ud800" <= character <= "\udfff" for character in item):
                fix = "write it in UTF-8; the terminal's encoding may be another one"
                raise UserError(f"{name} {item!r:.60}", "is not valid Unicode", fix)
            if self.choices and item not in self.choices:
                raise UserError(f"{name} {item!r:.60}", "unknown", f"choose among {', '.join(self.choices)}")
        values = tuple(map(str, values))
        return values if self.multiple else values[0]


def _short(value: float) -> str:
    """A number for an error; an integer may be larger than any float."""
    return f"{value:g}" if isinstance(value, float) or abs(value) < 10**6 else f"{value!s:.30}"


def option(default: Any, **arguments) -> Any:
    """A dataclass field that is an `Option` of these arguments."""
    return dataclasses.field(default=default, metadata={"option": Option(**arguments)})


def options_of(config: type | Any) -> dict[str, Option]:
    """The options among a dataclass's fields, by name, in order."""
    return {field.name: field.metadata["option"] for field in dataclasses.fields(config) if "option" in field.metadata}


class CheckedOptions:
    """Base of frozen dataclasses of options, which are checked when one is built.

    Raises:
        UserError: a value of another type or out of range.
    """

    def __post_init__(self):
        """Check every option, and convert numbers to plain ones."""
        for name, declared in options_of(self).items():
            optional = name == "peak_level" or getattr(type(self), name) is None
            object.__setattr__(self, name, declared.check(name, getattr(self, name), optional))


def real_number(value: SupportsFloat, subject: str) -> float:
    """A number of Python, NumPy or PyTorch as a float, maybe infinite or NaN.

    Raises:
        UserError: another type, or an integer beyond what a float holds.
    """
    try:
        if not isinstance(value, str):
            return float(value)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        pass
    raise UserError(f"{subject} {value!r:.60}", "expected a number")


def whole_number(value: SupportsFloat, subject: str, least: int | None = None) -> int:
    """A whole number of at least `least`: of Python, NumPy or PyTorch, 4.0 too, as on the command line.

    Raises:
        UserError: another type or number.
    """
    try:
        if getattr(value, "ndim", 0) or isinstance(value, str) or (number := int(value)) != value:
            raise ValueError
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise UserError(f"{subject} {value!r:.60}", "expected an integer", "pass an integer, such as 4") from error
    if least is not None and number < least:
        raise UserError(f"{subject} {number}", f"must be at least {least}")
    return number
