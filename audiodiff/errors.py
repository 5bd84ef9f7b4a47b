"""User errors: subject, problem and fix, in one line.

Commands catch `UserError`, print it as one line and exit with a non-zero status; anything else is a bug and keeps its
traceback.
"""

import difflib
import sys
import warnings
from collections.abc import Iterable

_LONGEST_PART = 800  # characters of subject, problem and fix in the line that is printed


class UserError(ValueError):
    """Bad user input: a file, a folder, an option, a configuration.

    Args:
        subject: what is at fault, such as a path or an option with its value.
        problem: what is wrong with it.
        fix: what to do or type.
    """

    def __init__(self, subject: object, problem: str, fix: str = ""):
        self.subject, self.problem, self.fix = str(subject), problem, fix
        line = ": ".join((_shortened(self.subject), "; ".join(map(_shortened, filter(None, (problem, fix))))))
        super().__init__(line.replace("\n", "\\n").replace("\r", "\\r"))  # a file's name may hold them

    def __reduce__(self) -> tuple:
        """Rebuilt from its parts in another process."""
        return type(self), (self.subject, self.problem, self.fix)


def _shortened(text: str) -> str:
    """A part of an error, which may quote a file of any length, at a length that can be read."""
    return text if len(text) <= _LONGEST_PART else f"{text[: _LONGEST_PART - 4]} ..."


def first_line(error: BaseException) -> str:
    """First line of an exception's message, or its type if it has none."""
    line, *_ = str(error).partition("\n")
    return line or type(error).__name__


def warn_in_one_line() -> None:
    """Print warnings as one line to stderr, without source code; for commands.

    Deprecation warnings of libraries are ignored, since they concern developers.
    """
    for category in (DeprecationWarning, PendingDeprecationWarning, FutureWarning):
        warnings.simplefilter("ignore", category, append=True)
    warnings.showwarning = lambda message, *_, **__: print(f"warning: {message}", file=sys.stderr)


def did_you_mean(name: str, names: Iterable[object], otherwise: str = "") -> str:
    """The fix for a misspelled name: the closest of `names`, if any, then `otherwise`."""
    found = difflib.get_close_matches(name, map(str, names), 1)
    return "; ".join([*(f"did you mean {match}?" for match in found), *filter(None, [otherwise])])
