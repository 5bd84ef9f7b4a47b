"""Codecs scored: what comes back whole is told from what does not, and bits are counted."""

import json
import math

import numpy as np
import pytest
import soundfile
import torch

from audiodiff.cli import build as application
from audiodiff.data.manifest import Manifest
from audiodiff.data.preparation import prepare
from audiodiff.errors import UserError
from audiodiff.evaluation.codec_evaluation import UNQUANTIZED, Settings, codec_report, evaluate
from audiodiff.evaluation.report import markdown, write
from audiodiff.models.codec import Codec
from audiodiff.nn.autoencoder import Autoencoder

RATE = 8000


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Manifest:
    root = tmp_path_factory.mktemp("songs")
    (root / "in").mkdir()
    time = np.arange(RATE) / RATE
    for number in range(60):
        wave = 0.3 * np.sin(2 * np.pi * (60 + number) * time)  # low enough for few samples
        soundfile.write(root / "in" / f"{number}.wav", np.stack([wave, 0.5 * wave], 1), RATE)
    return prepare([f"music:{root / 'in'}"], root / "out")


class Perfect(Codec):
    """Latents are the samples themselves, but for the fifth digit."""

    def encode(self, waveform, tile=None):
        return waveform * 3

    def decode(self, latents, samples=None, tile=None):
        return latents[..., :samples] / 3 + 1e-5 * torch.linspace(-1, 1, latents.shape[-1])[:samples]


def codec(kind=Codec) -> Codec:
    torch.manual_seed(0)
    return kind(Autoencoder(latents=4, hop_length=32, channels=[8, 8], blocks=[1, 1]), RATE).eval()


def test_what_comes_back_whole_is_told_from_what_does_not(data):
    whole, broken = (evaluate(codec(kind), data, Settings(limit=5)).rows for kind in (Perfect, Codec))
    name = UNQUANTIZED
    assert whole[name].scores["stft"].mean < 1e-2 and whole[name].scores["si_sdr"].mean > 60
    assert broken[name].scores["stft"].mean > 0.5 and broken[name].scores["si_sdr"].mean < 5
    ratios = [whole[f"latents of {bits} bits"].scores["si_sdr"].mean for bits in (8, 6, 4)]
    assert ratios == sorted(ratios, reverse=True) and ratios[0] - ratios[1] == pytest.approx(20 * math.log10(4), abs=2)
    assert whole["as many plain samples of 16 bits"].scores["si_sdr"].mean > 20  # low tones need no more


def test_bits_are_counted(data):
    report = evaluate(codec(), data, Settings(limit=2))
    numbers = 4 * 2 * RATE / 64  # latents, channels, frames a second
    assert report.facts["latent_numbers_per_s"] == numbers == 2 * RATE / codec().compression
    assert report.rows["latents of 4 bits"].kbit_per_s == pytest.approx(4 * numbers / 1000)
    assert report.rows[UNQUANTIZED].kbit_per_s is None and report.clips == 2


def test_the_report(data, tmp_path):
    report = codec_report(evaluate(codec(), data, Settings(limit=2)), RATE)
    page, text = write(report, tmp_path), (tmp_path / "report.md").read_text()
    assert text == markdown(report) and "| latents of 8 bits | 8.0 |" in text
    assert page.read_text().count("<audio") == 4
    assert json.loads((tmp_path / "report.json").read_text())["clips"] == 2
    assert len(list((tmp_path / "clips").glob("*.wav"))) == 4


def test_the_verbs(data, tmp_path, capsys):
    codec().save_pretrained(tmp_path / "codec")
    words = ["evaluate", "--model", tmp_path / "codec", "--data", data.root, "--report", tmp_path / "r", "--limit", "2"]
    application()(list(map(str, words)), standalone_mode=False)
    assert capsys.readouterr().out.splitlines()[-1] == str(tmp_path / "r" / "report.html")
    application()(["info", str(tmp_path / "codec")], standalone_mode=False)
    assert "autoencoder(latents=4" in capsys.readouterr().out


def test_nothing_held_out(data):
    with pytest.raises(UserError, match="holds no clip in test"):
        evaluate(codec(), Manifest(data.with_splits("train").clips, data.root), Settings(splits=("test",)))


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_that_is_none_is_refused(data, limit):
    with pytest.raises(UserError, match=f"limit {limit}: is below 1"):
        evaluate(codec(), data, Settings(limit=limit))


@pytest.mark.parametrize("option", [("--steps", "6"), ("--sampler", "ddim"), ("--seed", "0")])
def test_options_that_a_codec_has_no_use_for_are_refused(data, tmp_path, option):
    codec().save_pretrained(tmp_path / "codec")
    words = ["evaluate", "--model", tmp_path / "codec", "--data", data.root, "--report", tmp_path / "r", *option]
    with pytest.raises(UserError, match=f"{option[0]} {option[1]}: a codec") as error:
        application()(list(map(str, words)), standalone_mode=False)
    assert error.value.fix == f"remove {option[0]}" and not (tmp_path / "r").exists()


def test_without_baselines_the_codec_stands_alone(data, tmp_path, capsys):
    codec().save_pretrained(tmp_path / "codec")
    words = ["evaluate", "--model", tmp_path / "codec", "--data", data.root, "--report", tmp_path / "r", "--limit", "1"]
    application()([*map(str, words), "--no-baselines"], standalone_mode=False)
    told = capsys.readouterr().out
    assert "latents of 4 bits" in told and "plain samples" not in told


class OnDevice(torch.Tensor):
    """What a device holds: nothing but a copy to the CPU can be made of it."""

    @classmethod
    def __torch_function__(cls, function, types, arguments=(), named=None):
        assert function in (torch.Tensor.__getitem__, torch.Tensor.cpu), f"{function.__name__} of what is on a device"
        with torch._C.DisableTorchFunctionSubclass():
            found = function(*arguments, **(named or {}))
        return found.as_subclass(torch.Tensor if function is torch.Tensor.cpu else cls)


class Elsewhere(Codec):
    """A codec on a device, which takes only what is there; `meta` stands for it."""

    def encode(self, waveform, tile=None):
        assert waveform.device.type == "meta"
        return waveform

    def decode(self, latents, samples=None, tile=None):
        assert latents.device.type == "meta"
        return torch.zeros(latents.shape).as_subclass(OnDevice)


def test_recordings_go_to_the_device_of_the_codec_and_come_back(data):
    report = evaluate(codec(Elsewhere).to("meta"), data, Settings(limit=1, baselines=False))
    assert all(row.scores["stft"].mean > 0.5 for row in report.rows.values())
    assert type(report.examples[0][2]) is torch.Tensor
