"""Evaluation of generators: noise is far from recordings, real clips are close, copies are detected."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch

from audiodiff.audio.io import Audio, read
from audiodiff.cli import build as application
from audiodiff.data.manifest import Clip, Manifest
from audiodiff.data.preparation import prepare
from audiodiff.errors import UserError
from audiodiff.evaluation import generation_evaluation
from audiodiff.evaluation.generation_evaluation import (
    GENERATED,
    HELD_OUT,
    RECONSTRUCTED,
    TRAINING,
    UNTRAINED,
    evaluate,
    memorization,
)
from audiodiff.evaluation.generation_report import generation_report
from audiodiff.evaluation.held_out import Settings, of_labels
from audiodiff.evaluation.report import markdown, write
from audiodiff.metrics.distribution import Spread
from audiodiff.pipelines.seeds import clip_seeds

RATE, SAMPLES = 8000, 4000


def stroke(seed: int) -> np.ndarray:
    """A decaying tone in noise, of random pitch, decay and noise level."""
    rng = np.random.default_rng(seed)
    time = np.arange(SAMPLES) / RATE
    wave = np.sin(2 * np.pi * rng.uniform(100, 1500) * time) + rng.uniform(0.01, 0.5) * rng.standard_normal(SAMPLES)
    return 0.4 * wave * np.exp(-rng.uniform(5, 30) * time)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("strokes")
    (root / "in").mkdir()
    for number in range(330):
        soundfile.write(root / "in" / f"{number}.wav", stroke(number), RATE)
    return prepare([f"music:{root / 'in'}"], root / "out")


def maker(make, labels=(), codec=None):
    """A generator whose clip of a seed is `make(seed)` (T,)."""
    model = SimpleNamespace(labels=labels, samples=SAMPLES, channels=1, default_steps=2, codec=codec)

    def generate(clip_seeds, **_):
        clips = np.stack([make(seed) for seed in clip_seeds])[:, None].astype(np.float32)
        return Audio(torch.from_numpy(clips), RATE)

    where = {"device": torch.device("cpu"), "model_hash": "0" * 64, "training": {}}
    return SimpleNamespace(model=model, sample_rate=RATE, generate=generate, **where)


def noise(seed: int) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal(SAMPLES)


SETTINGS = Settings(limit=64, steps=2)


def test_real_clips_are_close_and_noise_is_far(data):
    report, clips = evaluate(maker(lambda seed: stroke(seed)), maker(noise), data, SETTINGS)
    assert len(clips) == 16 and {clip.shape for clip in clips.values()} == {(1, SAMPLES)}
    floor, real, far = (report.rows[name].distances for name in (TRAINING, GENERATED, UNTRAINED))
    for name in floor:
        assert far[name].low > 3 * max(floor[name].high, real[name].high)
    assert report.ratio["Frechet"] < 1.5
    assert report.rows[GENERATED].nearest.median > 0.5 * report.held_out.median
    assert report.rows[UNTRAINED].crest_db < 15 < report.rows[TRAINING].crest_db
    assert report.rows[GENERATED].variety == pytest.approx(1, abs=0.25)
    assert "no sign of memorization" in markdown(generation_report(report, clips, RATE))


def test_copies_are_detected(data):
    trained_on = data.with_splits("train").clips
    copies = maker(lambda seed: read(data.path(trained_on[seed % len(trained_on)])).samples.numpy())
    report, clips = evaluate(copies, None, data, SETTINGS)
    assert report.ratio["Frechet"] < 1.5
    assert report.rows[GENERATED].nearest.median < 0.1 * report.held_out.median
    assert "may have memorized" in markdown(generation_report(report, clips, RATE))


def test_halves_of_the_held_out_clips_are_closest_to_each_other(data):
    report, _ = evaluate(maker(noise), None, data, SETTINGS)
    assert report.halves.keys() == {HELD_OUT, TRAINING, GENERATED}
    other, training, generated = (report.halves[name]["kernel"] for name in (HELD_OUT, TRAINING, GENERATED))
    assert (
        abs(other.median) < 1 and abs(training.median) < 1 < 3 < generated.low
    )  # 0 in expectation between halves of one set


def test_each_clip_has_its_nearest_training_clip(data):
    trained_on = data.with_splits("train").clips
    copied = maker(
        lambda seed: 0.0 * stroke(0) if seed % 5 == 0 else read(data.path(trained_on[seed % 50])).samples.numpy()
    )
    report, clips = evaluate(copied, None, data, SETTINGS)
    seeds = clip_seeds(0, SETTINGS.limit)
    assert [one.clip for one in report.neighbors] == [number for number, seed in enumerate(seeds) if seed % 5]
    for one in report.neighbors:
        assert one.nearest == trained_on[seeds[one.clip] % 50].id and one.distance < 1e-6 and one.seconds == 0
    text = markdown(generation_report(report, clips, RATE))
    assert f"| {report.neighbors[0].clip:04d} | {report.neighbors[0].nearest}, at 0.0 s | 0.00 |" in text


def test_training_clips_are_as_close_to_each_other_as_held_out_ones(data):
    """Each clip of this corpus is a piece."""
    report, _ = evaluate(maker(stroke), None, data, SETTINGS)
    assert report.rows[TRAINING].nearest.median == pytest.approx(report.held_out.median, rel=0.2)


@pytest.mark.parametrize(
    ("generated", "training", "held_out", "text"),
    [
        (2.0, 1.5, 2.0, "no sign of memorization"),
        (2.0, 3.0, 2.0, "no sign of memorization"),
        (1.9, 1.9, 2.0, "but not closer than training clips"),
        (1.8, 1.9, 2.0, "may have memorized"),
        (1.8, 2.1, 2.0, "may have memorized"),
    ],
)
def test_memorization_is_judged_by_held_out_and_training_clips(generated, training, held_out, text):
    medians = {GENERATED: generated, TRAINING: training}
    rows = {name: SimpleNamespace(nearest=Spread(x, x, x)) for name, x in medians.items()}
    assert text in memorization(SimpleNamespace(rows=rows, held_out=Spread(held_out, held_out, held_out)))


def test_a_latent_model_has_a_row_for_its_codec(data):
    """A codec that keeps every sample reaches the floor; one that keeps every eighth does not."""

    def codec(step):
        parts = {"encode": lambda x: x[..., ::step], "decode": lambda z, n: z.repeat_interleave(step, -1)[..., :n]}
        return SimpleNamespace(**parts)

    near, far = (evaluate(maker(stroke, codec=codec(step)), None, data, SETTINGS)[0].rows for step in (1, 8))
    assert near[RECONSTRUCTED].distances == near[TRAINING].distances and near[RECONSTRUCTED].nearest.median < 1e-6
    assert far[RECONSTRUCTED].distances["Frechet"].low > 2 * far[TRAINING].distances["Frechet"].high
    assert near.keys() == {TRAINING, GENERATED, RECONSTRUCTED}


def test_a_repeated_clip_has_no_variety(data):
    report, _ = evaluate(maker(lambda _: stroke(7)), None, data, SETTINGS)
    assert report.rows[GENERATED].variety < 0.01


def test_the_report_is_written(data, tmp_path):
    report = generation_report(*evaluate(maker(stroke), None, data, SETTINGS), RATE)
    write(report, tmp_path)
    assert (tmp_path / "report.md").read_text() == markdown(report)
    content = json.loads((tmp_path / "report.json").read_text())
    assert (
        content["rows"][GENERATED]["clips"] == 64 and content["ratio"].keys() == generation_evaluation.DISTANCES.keys()
    )
    assert len(list((tmp_path / "clips").glob("*.wav"))) == 16


@pytest.mark.parametrize(
    ("make", "settings", "message"),
    [
        (stroke, Settings(limit=5), "limit 5: .*20"),
        (lambda seed: stroke(seed) * (seed % 7 == 0), SETTINGS, r"generated: \d+ of 64 clips are silent"),
    ],
)
def test_too_few_clips_are_refused(data, make, settings, message):
    with pytest.raises(UserError, match=message) as error:
        evaluate(maker(make), None, data, settings)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("limit", [10, 0, -1])
def test_the_command_line_refuses_too_few_clips(data, tmp_path, limit):
    words = ["evaluate", "--model", "drums", "--data", data.root, "--report", tmp_path / "r", "--limit", limit]
    with pytest.raises(UserError, match=f"^--limit {limit}: .*--limit 20"):
        application()(list(map(str, words)), standalone_mode=False)
    assert not (tmp_path / "r").exists()


def test_a_model_of_labels_is_compared_with_clips_of_them_or_with_unlabeled_ones():
    """One that is conditioned on labels may have been trained on recordings without any as well."""
    clips = tuple(Clip(name, f"{name}.wav", 1.0, 8000, label=label) for name, label in (("a", "rock"), ("b", "")))
    some, none = Manifest(clips, Path()), Manifest(clips[1:], Path())
    assert [clip.id for clip in of_labels(some, ["rock"]).clips] == ["a"]
    assert not of_labels(Manifest(clips[:1], Path()), ["gong"]).clips
    assert of_labels(some, []) == some and of_labels(none, ["rock"]) == of_labels(some, ["waltz"]) == none
