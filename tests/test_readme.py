"""Commands and code on the pages are valid: targets, verbs, options, files, names; the README's Python runs."""

import ast
import importlib
import importlib.util
import re
import shlex
import subprocess
import sys
import tomllib
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
import soundfile
from typer.main import get_command

from audiodiff.cli import build

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    + [
        page
        for pattern in ("recipes/*/README.md", "docs/*.md", "docs/tutorials/*.md", "demo/*.md")
        for page in ROOT.glob(pattern)
    ]
)
FENCE = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```", re.DOTALL | re.MULTILINE)
# Other programs, whose arguments are not checked.
FOREIGN = {"git", "cd", "hf", "apt-get", "export", "tensorboard", "pre-commit"}


def blocks(language: str) -> list[tuple[str, str]]:
    """(page, text) of every fenced block in a language."""
    found = [(page, block) for page in PAGES for block in FENCE.findall(page.read_text(encoding="utf-8"))]
    return [(page.relative_to(ROOT).as_posix(), text) for page, (name, text) in found if name == language]


def commands() -> list[tuple[str, str]]:
    """(page, command line), without comments; continued lines are joined, `a && b` is split."""
    found = []
    for page, text in blocks("bash"):
        for line in text.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            while words:
                end = next((i for i, word in enumerate(words) if word in ("&&", ";", "|")), len(words))
                found.append((page, shlex.join(words[:end])))
                words = words[end + 1 :]
    return found


def run_make(words):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    targets_named = [word for word in words if "=" not in word and not word.startswith("-")]
    assert targets_named and set(targets_named) <= targets


def run_audiodiff(words):
    verbs = get_command(build()).commands
    assert words, "no verb"
    if words[0] == "train":
        run_training(words[1:])
    elif words[0] != "--help":
        verbs[words[0]].make_context(words[0], [word for word in words[1:] if word != "--help"])


def run_training(words):
    from audiodiff import config

    config.check([word for word in words if not word.startswith("hydra.")])


def run_python(words):
    if words[0] == "train.py":
        run_training(words[1:])
    elif words[0] == "-m" and words[1] == "pip":
        run_pip(words[2:])
    elif words[0] == "-m":
        assert importlib.util.find_spec(words[1]) is not None
    elif Path(words[0]).name == "run.py":  # of an exported model
        from audiodiff.export import runner

        runner.parser().parse_args(words[1:])
    else:
        assert (ROOT / words[0]).is_file()


def run_pip(words):
    for option, value in pairwise(words):
        if option in ("-c", "-r"):
            assert (ROOT / value).is_file()
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for named in re.findall(r"\[([^]]+)]", " ".join(words)):
        assert set(named.split(",")) <= set(extras)
    # The package index has another project of this name.
    assert "audiodiff" not in words


def run_pytest(words):
    paths = [word.split("::")[0] for word in words if word.split("::")[0].startswith("tests")]
    assert all((ROOT / path).exists() for path in paths)


RUN = {
    "make": run_make,
    "audiodiff": run_audiodiff,
    "python": run_python,
    "python3": run_python,
    "pip": run_pip,
    "pytest": run_pytest,
}


@pytest.mark.parametrize("page, command", commands())
def test_command_exists(page, command):
    words = shlex.split(command)
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words = words[1:]
    if not words:
        return
    program = words[0].removeprefix(".venv/bin/")
    if (ROOT / program).is_file():
        return
    assert program in RUN or program in FOREIGN, f"{page}: unknown program {program!r}"
    if program in RUN:
        RUN[program](words[1:])


@pytest.mark.parametrize("page, snippet", blocks("python"))
def test_snippet_compiles_and_its_imports_exist(page, snippet):
    tree = ast.parse(snippet, page)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                assert importlib.util.find_spec(name.name) is not None
        if isinstance(node, ast.ImportFrom):
            module = importlib.import_module(node.module)
            for name in node.names:
                assert hasattr(module, name.name) or importlib.util.find_spec(f"{node.module}.{name.name}")


def test_python_of_readme_and_samplers_runs(tmp_path):
    """All blocks in one process, from top to bottom, beside the recordings that they read."""
    for name in ("speech.wav", "ready.wav"):
        soundfile.write(tmp_path / name, 0.1 * np.sin(np.arange(8000) * 0.05), 16000)
    soundfile.write(tmp_path / "song.wav", 0.1 * np.sin(np.arange(44100) * 0.05), 22050)
    script = "\n".join(text for page, text in blocks("python") if page in ("README.md", "docs/solvers.md"))
    assert script
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_resolve(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        link = urlsplit(target)
        if not link.scheme and link.path:
            assert (page.parent / link.path).exists(), target


def test_readme_has_the_test_command_that_ci_runs():
    """`.ci/run` runs the first fenced line of the README that is a test command."""
    lines = [line for page, line in commands() if page == "README.md"]
    assert [line for line in lines if re.match(r"(make test|(\.venv/bin/)?pytest)( |$)", line)]


def test_pages_install_this_project_and_not_its_namesake():
    for page in PAGES:
        assert not re.search(r"pip install (-\S+ )*audiodiff\b(?!-synthesis)", page.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "command",
    [
        "make nothing",
        "audiodiff sing",
        "audiodiff doctor --nope",
        "audiodiff info",
        "python train.py +recpe=speech_mel",
        "python train.py +recipe=nope",
        "python no_such_file.py",
        "pip install -c nothing.txt -e .",
        'pip install -e ".[nothing]"',
        "pip install audiodiff",
        "pytest tests/nothing",
        "frobnicate",
    ],
)
def test_invalid_commands_are_found(command):
    from typer.exceptions import TyperException

    from audiodiff.errors import UserError

    with pytest.raises((AssertionError, KeyError, UserError, TyperException)):
        test_command_exists("nowhere", command)
