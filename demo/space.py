"""Write the demo as a folder that a host of Gradio spaces runs: page, front matter, and the wheels that it installs.

`make space SPACE=OWNER/NAME` writes `dist/space/`; `hf upload OWNER/NAME dist/space --repo-type space` publishes it.
Such a host installs `requirements.txt` before it copies any other file, so the requirements name the wheels by their
addresses in the space itself. Without a name they are paths relative to the folder, for a container that copies it
first, or for a try on this machine.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from shutil import copyfile

DEMO = Path(__file__).resolve().parent
sys.path.insert(0, str(DEMO.parent))

import wheels  # noqa: E402  beside this folder, in the root of the source tree
from audiodiff.errors import UserError  # noqa: E402

EXTRAS = "demo,prompts,speech"
HUB = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
COPIED = ("README.md", "app.py")
ATTRIBUTES = "*.whl filter=lfs diff=lfs merge=lfs -text\n"  # for those who push it by git


def write(out: Path, space: str = "") -> None:
    """Write the folder of a space; files of an earlier version are replaced.

    Args:
        out: the folder.
        space: `OWNER/NAME` of the space; empty: the requirements are paths.

    Raises:
        UserError: no such form of a name, or as `wheels.build`.
    """
    if space and space.count("/") != 1:
        raise UserError(space, "is no name of a space", "write it as OWNER/NAME")
    for old in (out / "wheels").glob("*.whl"):
        old.unlink()
    names = [wheel.name for wheel in wheels.build(out / "wheels")]
    for name in COPIED:
        copyfile(DEMO / name, out / name)
    (out / "requirements.txt").write_text(requirements(names, space), encoding="utf-8")
    (out / ".gitattributes").write_text(ATTRIBUTES, encoding="utf-8")


def requirements(names: Sequence[str], space: str = "") -> str:
    """The lines of `requirements.txt` for wheels, of which the first is the package's."""
    lines = []
    for number, name in enumerate(names):
        extras = "" if number else f"[{EXTRAS}]"
        distribution = name.partition("-")[0].replace("_", "-")
        address = f"{HUB}/spaces/{space}/resolve/main/wheels/{name}"
        lines.append(f"{distribution}{extras} @ {address}" if space else f"./wheels/{name}{extras}")
    return "\n".join([*lines, ""])


def main() -> None:
    """Write the folder that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("space", nargs="?", default="", help="Name of the space, OWNER/NAME (default: none, paths).")
    parser.add_argument("--out", type=Path, default=Path("dist/space"), help="Folder to write (default: dist/space).")
    arguments = parser.parse_args()
    try:
        write(arguments.out, arguments.space)
    except UserError as error:
        sys.exit(f"error: {error}")
    print(arguments.out)


if __name__ == "__main__":
    main()
