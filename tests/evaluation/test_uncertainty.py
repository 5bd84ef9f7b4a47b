"""Spread over seeds: that of takes whose spread is known, and the report of a small model."""

import base64
import io
import json

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image
from typer.testing import CliRunner

from audiodiff.audio.io import Audio
from audiodiff.audio.mel import PRESETS
from audiodiff.audio.prior import MelPrior
from audiodiff.cli import build
from audiodiff.data.manifest import Clip, Manifest
from audiodiff.diffusion.objective import V
from audiodiff.diffusion.schedules.schedule import Cosine
from audiodiff.errors import UserError
from audiodiff.evaluation.uncertainty import Spread, measure, takes_of
from audiodiff.evaluation.uncertainty_figure import figure
from audiodiff.models.vocoder_model import VocoderModel
from audiodiff.nn.frontends.frontend import StftFrontend
from audiodiff.nn.network import Network

RATE, SPEC = 16000, PRESETS["speech_16k"]
CLIP = Clip("c/one", "one.flac", 4.0, RATE, split="test")


def tone(f0, seconds=4.0):
    time = np.arange(round(seconds * RATE)) / RATE
    harmonics = np.arange(1, 12)[:, None]
    noise = np.random.default_rng(0).standard_normal(len(time))
    return (0.05 * (np.sin(2 * np.pi * f0 * harmonics * time) / harmonics).sum(0) + 0.003 * noise).astype(np.float32)


def test_takes_of_several_levels_spread_by_their_decibels():
    decibels = np.array([-3.0, 0.0, 6.0])
    takes = (10 ** (decibels / 20))[:, None].astype(np.float32) * tone(150)
    spread = measure(CLIP, takes, None, SPEC)
    expected = decibels.std(ddof=1)
    assert spread.decibels == pytest.approx(expected, abs=0.05)
    assert spread.metric("level") == pytest.approx(expected, abs=1e-3)
    assert spread.metric("pitch") == pytest.approx(0, abs=0.01)
    assert spread.metrics["level"].shape == (3, 2) and set(spread.metrics) == {"level", "pitch"}


def test_takes_of_several_pitches_spread_by_their_semitones():
    takes = np.stack([tone(150 * 2 ** (shift / 12)) for shift in (-1, 0, 1)])
    spread = measure(CLIP, takes, None, SPEC)
    assert spread.metric("pitch") == pytest.approx(1, abs=0.05)
    assert spread.metrics["pitch"].mean() == pytest.approx(12 * np.log2(1.5), abs=0.05)


def test_equal_takes_have_no_spread_and_scores_of_the_recording():
    spread = measure(CLIP, np.stack([tone(150)] * 2), tone(150), SPEC)
    assert spread.decibels == 0 and all(spread.metric(name) == 0 for name in ("level", "pitch", "mr_stft"))
    np.testing.assert_allclose(spread.metrics["mr_stft"], 0, atol=1e-6)


def test_silence_has_no_pitch_and_near_silence_does_not_count():
    silent = Spread(CLIP, np.array([[0.0, -90.0]]), np.array([[1.0, 30.0]]), {"pitch": np.full((2, 1), np.nan)})
    assert silent.decibels == 1 and np.isnan(silent.metric("pitch"))


def test_takes_have_one_length():
    def synthesize(seed):
        return Audio(torch.full((1, 100 + seed), 2.0), RATE)

    assert takes_of(synthesize, 3).shape == (3, 100) and takes_of(synthesize, 3, 110).shape == (3, 110)
    assert takes_of(synthesize, 2).max() == 1


def test_the_figure_is_a_picture():
    spread = measure(CLIP, np.stack([tone(150), tone(160)]), None, SPEC)
    uri = figure(spread.mel, spread.deviation, spread.metrics, SPEC.hop_length / RATE, 2.0)
    picture = Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/png;base64,"))))
    assert picture.width > 900 and picture.height > 500


def test_the_command(tmp_path):
    soundfile.write(tmp_path / "one.flac", tone(150, 1.0), RATE)
    soundfile.write(tmp_path / "two.flac", tone(200, 1.2), RATE)
    clips = (Clip("c/one", "one.flac", 1.0, RATE, split="test"), Clip("c/two", "two.flac", 1.2, RATE, split="test"))
    Manifest(clips, tmp_path).save()
    network = Network(StftFrontend(), SPEC.n_mels, SPEC.hop_length, channels=[16, 16], blocks=[1, 1])
    torch.nn.init.normal_(network.unet.conv_out.weight, std=0.05)  # as if training had moved it
    VocoderModel(network, Cosine(), V(), SPEC, MelPrior(SPEC)).save_pretrained(tmp_path / "model")
    words = ["report", "uncertainty", "--model", tmp_path / "model", "--data", tmp_path, "--report", tmp_path / "out"]
    result = CliRunner().invoke(build(), [*map(str, words), "--steps", "1", "--seeds", "3"])
    assert result.exit_code == 0, result.output
    assert "| c/two |" in result.output and result.output.strip().endswith("report.html")
    found = json.loads((tmp_path / "out" / "report.json").read_text())
    assert found["seeds"] == 3 and [clip["id"] for clip in found["clips"]] == ["c/one", "c/two"]
    assert found["means"]["mel"]["mean"] > 0.5 and len(found["clips"][0]["segments"]["level"][0]) == 3
    assert (tmp_path / "out" / "report.html").read_text().count("data:image/png") == 2
    error = CliRunner().invoke(build(), [*map(str, words), "--seeds", "1"]).exception
    assert isinstance(error, UserError) and str(error).startswith("seeds 1: have no spread")
