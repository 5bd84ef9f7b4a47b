"""The core is enough for inference, and a missing extra is named before anything heavy is imported."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from audiodiff import extras
from audiodiff.errors import UserError

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# Extras that a part of the package may import beyond the core.
ALLOWED = {
    "audio": {"corpora"},
    "config": {"train"},
    "data": {"corpora"},
    "demo": {"demo"},
    "evaluation": {"report"},
    "export": {"hub", "onnx"},
    "fine_tuning": {"train"},
    "metrics": {"metrics"},
    "models": {"hub"},
    "overrides": {"train"},
    "runs": {"train"},
    "schema": {"train"},
    "text": {"prompts", "speech"},
    "train": {"train"},
    "training": {"train"},
}
# Of a corpus that names them where they are missing.
ON_DEMAND = {"music21", "pretty_midi", "tinysoundfont"}


def distributions(requirements):
    return {re.match(r"[A-Za-z0-9._-]+", requirement)[0] for requirement in requirements}


def third_party_imports(path):
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name.partition(".")[0] for name in node.names}
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add(node.module.partition(".")[0])
    return found - set(sys.stdlib_module_names) - {"audiodiff"}


@pytest.mark.parametrize("extra", extras.EXTRAS)
def test_the_table_and_the_project_name_the_same_packages(extra):
    named = {re.match(r"[A-Za-z0-9._-]+", name)[0] for name in extras.EXTRAS[extra].values()}
    assert named == distributions(PROJECT["optional-dependencies"][extra])


def test_all_brings_every_extra_for_users():
    (line,) = PROJECT["optional-dependencies"]["all"]
    assert set(re.search(r"\[(.*)\]", line)[1].split(",")) == set(extras.EXTRAS)


def test_every_import_belongs_to_the_core_or_to_an_extra_of_its_package():
    core = {name.replace("-", "_") for name in distributions(PROJECT["dependencies"])}
    for path in sorted((ROOT / "audiodiff").rglob("*.py")):
        part = path.relative_to(ROOT / "audiodiff").with_suffix("").parts[0]
        allowed = {name for extra in ALLOWED.get(part, ()) for name in extras.EXTRAS[extra]}
        foreign = third_party_imports(path) - core - allowed - ON_DEMAND
        assert not foreign, f"{path.relative_to(ROOT)} imports {', '.join(sorted(foreign))}"


def test_what_is_missing_is_named_with_the_command(monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name in ("hydra", "omegaconf", "lightning") else name)
    with pytest.raises(UserError, match=r"lightning, hydra-core.*pip install lightning hydra-core$"):
        extras.require("train")
    extras.require("demo")


BLOCK = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Block())
import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name.partition(".")[0] in {blocked!r} else found(name, *rest)
from audiodiff.cli import main
sys.argv = ["audiodiff", *{words!r}]
main()
"""
# What packages of the core bring along as well.
FROM_CORE = {"pkg_resources", "pydantic", "yaml"}
BLOCKED = sorted({name for names in extras.EXTRAS.values() for name in names if name not in FROM_CORE})


def without_extras(*words):
    code = BLOCK.format(blocked=set(BLOCKED), words=list(map(str, words)))
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


def test_a_shipped_model_renders_without_any_extra(tmp_path):
    import numpy as np
    import soundfile

    soundfile.write(tmp_path / "tone.wav", 0.1 * np.sin(np.arange(4000) * 0.1), 16000)
    done = without_extras("render", tmp_path / "tone.wav", "--model", "speech-16k", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert soundfile.info(tmp_path / "out" / "tone.wav").frames == 4000


@pytest.mark.parametrize(
    "words",
    [
        ("train", "+recipe=speech_mel"),
        ("demo",),
        ("evaluate", "--model", "speech-16k", "--data", "nowhere", "--report", "out"),
        ("benchmark", "--model", "speech-16k", "--data", "nowhere", "--out", "out"),
    ],
)
def test_verbs_name_the_extra_that_they_need(words):
    done = without_extras(*words)
    assert done.returncode == 1 and "pip install " in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
