"""Quality by group: differences that are there are found, those that are not are not."""

import json
from dataclasses import replace

import numpy as np
import pytest
import soundfile
from tiny_models import random_upsampler
from typer.testing import CliRunner

from audiodiff.audio.mel import PRESETS
from audiodiff.audio.prior import MelPrior
from audiodiff.cli import build
from audiodiff.data.manifest import Clip, Manifest
from audiodiff.diffusion.objective import V
from audiodiff.diffusion.schedules.schedule import Cosine
from audiodiff.errors import UserError
from audiodiff.evaluation import bias
from audiodiff.evaluation.record import Block, Row
from audiodiff.evaluation.report import html, markdown
from audiodiff.evaluation.statistics import Interval
from audiodiff.models.vocoder_model import VocoderModel
from audiodiff.nn.frontends.frontend import StftFrontend
from audiodiff.nn.network import Network

RATE = 16000
SPEAKERS = {"low": {"sex": "male"}, "high": {"sex": "female"}}


def tone(f0, level, seconds=0.6):
    time = np.arange(round(seconds * RATE)) / RATE
    harmonics = np.arange(1, 8)[:, None]
    return (level * (np.sin(2 * np.pi * f0 * harmonics * time) / harmonics).sum(0)).astype(np.float32)


class Evaluation:
    """Clips of two speakers, a low and a high one, of whom the model is worse for the high one."""

    def __init__(self, loss=0.5, clips=30):
        self.sample_rate, self.model = RATE, {"hash": "0" * 64, "parameters": 1}
        self.environment = {"date": "2026-01-01T00:00:00"}
        random = np.random.default_rng(0)
        pitches = np.where(np.arange(clips) % 2, 220.0, 110.0) * random.uniform(0.95, 1.05, clips)
        names = ["high" if number % 2 else "low" for number in range(clips)]
        self.clips = [
            Clip(f"c/{number:02}", "", 0.6, RATE, speaker=name, language="en", split="test")
            for number, name in enumerate(names)
        ]
        levels = random.uniform(0.01, 0.2, clips)
        self.waveforms = {bias.RECORDINGS: list(map(tone, pitches, levels))}
        self.block = Block("held-out", 0, [clip.id for clip in self.clips], "", 18.0, ["test"])
        truth = {"pesq": np.full(clips, 4.64), "dnsmos": random.normal(3, 0.1, clips)}
        own = random.normal(3.5, 0.1, clips) - loss * (np.arange(clips) % 2)
        self.block.rows[bias.RECORDINGS] = Row("Recordings", scores=truth)
        self.block.rows["network"] = Row("Network", scores={"pesq": own, "dnsmos": truth["dnsmos"] - 0.2})


def test_a_group_that_is_worse_is_named():
    report = bias.bias_report(Evaluation(), "network", SPEAKERS)
    assert "speaker high: PESQ-WB −0.49" in report.lead[1] and "sex female: PESQ-WB" in report.lead[1]
    assert "low" not in report.lead[1].replace("below", "")
    found = report.data["attributes"]
    assert list(found) == ["speaker", "sex", "pitch", "loudness"]  # all have one language
    assert report.warnings == ["All clips have one language or none."]
    gain = found["speaker"]["high"]["differences"]["pesq"]
    assert gain["low"] < -0.4 and gain["high"] > -0.7 and gain["high"] < 0
    assert found["sex"]["female"]["clips"] == found["speaker"]["high"]["clips"] == list(range(1, 30, 2))
    text = markdown(report)
    assert "| high | 15 |" in text and ", bad)" in text and "</html>" in html(report)
    below, _, above = (line for line in text.splitlines() if " Hz |" in line)
    assert below.startswith("| below") and above.startswith("| above")


def test_a_poor_recording_is_no_poor_model():
    """The model takes 0.2 from every clip: that recordings of one speaker score less is not its fault."""
    evaluation = Evaluation(loss=0)
    for row in evaluation.block.rows.values():
        row.scores["dnsmos"] = row.scores["dnsmos"] - (np.arange(30) % 2)
    report = bias.bias_report(evaluation, "network", SPEAKERS)
    assert report.lead[1] == "No group is worse than the others."
    means = {name: group["means"]["dnsmos"]["mean"] for name, group in report.data["attributes"]["speaker"].items()}
    assert means["low"] - means["high"] == pytest.approx(1, abs=0.1)


def test_intervals_hold_at_once():
    """Of 14 comparisons without a difference, at the level that Bonferroni's inequality gives, few find one."""
    random, found = np.random.default_rng(0), 0
    for _ in range(100):
        gains = [bias.difference(*random.normal(3, 0.1, (2, 15)), 1 - 0.05 / 14) for _ in range(14)]
        found += any(gain.low > 0 or gain.high < 0 for gain in gains)
    assert found <= 12


def test_a_difference_is_that_of_the_means():
    values, others = np.array([1.0, 2, 3, 4, np.nan, 5]), np.array([0.0, 1, 0, 1, 0, 1, 1, 0])
    found = bias.difference(values, others, 0.95)
    assert found.mean == pytest.approx(2.5) and found.low < 2.5 < found.high and found.clips == 5
    for few in (values[:4], np.ones(9)):
        assert bias.difference(few, np.ones(9), 0.95).clips == 0
    assert isinstance(found, Interval)


def test_pitch_and_thirds():
    assert bias.median_pitch(tone(150, 0.1), RATE) == pytest.approx(150, abs=1)
    assert np.isnan(bias.median_pitch(np.zeros(RATE, np.float32), RATE))
    found = bias.thirds([1, 2, 3, 4, 5, np.nan, 6], "Hz")
    assert found == ["below 3 Hz", "below 3 Hz", "3 to 4 Hz", "3 to 4 Hz", "above 4 Hz", "", "above 4 Hz"]
    assert bias.thirds([1.0, np.nan], "Hz") == ["", ""]


@pytest.mark.parametrize("content", ["", "name,sex\na,b\n", "speaker\na\n"])
def test_tables_of_speakers(tmp_path, content):
    path = tmp_path / "speakers.csv"
    path.write_text("speaker,sex,age\na,female,30\nb,,\nc,male\n")
    assert bias.read_speakers(path) == {
        "a": {"sex": "female", "age": "30"},
        "b": {"sex": "", "age": ""},
        "c": {"sex": "male", "age": ""},
    }
    path.write_text(content)
    with pytest.raises(UserError, match=r"speakers\.csv: has no column speaker"):
        bias.read_speakers(path)
    with pytest.raises(UserError, match="cannot be read"):
        bias.read_speakers(tmp_path / "absent.csv")


@pytest.mark.slow
def test_the_command(tmp_path):
    clips = []
    for number in range(4):
        soundfile.write(tmp_path / f"{number}.flac", tone(120 + 40 * number, 0.1, 1.0), RATE)
        clips.append(Clip(f"c/{number}", f"{number}.flac", 1.0, RATE, speaker="ab"[number % 2], split="test"))
    for name, some in (("one", clips[:2]), ("two", clips[2:])):
        moved = tuple(replace(clip, path=f"../{clip.path}") for clip in some)
        Manifest(moved, tmp_path / name).save()
    spec = PRESETS["speech_16k"]
    network = Network(StftFrontend(), spec.n_mels, spec.hop_length, channels=[16, 16], blocks=[1, 1])
    VocoderModel(network, Cosine(), V(), spec, MelPrior(spec)).save_pretrained(tmp_path / "model")
    (tmp_path / "speakers.csv").write_text("speaker,sex\na,male\n")
    words = ["report", "bias", "--model", tmp_path / "model", "--data", tmp_path / "one", "--data", tmp_path / "two"]
    words += ["--report", tmp_path / "out", "--steps", "1", "--speakers", tmp_path / "speakers.csv"]
    result = CliRunner().invoke(build(), list(map(str, words)))
    assert result.exit_code == 0, result.output
    assert result.output.strip().endswith("report.html") and "| a | 2 |" in result.output
    found = json.loads((tmp_path / "out" / "report.json").read_text())
    assert set(found["attributes"]) == {"speaker", "pitch", "loudness"} and len(found["clips"]) == 4
    (tmp_path / "speakers.csv").write_text("speaker,sex\nz,male\n")
    error = CliRunner().invoke(build(), list(map(str, words))).exception
    assert isinstance(error, UserError) and "speaker 'z': has no clip in" in str(error)
    assert isinstance(CliRunner().invoke(build(), ["report"]).exception, UserError)


def test_a_model_without_groups_is_refused(tmp_path):
    random_upsampler().save_pretrained(tmp_path / "model")
    words = ["report", "bias", "--model", tmp_path / "model", "--data", tmp_path, "--report", tmp_path / "out"]
    error = CliRunner().invoke(build(), list(map(str, words))).exception
    assert isinstance(error, UserError) and "is not evaluated by groups; choose a model of type" in str(error)
