"""Every numeric option of every verb with values that it cannot have: one line, or it works; never a traceback."""

import inspect
import math
import re
from importlib import import_module
from typing import get_args

import numpy as np
import pytest
import soundfile
from tiny_models import make_acoustic, random_restorer, random_upsampler
from typer.testing import CliRunner

from audiodiff import __version__
from audiodiff.audio.average_spectrum import AverageSpectrum
from audiodiff.audio.mel import PRESETS
from audiodiff.audio.prior import MelPrior
from audiodiff.cli import VERBS, build
from audiodiff.cli.sections import SECTIONS
from audiodiff.conditioners.labels import Labels
from audiodiff.conditioners.scalars import Scalars
from audiodiff.diffusion.objective import V
from audiodiff.diffusion.schedules.schedule import Cosine
from audiodiff.errors import UserError
from audiodiff.models import checkpoint, model_folders
from audiodiff.models.audio_model import AudioModel
from audiodiff.models.setting import Setting
from audiodiff.models.vocoder_model import VocoderModel
from audiodiff.nn.frontends.frontend import StftFrontend
from audiodiff.nn.network import Network

NUMBERS = ("-1", "0", "nan", "inf", "1e308", "abc", "2.5")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A folder with models, a recording, a saved mel and a manifest that none of the verbs can read far into."""
    folder = tmp_path_factory.mktemp("options")
    spec = PRESETS["speech_16k"]
    network = Network(StftFrontend(), 80, 256, channels=[8, 8], blocks=[1, 1], embedding=8)
    VocoderModel(network, Cosine(), V(), spec, MelPrior(spec), settings=[Setting(consistency=2)]).save_pretrained(
        folder / "vocoder"
    )
    front = StftFrontend(1, n_fft=64, hop_length=16)
    network = Network(front, 0, 1, [8, 8], [1, 1], 3, 8)
    named = {
        "conditioners": [Labels(["kick"], 8), Scalars(["tempo"], 8)],
        "spectrum": AverageSpectrum([0.0, -10.0], 8000),
    }
    AudioModel(network, Cosine(), V(), 8000, 800, sampler="dpmpp_2m", **named).save_pretrained(folder / "music")
    make_acoustic(vocoder=str(folder / "vocoder")).save_pretrained(folder / "voice")
    random_upsampler().save_pretrained(folder / "upsampler")
    random_restorer().save_pretrained(folder / "restorer")
    soundfile.write(folder / "tone.wav", 0.3 * np.sin(np.arange(4000) / 9), 8000)
    (folder / "manifest.jsonl").write_text("")
    (folder / "notes.md").write_text("none")
    return folder


def arguments(verb: str, folder) -> list[str]:
    """What a verb needs besides the option, in the order of a command line."""
    tone, music, vocoder, data = (str(folder / name) for name in ("tone.wav", "music", "vocoder", "manifest.jsonl"))
    out = str(folder / f"out-{verb}")
    needed = {
        "generate": ["--model", music, "--out", out, "--overwrite", "--label=kick", "--seconds", "0.1", "--steps=2"],
        "edit": [tone, "--model", music, "--out", f"{out}.wav", "--overwrite", "--noise-level", "0.5", "--steps", "2"],
        "render": [tone, "--model", vocoder, "--out", out, "--overwrite", "--steps", "2"],
        "evaluate": ["--model", vocoder, "--data", data, "--report", out],
        "benchmark": ["--model", vocoder, "--data", data, "--out", out],
        "listen": [f"one={folder / 'absent'}", f"two={folder / 'absent'}", "--out", out],
        "fit-grid": ["4", "--model", vocoder, "--data", data, "--out", out],
        "guidance": ["--model", music, "--out", out],
        "setting": ["good", "--model", vocoder, "--out", out],
        "compress": [vocoder, "--data", data, "--out", out],
        "prepare": [f"folder:{folder / 'absent'}", "--out", out],
        "demo": ["--model", str(folder / "absent")],
        "search": [str(folder / "absent"), "rain", "--model", str(folder / "absent")],
        "say": ["Yes.", "--voice", str(folder / "voice"), "--out", f"{out}.wav", "--steps", "2"],
        "upsample": [tone, "--model", str(folder / "upsampler"), "--out", out, "--overwrite"],
        "restore": [tone, "--declip", "--model", str(folder / "restorer"), "--out", out, "--overwrite"],
    }  # fmt: skip
    return [verb, *needed[verb]]


def outcome(words: list[str]) -> str:
    """What a command line says; a traceback is an error of ours and comes through."""
    result = CliRunner().invoke(build(), words)
    if isinstance(result.exception, UserError):
        assert "\n" not in str(result.exception)
        return str(result.exception)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


ARGUMENTS = (("fit-grid", "steps"), ("blend", "share"))  # that are no options


def options(verb: str) -> list[str]:
    """The numeric options of a verb."""
    name = verb.replace("-", "_")
    numbers = []
    for option in inspect.signature(getattr(import_module(f"audiodiff.cli.{name}"), name)).parameters.values():
        kind, *_ = get_args(option.annotation) or (option.annotation,)
        if {int, float} & {kind, *get_args(kind)} and (verb, option.name) not in ARGUMENTS:
            flags = [word for item in get_args(option.annotation)[1:] for word in item.param_decls or ()]
            flags += [item.default for item in get_args(option.annotation)[1:] if isinstance(item.default, str)]
            numbers.append(flags[0] if flags else f"--{option.name.replace('_', '-')}")
    return numbers


CASES = [(verb, option) for verb in VERBS for option in options(verb)]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("verb", "option"), CASES)
def test_numbers_that_cannot_be_are_one_line(verb, option, inputs):
    for value in NUMBERS:
        outcome([*arguments(verb, inputs), option, value])


def test_every_verb_with_numbers_is_swept():
    assert {verb for verb, _ in CASES} == {
        "generate",
        "edit",
        "render",
        "evaluate",
        "benchmark",
        "fit-grid",
        "setting",
        "guidance",
        "compress",
        "listen",
        "prepare",
        "demo",
        "say",
        "upsample",
        "restore",
        "search",
    }
    assert len(CASES) > 20


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--seconds", "1e308"], "--seconds 1e+308: "),
        (["--seconds", "nan"], "--seconds nan: "),
        (["--guidance-scale", "1e300"], "--guidance 1e+300: "),
        (["--guidance", "1e9"], "--guidance 1e+09: "),
        (["--guidance-interval", "3:-5"], "--guidance-interval '3:-5': "),
        (["--negative", "noise", "--guidance", "2"], "--negative 'noise': this model takes no prompts"),
        (["--prompt", "rain"], "--prompt 'rain': this model has no prompt"),
        (["--init-audio", "tone.wav", "--noise-level", "0"], "--noise-level 0: "),
        (["--count", "0"], "count 0: "),
        (["--peak-level", "nan"], "--peak-level nan: "),
        (["--label", "x"], "--label 'x': "),
        (["--batch-size", "0"], "--batch-size 0: "),
    ],
)
def test_generate_says_what_is_wrong(options, words, inputs):
    options = [str(inputs / word) if word.endswith(".wav") else word for word in options]
    words_before = [word for word in arguments("generate", inputs) if word not in ("--seconds", "0.1")]
    assert words in outcome([*words_before, *options])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("steps", [2, 10, 20])
@pytest.mark.parametrize("strength", [0.001, 0.05, 0.2, 1])
def test_slight_variations_are_generated(steps, strength, inputs, tmp_path):
    options = ["--init-audio", str(inputs / "tone.wav"), "--noise-level", str(strength), "--steps", str(steps)]
    told = outcome(["generate", "--model", str(inputs / "music"), "--out", str(tmp_path), *options])
    assert told.startswith("1 generated")
    samples, _ = soundfile.read(tmp_path / "0000.wav")
    assert np.isfinite(samples).all() and math.isclose(np.abs(samples).max(), 0.9, rel_tol=1e-3)


def test_the_version_is_told():
    assert outcome(["--version"]) == f"audiodiff {__version__}\n"


def test_a_folder_without_a_checkpoint_does_not_hide_a_shipped_model(monkeypatch, tmp_path, inputs):
    monkeypatch.chdir(tmp_path)
    shipped = model_folders.SHIPPED / "drums"
    (tmp_path / "drums").mkdir()
    (tmp_path / "drums" / "0000.wav").touch()
    (tmp_path / "music").touch()
    assert checkpoint.locate("drums") == shipped
    assert checkpoint.locate("music") == model_folders.SHIPPED / "music"
    (tmp_path / "songs").mkdir()
    with pytest.raises(UserError, match=r"config.json: is missing"):
        checkpoint.load("songs")
    (tmp_path / "drums" / "model.safetensors").touch()
    with pytest.warns(UserWarning, match=r"drums: using the local folder"):
        assert str(checkpoint.locate("drums")) == "drums"


@pytest.mark.filterwarnings("ignore")
def test_clips_may_go_to_a_folder_of_their_models_name(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    command = ["generate", "--model", "drums", "--out", "drums", "--seconds", "0.1", "--steps", "10"]
    assert outcome(command).startswith("1 generated, 0 skipped")
    assert outcome(command).startswith("0 generated, 1 skipped")


def test_the_help_lists_every_verb_once_in_its_section_with_a_whole_sentence():
    shown = CliRunner().invoke(build(), ["--help"]).output
    assert sorted(VERBS) == sorted(set(VERBS))
    assert [line.split()[0] for line in shown.splitlines() if re.match(r"  [a-z][a-z-]*  ", line)] == list(VERBS)
    assert [f"\n{section}:\n" in shown for section in SECTIONS] == [True] * len(SECTIONS)
    assert "a hypernetwork, in one pass and without training." in " ".join(shown.split())
