"""Evaluation of upsamplers: a perfect one scores best, baselines stand beside it, the report has all of them."""

import json

import numpy as np
import pytest
import soundfile
import torch

from audiodiff.audio.band import lowpass
from audiodiff.audio.io import Audio, resample
from audiodiff.cli import build as application
from audiodiff.data.preparation import prepare
from audiodiff.evaluation.held_out import Settings
from audiodiff.evaluation.upsampling_evaluation import RECORDING, evaluate, fold
from audiodiff.pipelines.upsampler import Upsampler


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("speech")
    (root / "in").mkdir()
    for number in range(40):
        sound = 0.1 * np.random.default_rng(number).standard_normal(12000)
        soundfile.write(root / "in" / f"{number}.wav", sound, 16000)
    return prepare([f"music:{root / 'in'}"], root / "out")


class Perfect(Upsampler):
    """It knows the recordings."""

    def upsample(self, audio, steps=None, **options):
        for clip in self.clips:
            if torch.equal(resample(clip, 16000, 8000), audio.samples):
                return Audio(clip, 16000)
        raise AssertionError("another recording")


def test_a_perfect_upsampler_scores_best_and_baselines_in_between(data, make_upsampler):
    perfect, random = Perfect(make_upsampler()), Upsampler(make_upsampler())
    clips = [soundfile.read(data.path(clip), dtype="float32")[0] for clip in data.clips]
    perfect.clips = [torch.from_numpy(clip).clamp(-1, 1) for clip in clips]
    models = {"perfect": (perfect, None), "random": (random, 1)}
    rows = evaluate(models, data, Settings(limit=2), names=["stoi"], quiet=True).rows
    assert list(rows) == [RECORDING, "sinc interpolation", "spectral folding", "perfect", "random"]
    for metric in ("lsd", "lsd_new"):
        means = {name: row.scores[metric].mean for name, row in rows.items()}
        assert means["perfect"] == means[RECORDING] == 0
        assert 0 < means["spectral folding"] < means["sinc interpolation"]
    assert rows[RECORDING].times_real_time is None and rows["random"].times_real_time > 0


def test_folding_mirrors_the_band_at_the_cutoff():
    place = torch.arange(16000)
    tone = (2 * torch.pi * 3000 / 16000 * place).sin()
    folded = fold(tone, 4000, 16000, decibels=0)
    new = folded - tone
    spectrum = torch.fft.rfft(new[2000:14000]).abs()
    assert int(spectrum.argmax()) * 16000 / 12000 == pytest.approx(5000, abs=2)
    assert new[2000:14000].square().mean() == pytest.approx(0.5, rel=0.05)
    assert lowpass(new[None], torch.tensor([4000.0]), 16000)[0, 2000:14000].abs().max() < 1e-4


def test_the_command(data, make_upsampler, tmp_path, capsys):
    make_upsampler().save_pretrained(tmp_path / "model")
    words = ["evaluate", "--model", tmp_path / "model", "--data", data.root, "--report", tmp_path / "r", "--limit", "1"]
    application()([*map(str, words), "--device", "cpu"], standalone_mode=False)
    assert "| spectral folding |" in capsys.readouterr().out
    found = json.loads((tmp_path / "r" / "report.json").read_text())
    assert found["source_rate"] == 8000 and set(found["rows"]) == {
        *(RECORDING, "sinc interpolation", "spectral folding", "network, 2 steps"),
    }
    assert (tmp_path / "r" / "report.html").read_text().count("<audio") == 4
