"""The package as it is installed and imported."""

import re
import shutil
import subprocess
import sys
import time
import zipfile
from itertools import chain
from pathlib import Path

import pytest

import audiodiff
from audiodiff.audio.mel import PRESETS
from audiodiff.audio.prior import MelPrior
from audiodiff.diffusion.objective import V
from audiodiff.diffusion.schedules.schedule import Cosine
from audiodiff.models.vocoder_model import VocoderModel
from audiodiff.nn.frontends.frontend import StftFrontend
from audiodiff.nn.network import Network

ROOT = Path(__file__).parents[1]


def python(code: str, *flags: str) -> str:
    done = subprocess.run([sys.executable, *flags, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_import_is_light():
    heavy = {"torch", "lightning", "hydra", "gradio", "matplotlib", "librosa"}
    loaded = python("import sys, audiodiff, audiodiff.cli; audiodiff.cli.build(); print(*sys.modules)").split()
    assert not heavy & set(loaded)


@pytest.mark.parametrize(
    "statement", ["from audiodiff import Vocoder", "import audiodiff.nn.unet1d", "import audiodiff"]
)
def test_whoever_loads_torch_through_us_has_threads_that_sleep_soon(statement, monkeypatch):
    read = "import os; print(os.environ['GOMP_SPINCOUNT'])"
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    assert python(f"{statement}; {read}") == "3000"
    monkeypatch.setenv("GOMP_SPINCOUNT", "70")
    assert python(f"{statement}; {read}") == "70"


def test_vocoder_needs_no_training_and_no_demo():
    loaded = python("import sys; from audiodiff import Vocoder, MelSpec, Audio; print(*sys.modules)").split()
    assert not {"lightning", "hydra", "gradio"} & set(loaded)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A model folder of a few kilobytes."""
    spec = PRESETS["speech_16k"]
    network = Network(StftFrontend(), spec.n_mels, spec.hop_length, channels=[8], blocks=[1], embedding=16)
    folder = tmp_path_factory.mktemp("models") / "tiny"
    VocoderModel(network, Cosine(), V(), spec, MelPrior(spec), consistency=2).save_pretrained(folder, {"steps": 1})
    return folder


# Each takes from 0.3 to 2 s to import, and none is needed to make sound of a mel.
SLOW = {"lightning", "hydra", "gradio", "matplotlib", "torchaudio", "numba", "scipy", "sympy", "torch._dynamo"}
SPEAK = "v = Vocoder.from_pretrained({!r}); v.generate(torch.full((v.spec.n_mels, 5), -5.0), 4)"


def test_loading_a_vocoder_and_making_sound_imports_nothing_slow(tiny):
    modules = python(
        f"import sys, torch; from audiodiff import Vocoder; {SPEAK.format(str(tiny))}; print(*sys.modules)"
    )
    assert "audiodiff.pipelines.vocoder" in modules.split()
    assert not SLOW & set(modules.split())


def test_public_names_are_there():
    for name in audiodiff.__all__:
        assert getattr(audiodiff, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Vocodr'"):
        _ = audiodiff.Vocodr


def test_help_answers_within_a_second_of_importing_torch():
    def seconds(*command):
        started = time.perf_counter()
        subprocess.run([sys.executable, *command], check=True, capture_output=True)
        return time.perf_counter() - started

    torch_alone = min(seconds("-c", "import torch") for _ in range(2))
    assert min(seconds("-m", "audiodiff", "--help") for _ in range(2)) < torch_alone + 1


def test_version_is_the_changelogs_and_semantic():
    from importlib.metadata import version

    assert re.fullmatch(r"\d+\.\d+\.\d+", audiodiff.__version__)
    assert version("audiodiff-synthesis") == audiodiff.__version__
    assert "## [Unreleased]" in (ROOT / "CHANGELOG.md").read_text()


def test_constraints_are_exact_and_cover_what_is_declared():
    import tomllib

    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    pins = {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}
    assert pins["torch"] == pins["torchaudio"] == "2.11.0"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = map(Requirement, chain(project["dependencies"], *project["optional-dependencies"].values()))
    for requirement in (one for one in declared if one.name != project["name"]):
        assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), requirement


def built(source: Path, folder: Path) -> Path:
    """The wheel of a source tree."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--quiet",
        "-w",
        folder,
        source,
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("audiodiff_synthesis-*.whl")
    return path


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return built(ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.mark.slow
def test_wheel_holds_the_package_its_configuration_and_its_license(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    for name in (path.relative_to(ROOT).as_posix() for path in (ROOT / "audiodiff/pretrained").glob("*/*")):
        assert name in names
    for folder in ("conf", "recipes"):
        shipped = {path.relative_to(ROOT).as_posix() for path in (ROOT / folder).rglob("*") if path.is_file()}
        assert shipped and {f"audiodiff/{name}" for name in shipped} <= set(names)
    assert "audiodiff/cli/doctor.py" in names and any(name.endswith("licenses/LICENSE") for name in names)
    assert not [name for name in names if name.split("/")[0] not in ("audiodiff", wheel_info(wheel))]


@pytest.mark.slow
def test_wheel_answers_from_anywhere(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    code = f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r}); import audiodiff; print(audiodiff.__file__)"
    assert python(code, "-P").startswith(str(tmp_path))


@pytest.mark.slow
def test_a_shipped_model_speaks_from_the_wheel_without_a_network(tiny, tmp_path):
    source = tmp_path / "source"
    for name in ("audiodiff", "conf", "recipes"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(tiny, source / "audiodiff/pretrained/tiny")
    zipfile.ZipFile(built(source, tmp_path)).extractall(tmp_path / "site")
    code = f"""
import socket, sys
sys.path.insert(0, {str(tmp_path / "site")!r})
socket.socket.connect = socket.getaddrinfo = None  # any use of it fails
import torch
from audiodiff import Vocoder
from audiodiff.models.checkpoint import locate
{SPEAK.format("tiny")}
print(locate("tiny"))
"""
    assert python(code, "-P") == str(tmp_path / "site/audiodiff/pretrained/tiny")


def wheel_info(wheel: Path) -> str:
    return "-".join(wheel.name.split("-")[:2]) + ".dist-info"
