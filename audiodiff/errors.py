"""User errors: subject, problem and fix, in one line.

Every command catches `UserError`, prints it as one line and ends with a non-zero status; anything else is a bug of ours
and keeps its traceback.
"""

import difflib
import sys
import warnings
from collections.abc import Iterable


class UserError(ValueError):
    """Bad input from outside: a file, a folder, an option, a configuration."""

    def __init__(self, subject: object, problem: str, fix: str = ""):
        self.subject, self.problem, self.fix = str(subject), problem, fix
        line = f"{subject}: {problem}" + (f"; {fix}" if fix else "")
        super().__init__(line.replace("\n", "\\n").replace("\r", "\\r"))  # a file's name may hold them


def first_line(error: BaseException) -> str:
    """What an exception says, on one line; its type where it says nothing."""
    line, *_ = str(error).partition("\n")
    return line or type(error).__name__


def warn_in_one_line() -> None:
    """From now on warnings are told as errors are: one line, without the place in the code that they come from.

    What libraries are going to change concerns developers, who read it where tests run.
    """
    for category in (DeprecationWarning, PendingDeprecationWarning, FutureWarning):
        warnings.simplefilter("ignore", category, append=True)
    warnings.showwarning = lambda message, *_, **__: print(f"warning: {message}", file=sys.stderr)


def did_you_mean(name: str, names: Iterable[object], otherwise: str = "") -> str:
    """The fix for a misspelt name: the nearest of `names` if one is near, then `otherwise`."""
    found = difflib.get_close_matches(name, map(str, names), 1)
    return "; ".join([*(f"did you mean {match}?" for match in found), *filter(None, [otherwise])])
