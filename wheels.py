"""Build the wheel of the package, and a companion wheel for each model that it leaves out.

`python wheels.py --out dist`. A companion `audiodiff-models-NAME` holds the files of `audiodiff/pretrained/NAME` as
`audiodiff_models/NAME`, the license, and the model's section of `NOTICE`. It requires the package, and the companions
of the models that its own names, such as the base of a hypernetwork; its version is the package's. Nothing is uploaded:
the folder serves as a local index.

    pip install --find-links dist audiodiff-synthesis audiodiff-models-drums
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from hatchling.builders.wheel import WheelBuilder

import audiodiff
from audiodiff.errors import UserError
from audiodiff.models.model_folders import COMPANIONS, NAMESPACE, SHIPPED, wheel_name

ROOT = Path(__file__).resolve().parent
PACKAGE = "audiodiff-synthesis"
MAX_BYTES = 60 * 10**6  # of the package's wheel
_FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)


def build(out: Path) -> Iterator[Path]:
    """Build all wheels into `out`, and yield their paths, the package's first.

    Raises:
        UserError: the package's wheel cannot be built, or exceeds `MAX_BYTES`.
    """
    out.mkdir(parents=True, exist_ok=True)
    yield build_package(out)
    for model in COMPANIONS:
        yield build_companion(model, out)


def build_package(out: Path) -> Path:
    """Build the wheel of the package; raises as `build`."""
    words = ["wheel", "--no-deps", "--no-build-isolation", "--quiet", "--wheel-dir", str(out), str(ROOT)]
    done = subprocess.run([sys.executable, "-m", "pip", *words], capture_output=True, text=True)
    if done.returncode:
        raise UserError(ROOT, "its wheel cannot be built", done.stderr.strip()[-400:])
    wheel = out / f"{PACKAGE.replace('-', '_')}-{audiodiff.__version__}-py3-none-any.whl"
    if wheel.stat().st_size > MAX_BYTES:
        problem = f"takes {wheel.stat().st_size / 1e6:.1f} MB, more than {MAX_BYTES / 1e6:.0f} MB"
        raise UserError(wheel, problem, "name more models in COMPANIONS (audiodiff/models/model_folders.py)")
    return wheel


def build_companion(model: str, out: Path) -> Path:
    """Build the companion wheel of a shipped model."""
    folder = SHIPPED / model
    card = (folder / "README.md").read_text(encoding="utf-8")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    others = [wheel_name(value) for value in config["model"].values() if isinstance(value, str) and value in COMPANIONS]
    project = {
        "name": wheel_name(model),
        "version": audiodiff.__version__,
        "description": f"Weights of the model {model} of audiodiff",
        "readme": {"content-type": "text/markdown", "text": _FRONT_MATTER.sub("", card)},
        "license-files": ["LICENSE", "NOTICE"],
        "requires-python": ">=3.11",
        "dependencies": [f"{PACKAGE}>={audiodiff.__version__}", *others],
    }
    files = {"bypass-selection": True, "force-include": {str(folder): f"{NAMESPACE}/{model}"}}
    with tempfile.TemporaryDirectory() as root:
        (Path(root) / "LICENSE").write_bytes((ROOT / "LICENSE").read_bytes())
        (Path(root) / "NOTICE").write_text(notice(model), encoding="utf-8")
        settings = {"project": project, "tool": {"hatch": {"build": {"targets": {"wheel": files}}}}}
        (wheel,) = WheelBuilder(root, config=settings).build(directory=str(out), versions=["standard"])
    return Path(wheel)


def notice(model: str) -> str:
    """The introduction of the package's NOTICE, and its section on a model."""
    text = (ROOT / "NOTICE").read_text(encoding="utf-8")
    sections = re.split(r"^(?=audiodiff/pretrained/\S+$)", text, flags=re.MULTILINE)
    (section,) = (one for one in sections if one.partition("\n")[0] == f"audiodiff/pretrained/{model}")
    return sections[0] + section


def main() -> None:
    """Build and list the wheels."""
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("--out", type=Path, default=Path("dist"), help="Folder of the wheels (default: dist).")
    try:
        for wheel in build(parser.parse_args().out):
            print(f"{wheel}: {wheel.stat().st_size / 1e6:.1f} MB", flush=True)
    except UserError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
