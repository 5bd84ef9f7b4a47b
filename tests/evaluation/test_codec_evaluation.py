"""Evaluation of codecs: reconstruction quality and bit rates."""

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
from audiodiff.evaluation.codec_evaluation import UNQUANTIZED, codec_report, evaluate
from audiodiff.evaluation.held_out import Settings
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


def test_a_perfect_codec_scores_better_than_a_random_one(data):
    perfect, random = (evaluate(codec(kind), data, Settings(limit=5)).rows for kind in (Perfect, Codec))
    name = UNQUANTIZED
    assert perfect[name].scores["stft"].mean < 1e-2 and perfect[name].scores["si_sdr"].mean > 60
    assert random[name].scores["stft"].mean > 0.5 and random[name].scores["si_sdr"].mean < 5
    ratios = [perfect[f"latents of {bits} bits"].scores["si_sdr"].mean for bits in (8, 6, 4)]
    assert ratios == sorted(ratios, reverse=True) and ratios[0] - ratios[1] == pytest.approx(20 * math.log10(4), abs=2)
    assert perfect["as many samples of 16 bits"].scores["si_sdr"].mean > 20  # enough for low tones


def test_bit_rates(data):
    report = evaluate(codec(), data, Settings(limit=2))
    numbers = 4 * 2 * RATE / 64  # latents, channels, frames per second
    assert report.facts["latent_values_per_s"] == numbers == 2 * RATE / codec().compression
    assert report.rows["latents of 4 bits"].kbit_per_s == pytest.approx(4 * numbers / 1000)
    assert report.rows[UNQUANTIZED].kbit_per_s is None and report.clips == 2


def test_the_report(data, tmp_path):
    report = codec_report(evaluate(codec(), data, Settings(limit=2)), RATE)
    page, text = write(report, tmp_path), (tmp_path / "report.md").read_text()
    assert text == markdown(report) and "| latents of 8 bits | 8.0 |" in text
    assert page.read_text().count("<audio") == 4
    assert json.loads((tmp_path / "report.json").read_text())["clips"] == 2
    assert len(list((tmp_path / "clips").glob("*.wav"))) == 4


def test_evaluate_and_info_take_a_codec(data, tmp_path, capsys):
    codec().save_pretrained(tmp_path / "codec")
    words = ["evaluate", "--model", tmp_path / "codec", "--data", data.root, "--report", tmp_path / "r", "--limit", "2"]
    application()(list(map(str, words)), standalone_mode=False)
    assert capsys.readouterr().out.splitlines()[-1] == str(tmp_path / "r" / "report.html")
    application()(["info", str(tmp_path / "codec")], standalone_mode=False)
    assert "autoencoder(latents=4" in capsys.readouterr().out


def test_no_held_out_clip_is_refused(data):
    with pytest.raises(UserError, match="no clip in test"):
        evaluate(codec(), Manifest(data.with_splits("train").clips, data.root), Settings(splits=("test",)))


@pytest.mark.parametrize("limit", [0, -1])
def test_limits_below_one_are_refused(data, limit):
    with pytest.raises(UserError, match=f"limit {limit}"):
        evaluate(codec(), data, Settings(limit=limit))


@pytest.mark.parametrize("option", [("--steps", "6"), ("--sampler", "ddim"), ("--seed", "0")])
def test_sampling_options_are_refused(data, tmp_path, option):
    codec().save_pretrained(tmp_path / "codec")
    words = ["evaluate", "--model", tmp_path / "codec", "--data", data.root, "--report", tmp_path / "r", *option]
    with pytest.raises(UserError, match=f"{option[0]} {option[1]}: a codec") as error:
        application()(list(map(str, words)), standalone_mode=False)
    assert error.value.fix == f"remove {option[0]}" and not (tmp_path / "r").exists()


def test_without_baselines_only_the_codec_is_evaluated(data, tmp_path, capsys):
    codec().save_pretrained(tmp_path / "codec")
    words = ["evaluate", "--model", tmp_path / "codec", "--data", data.root, "--report", tmp_path / "r", "--limit", "1"]
    application()([*map(str, words), "--no-baselines"], standalone_mode=False)
    output = capsys.readouterr().out
    assert "latents of 4 bits" in output and "as many samples" not in output


class OnDevice(torch.Tensor):
    """A tensor on a device: only a copy to the CPU is allowed."""

    @classmethod
    def __torch_function__(cls, function, types, arguments=(), named=None):
        assert function in (torch.Tensor.__getitem__, torch.Tensor.cpu), f"{function.__name__} of a tensor on a device"
        with torch._C.DisableTorchFunctionSubclass():
            result = function(*arguments, **(named or {}))
        return result.as_subclass(torch.Tensor if function is torch.Tensor.cpu else cls)


class Elsewhere(Codec):
    """A codec on a device (`meta`), which only takes tensors on that device."""

    def encode(self, waveform, tile=None):
        assert waveform.device.type == "meta"
        return waveform

    def decode(self, latents, samples=None, tile=None):
        assert latents.device.type == "meta"
        return torch.zeros(latents.shape).as_subclass(OnDevice)


def test_recordings_are_moved_to_the_codecs_device_and_back(data):
    report = evaluate(codec(Elsewhere).to("meta"), data, Settings(limit=1, baselines=False))
    assert all(row.scores["stft"].mean > 0.5 for row in report.rows.values())
    assert type(report.examples[0][2]) is torch.Tensor
