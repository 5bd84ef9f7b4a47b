"""The package as it is installed and imported."""

import json
import re
import shutil
import subprocess
import sys
import time
import tomllib
import zipfile
from importlib.metadata import distribution, version
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import soundfile
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import audiodiff
from audiodiff.audio.mel import PRESETS
from audiodiff.audio.prior import MelPrior
from audiodiff.data.licenses import card_licenses, license_names, license_terms
from audiodiff.diffusion.objective import V
from audiodiff.diffusion.schedules.schedule import Cosine
from audiodiff.errors import UserError
from audiodiff.models import checkpoint, model_folders
from audiodiff.models.model_folders import COMPANIONS
from audiodiff.models.setting import Setting
from audiodiff.models.vocoder_model import VocoderModel
from audiodiff.nn.frontends.frontend import StftFrontend
from audiodiff.nn.network import Network

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
HATCH = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
# By model.
NOTICE = dict(
    re.findall(
        r"^audiodiff/pretrained/(\S+)\n(.*?)(?=^audiodiff/pre|\Z)",
        (ROOT / "NOTICE").read_text(),
        re.DOTALL | re.MULTILINE,
    )
)
SHIPPED = sorted(path.name for path in (ROOT / "audiodiff/pretrained").iterdir() if path.is_dir())


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
def test_importing_the_package_limits_spinning_of_threads(statement, monkeypatch):
    read = "import os; print(os.environ['GOMP_SPINCOUNT'])"
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    assert python(f"{statement}; {read}") == "3000"
    monkeypatch.setenv("GOMP_SPINCOUNT", "70")
    assert python(f"{statement}; {read}") == "70"


def test_importing_the_public_names_imports_no_extra():
    loaded = python("import sys; from audiodiff import *; print(*sys.modules)").split()
    assert not {"lightning", "hydra", "gradio"} & set(loaded)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A model folder of a few kilobytes."""
    spec = PRESETS["speech_16k"]
    network = Network(StftFrontend(), spec.n_mels, spec.hop_length, channels=[8], blocks=[1], embedding=16)
    folder = tmp_path_factory.mktemp("models") / "tiny"
    VocoderModel(network, Cosine(), V(), spec, MelPrior(spec), settings=[Setting(consistency=2)]).save_pretrained(
        folder, {"steps": 1}
    )
    return folder


# Each takes 0.3 to 2 s to import, and none is needed to synthesize from a mel.
SLOW = {"lightning", "hydra", "gradio", "matplotlib", "torchaudio", "numba", "scipy", "sympy", "torch._dynamo"}
SYNTHESIZE = "v = Vocoder.from_pretrained({!r}); v.generate(torch.full((v.spec.n_mels, 5), -5.0), 4)"


def test_loading_a_vocoder_and_synthesizing_imports_nothing_slow(tiny):
    modules = python(
        f"import sys, torch; from audiodiff import Vocoder; {SYNTHESIZE.format(str(tiny))}; print(*sys.modules)"
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


def test_version_is_single_sourced_and_semantic():
    assert re.fullmatch(r"\d+\.\d+\.\d+", audiodiff.__version__)
    assert version("audiodiff-synthesis") == audiodiff.__version__
    changes = (ROOT / "CHANGELOG.md").read_text()
    assert "## [Unreleased]" in changes and f"## [{audiodiff.__version__}] - " in changes


def test_constraints_are_exact_and_cover_the_dependencies():
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    pins = {canonicalize_name(name): pin for name, pin in (line.split("==") for line in lines)}
    assert pins["torch"] == pins["torchaudio"] == "2.11.0"
    declared = map(Requirement, chain(PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()))
    for requirement in (one for one in declared if one.name != PROJECT["name"]):
        assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), requirement


@pytest.mark.parametrize("model", SHIPPED)
def test_notice_names_the_licenses_of_the_training_data(model):
    card = (ROOT / "audiodiff/pretrained" / model / "README.md").read_text()
    statements, section = card_licenses(card), NOTICE[model]
    assert statements and f"    trained on audio under: {'; '.join(license_names(*statements))}\n" in section
    assert f"    terms: {license_terms(*statements)}\n" in section
    for corpus in re.findall(r"^\| (\S+) \| Debian", card, re.MULTILINE):
        assert f"\n{corpus} (" in section
    for license, _, holder in (part.partition(" (") for part in "; ".join(statements).split("; ")):
        assert license == "CC0" or holder.removesuffix(")") in " ".join(section.split())


def test_the_wheel_has_the_models_that_are_no_companions():
    patterns = HATCH["exclude"]
    folder = "/audiodiff/pretrained/"
    inside = {one.removeprefix(f"!{folder}") for one in patterns if one.startswith("!")}
    assert patterns[0] == f"{folder}*" and {"voice-en", "speech-24k"} <= inside
    assert sorted(inside | set(COMPANIONS)) == SHIPPED and not inside & set(COMPANIONS)
    voice = json.loads((ROOT / "audiodiff/pretrained/voice-en/config.json").read_text())
    assert voice["model"]["vocoder"] in inside


def test_models_of_companion_wheels_are_found_behind_those_of_the_package(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(model_folders, "SHIPPED", tmp_path / "package")
    for path in ("one/audiodiff_models/drums", "two/audiodiff_models/sounds", "package/sounds"):
        shutil.copytree(tiny, tmp_path / path)
    (tmp_path / "two/audiodiff_models/no-model").mkdir()
    monkeypatch.syspath_prepend(tmp_path / "one")
    monkeypatch.syspath_prepend(tmp_path / "two")
    assert checkpoint.shipped() == checkpoint.shipped("vocoder") == ["drums", "sounds"]
    assert checkpoint.locate("drums") == tmp_path / "one/audiodiff_models/drums"
    assert checkpoint.locate("sounds") == tmp_path / "package/sounds"


def test_a_model_whose_wheel_is_not_installed_is_one_line_that_names_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(model_folders, "SHIPPED", tmp_path)
    for model in COMPANIONS:
        with pytest.raises(UserError, match=f"^{model}: .*not installed; .*audiodiff-models-{model} "):
            checkpoint.load(model)
    with pytest.raises(UserError, match="none installed"):
        checkpoint.load("no-such-model")


def test_notice_has_no_model_that_is_not_shipped():
    assert list(NOTICE) == SHIPPED


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
def wheels(tmp_path_factory):
    """A folder with all wheels, as `make wheels` builds them."""
    folder = tmp_path_factory.mktemp("wheels")
    subprocess.run([sys.executable, ROOT / "wheels.py", "--out", folder], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def wheel(wheels):
    (path,) = wheels.glob("audiodiff_synthesis-*.whl")
    return path


@pytest.mark.slow
def test_the_wheel_stays_below_60_mb(wheel):
    assert 20e6 < wheel.stat().st_size < 60e6


@pytest.mark.slow
def test_each_companion_wheel_has_one_model_its_card_and_its_notice(wheels):
    paths = {path.name.split("-")[0]: path for path in wheels.glob("audiodiff_models_*.whl")}
    assert set(paths) == {f"audiodiff_models_{model.replace('-', '_')}" for model in COMPANIONS}
    for model in COMPANIONS:
        archive = zipfile.ZipFile(paths[f"audiodiff_models_{model.replace('-', '_')}"])
        (info,) = {name.split("/")[0] for name in archive.namelist()} - {"audiodiff_models"}
        folder = ROOT / "audiodiff/pretrained" / model
        assert {name for name in archive.namelist() if not name.startswith(info)} == {
            f"audiodiff_models/{model}/{file.name}" for file in folder.iterdir()
        }
        for file in folder.iterdir():
            assert archive.read(f"audiodiff_models/{model}/{file.name}") == file.read_bytes()
        notice = archive.read(f"{info}/licenses/NOTICE").decode()
        assert re.findall(r"^audiodiff/pretrained/(\S+)$", notice, re.MULTILINE) == [model]
        metadata = archive.read(f"{info}/METADATA").decode()
        assert f"Version: {audiodiff.__version__}\n" in metadata and f"# {model}\n" in metadata
        assert f"Requires-Dist: audiodiff-synthesis>={audiodiff.__version__}\n" in metadata


@pytest.mark.slow
def test_wheel_has_package_configuration_models_and_licenses(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    for folder in ("audiodiff", "conf", "recipes"):
        paths = [path.relative_to(ROOT) for path in (ROOT / folder).rglob("*") if path.is_file()]
        shipped = {path.as_posix() for path in paths if not {"__pycache__", *COMPANIONS} & set(path.parts)}
        prefix = "" if folder == "audiodiff" else "audiodiff/"
        assert shipped and {prefix + name for name in shipped} <= set(names)
    info = "-".join(wheel.name.split("-")[:2]) + ".dist-info"
    assert {"audiodiff/py.typed", f"{info}/licenses/LICENSE", f"{info}/licenses/NOTICE"} <= set(names)
    assert {name.split("/")[0] for name in names} == {"audiodiff", info}
    assert not [name for name in names if set(COMPANIONS) & set(name.split("/")) and "pretrained" in name]


def closure(requirements):
    """Names of the distributions that `pip install` of these requirements brings along."""
    found, todo = set(), [Requirement(line) for line in requirements]
    while todo:
        requirement = todo.pop()
        key = (canonicalize_name(requirement.name), frozenset(requirement.extras))
        if key in found:
            continue
        found.add(key)
        for child in map(Requirement, distribution(requirement.name).requires or ()):
            extras = {"", *requirement.extras}
            if child.marker is None or any(child.marker.evaluate({"extra": extra}) for extra in extras):
                todo.append(child)
    return {name for name, _ in found}


@pytest.fixture(scope="module")
def core_venv(wheel, tmp_path_factory):
    """A virtual environment with what `pip install .` installs, linked from this one: no download, no gigabytes."""
    folder = tmp_path_factory.mktemp("core")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    for name in closure(PROJECT["dependencies"]):
        installed = distribution(name)
        for top in {file.parts[0] for file in installed.files or ()} - {"..", "__pycache__"}:
            if not (site / top).exists():
                (site / top).symlink_to(installed.locate_file(top))
    pip = [sys.executable, "-m", "pip", "--python", folder / "bin/python", "install", "--quiet", "--no-deps", wheel]
    subprocess.run(pip, check=True, capture_output=True)
    return folder


@pytest.mark.slow
def test_core_install_renders_with_a_shipped_model(core_venv, tmp_path):
    for name in ("lightning", "hydra", "gradio", "matplotlib", "tensorboard"):
        code = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({name!r}) is not None)"
        subprocess.run([core_venv / "bin/python", "-c", code], check=True)
    soundfile.write(tmp_path / "tone.wav", 0.1 * np.sin(np.arange(4000) * 0.1), 16000)
    verbs = (["render", "tone.wav", "--model", "speech-24k", "--out", "out"], ["info", "voice-en"], ["doctor"])
    for words in verbs:
        done = subprocess.run([core_venv / "bin/audiodiff", *words], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert soundfile.info(tmp_path / "out" / "tone.wav").frames == 6000
    done = subprocess.run([core_venv / "bin/audiodiff", "train"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1 and "pip install lightning" in done.stderr


@pytest.mark.slow
def test_companion_wheels_are_installed_from_a_folder_and_found(core_venv, wheels, tmp_path):
    def run(*words):
        return subprocess.run([core_venv / "bin/audiodiff", *words], cwd=tmp_path, capture_output=True, text=True)

    words = ("generate", "--model", "drums", "--steps", "2", "--seconds", "0.2", "--out", "out")
    absent = run(*words)
    assert absent.returncode == 1 and absent.stderr.count("\n") == 1
    assert absent.stderr.startswith("error: drums: ") and "audiodiff-models-drums" in absent.stderr
    pip = [sys.executable, "-m", "pip", "--python", core_venv / "bin/python"]
    install = [*pip, "install", "--quiet", "--no-index", "--find-links", wheels]
    subprocess.run([*install, "audiodiff-models-drums", "audiodiff-models-sounds-hypernetwork"], check=True)
    done = run(*words)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "out").glob("*.wav"))) == 1
    shown = run("info", "sounds-hypernetwork")  # whose wheel requires that of its base
    assert shown.returncode == 0 and "audiodiff_models" in shown.stdout
    assert run("info", "sounds").returncode == 0
    subprocess.run([*pip, "uninstall", "--quiet", "--yes", "audiodiff-models-drums"], check=True)
    assert run("info", "drums").returncode == 1 and run("info", "sounds").returncode == 0


@pytest.mark.slow
def test_wheel_loads_a_shipped_model_without_a_network(tiny, tmp_path):
    source = tmp_path / "source"
    for name in ("audiodiff", "conf", "recipes"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(tiny, source / "audiodiff/pretrained/tiny")
    settings = (source / "pyproject.toml").read_text()
    kept = '"!/audiodiff/pretrained/voice-en"'
    (source / "pyproject.toml").write_text(settings.replace(kept, f'{kept}, "!/audiodiff/pretrained/tiny"'))
    zipfile.ZipFile(built(source, tmp_path)).extractall(tmp_path / "site")
    code = f"""
import socket, sys
sys.path.insert(0, {str(tmp_path / "site")!r})
socket.socket.connect = socket.getaddrinfo = None  # any use of it fails
import torch
from audiodiff import Vocoder
from audiodiff.models.checkpoint import locate
{SYNTHESIZE.format("tiny")}
print(locate("tiny"))
"""
    assert python(code, "-P") == str(tmp_path / "site/audiodiff/pretrained/tiny")
