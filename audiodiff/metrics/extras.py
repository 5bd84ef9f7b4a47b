"""The packages behind the judges are optional; what to type when one is missing is said here, once."""

import warnings
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from audiodiff.errors import UserError

COMMAND = 'pip install -c constraints.txt -e ".[metrics]"'


def require(module: str) -> ModuleType:
    """Import `module`, which belongs to the extra `metrics`.

    Raises:
        UserError: it is not installed, or something that it needs is not.
    """
    try:
        # pyworld imports pkg_resources, which complains of its age.
        with warnings.catch_warnings(action="ignore", category=UserWarning):
            return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise _missing(
            package, "is not installed" if error.name == package else f"cannot be imported ({error})"
        ) from error


def locate(package: str) -> Path:
    """The folder of `package`, which belongs to the extra `metrics`, without importing it.

    Raises:
        UserError: it is not installed.
    """
    found = find_spec(package)
    if found is None or found.origin is None:
        raise _missing(package, "is not installed")
    return Path(found.origin).parent


def _missing(package: str, problem: str) -> UserError:
    return UserError(f"the package {package}", problem, f"install the judges with: {COMMAND}")
