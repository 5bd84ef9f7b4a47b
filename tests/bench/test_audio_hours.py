"""Quality against audio seen: the trend, its interval, and the page."""

import audio_hours
import numpy as np
import pytest

from audiodiff.errors import UserError


def test_the_gain_per_doubling_of_a_line_is_its_slope():
    hours, rng = [1.0, 2.0, 4.0, 8.0], np.random.default_rng(0)
    clips = 2 + 0.15 * np.log2(hours)[:, None] + rng.normal(0, 0.3, 30)  # clips differ in level only
    assert audio_hours.per_doubling(hours, clips) == pytest.approx((0.15, 0.15, 0.15))


def test_intervals_cover_the_true_gain():
    hours, covered = [1.0, 2.0, 4.0], 0
    for seed in range(100):
        slopes = 0.1 + 0.05 * np.random.default_rng(seed).standard_normal(30)
        _, low, high = audio_hours.per_doubling(hours, np.log2(hours)[:, None] * slopes)
        covered += low <= 0.1 <= high
    assert 88 <= covered <= 100


def test_hours_of_the_weights_that_a_run_started_from_count_and_those_of_a_codec_do_not():
    training = {"audio_hours": 2.0, "started_from": {"audio_hours": 3.0}, "codec": {"audio_hours": 50.0}}
    assert audio_hours.hours_seen(training) == 5.0


def test_the_page_has_a_line_for_every_export_and_the_trend(tmp_path):
    names = ("1 alone", "1 + 16 iterations")
    exports = {
        f"step_{number}": {"hours": hours, "scores": {name: [value, value + 1, float("nan")] for name in names}}
        for number, (hours, value) in enumerate(((4.0, 2.4), (2.0, 2.2), (1.0, 2.0)))
    }
    record = {"clips": "abc", "exports": exports}
    text = audio_hours.page(record, "data/x")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert rows[2:] == [
        "| 1.00 | 2.500 | 2.500 |",
        "| 2.00 | 2.700 | 2.700 |",
        "| 4.00 | 2.900 | 2.900 |",
        "| per doubling | +0.200 [+0.200, +0.200] | +0.200 [+0.200, +0.200] |",
    ]
    audio_hours.plot(record, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_a_run_without_history_is_named(tmp_path):
    with pytest.raises(UserError, match="has kept no exports"):
        audio_hours.measure([tmp_path], "data", 3, [1], 16, tmp_path)


def test_exports_are_scored_once(tmp_path, model_folder, monkeypatch, recording):
    from audiodiff.audio.io import write
    from audiodiff.data.manifest import Clip

    write(tmp_path / "data/a.flac", recording(16000))
    audio_hours.Manifest((Clip("a", "a.flac", 1.0, 16000, split="test"),), tmp_path / "data").save()
    runs = [tmp_path / "first", tmp_path / "second"]
    for run in runs:
        (run / "history").mkdir(parents=True)
        (run / "history/step_000000001").symlink_to(model_folder)
    given = (runs, str(tmp_path / "data"), 3, [1], 2, tmp_path / "out")
    monkeypatch.setattr(audio_hours, "METRICS", {"pesq": lambda reference, output, rate: float(output.std())})
    record = audio_hours.measure(*given)
    assert set(record["exports"]) == {"first/step_000000001", "second/step_000000001"}  # steps count from 0 in each
    values = record["exports"]["second/step_000000001"]
    assert set(values["scores"]) == {"1 alone", "1 + 2 iterations"}
    assert values["scores"]["1 alone"] != values["scores"]["1 + 2 iterations"]
    monkeypatch.setattr(audio_hours, "METRICS", {})  # nothing is scored again
    assert audio_hours.measure(*given) == record


def test_one_step_of_a_sampler_that_needs_two_is_ddim(tiny, recording, monkeypatch, tmp_path):
    from audiodiff.audio.io import write
    from audiodiff.data.manifest import Clip

    write(tmp_path / "a.flac", recording(8000))
    manifest = audio_hours.Manifest((Clip("a", "a.flac", 0.5, 16000, split="test"),), tmp_path)
    monkeypatch.setattr(audio_hours, "METRICS", {"pesq": lambda reference, output, rate: float(output.std())})
    found = [
        audio_hours.scores(audio_hours.Vocoder(tiny(sampler=name, steps=2)), manifest, manifest.clips, 1, 0)
        for name in ("dpmpp_2m", "ddim")
    ]
    assert found[0] == found[1]
