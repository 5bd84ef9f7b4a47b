"""The folder of a hosted space: it installs what it has with it, from addresses or from paths."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from audiodiff.errors import UserError

ROOT = Path(__file__).parents[2]
NAMES = ["audiodiff_synthesis-0.2.0-py3-none-any.whl", "audiodiff_models_speech_16k-0.2.0-py3-none-any.whl"]


@pytest.fixture
def space(monkeypatch):
    """The script as a module, whose wheels are empty files."""
    spec = importlib.util.spec_from_file_location("space", ROOT / "demo" / "space.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setattr(sys, "path", list(sys.path))
    spec.loader.exec_module(module)

    def build(out):
        out.mkdir(parents=True, exist_ok=True)
        for name in NAMES:
            (out / name).touch()
            yield out / name

    monkeypatch.setattr(module.wheels, "build", build)
    return module


def test_requirements_are_addresses_of_the_wheels_in_the_space(space, tmp_path):
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels" / "audiodiff_synthesis-0.1.0-py3-none-any.whl").touch()
    space.write(tmp_path, "somebody/audio")
    found = [Requirement(line) for line in (tmp_path / "requirements.txt").read_text().splitlines()]
    assert [one.name for one in found] == ["audiodiff-synthesis", "audiodiff-models-speech-16k"]
    assert found[0].extras == {"demo", "prompts", "speech"} and not found[1].extras
    assert [one.url for one in found] == [f"{space.HUB}/spaces/somebody/audio/resolve/main/wheels/{n}" for n in NAMES]
    assert {file.name for file in (tmp_path / "wheels").iterdir()} == set(NAMES)


def test_without_a_name_they_are_paths_in_the_folder_which_has_page_and_front_matter(space, tmp_path):
    space.write(tmp_path)
    paths = [tmp_path / line.partition("[")[0] for line in (tmp_path / "requirements.txt").read_text().splitlines()]
    assert len(paths) == 2 and all(path.is_file() for path in paths)
    for name in ("README.md", "app.py"):
        assert (tmp_path / name).read_bytes() == (ROOT / "demo" / name).read_bytes()


@pytest.mark.parametrize("name", ["somebody", "a/b/c"])
def test_what_is_no_name_of_a_space_is_refused_before_anything_is_written(space, tmp_path, name):
    with pytest.raises(UserError, match="OWNER/NAME"):
        space.write(tmp_path / "out", name)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_pip_installs_the_wheels_of_the_folder(tmp_path):
    subprocess.run([sys.executable, ROOT / "demo" / "space.py", "--out", tmp_path], check=True, capture_output=True)
    pip = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-deps", "--no-index", "--ignore-installed"]
    done = subprocess.run([*pip, "-r", "requirements.txt"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    installed = done.stdout.splitlines()[-1]
    assert installed.startswith("Would install") and installed.count("audiodiff-") == len(
        list(tmp_path.glob("wheels/*"))
    )
