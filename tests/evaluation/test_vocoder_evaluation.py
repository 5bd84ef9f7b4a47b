"""Evaluation of a vocoder, from a manifest and a small model to the report."""

import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch
import typer
from typer.testing import CliRunner

from audiodiff.audio.mel import PRESETS
from audiodiff.audio.prior import MelPrior
from audiodiff.cli.evaluate import evaluate as verb
from audiodiff.data.manifest import Clip, Manifest
from audiodiff.diffusion.objective import V
from audiodiff.diffusion.schedules.schedule import Cosine
from audiodiff.errors import UserError
from audiodiff.evaluation import report, vocoder_report
from audiodiff.evaluation.held_out import Settings, choose, clip_list_hash
from audiodiff.evaluation.scoring import Pair, score_all
from audiodiff.evaluation.statistics import Interval
from audiodiff.evaluation.vocoder_evaluation import evaluate
from audiodiff.metrics import REPORT_METRICS
from audiodiff.models.setting import Setting
from audiodiff.models.vocoder_model import VocoderModel
from audiodiff.nn.frontends.frontend import StftFrontend
from audiodiff.nn.network import Network
from audiodiff.pipelines.vocoder import Vocoder

RATE = 16000
ROWS = [
    "ground_truth",
    "griffin_lim",
    "world",
    "noise",
    "noise_consistency",
    "untrained",
    "network",
    "network_consistency",
]


def buzz(seconds: float, f0: float) -> np.ndarray:
    """A harmonic tone with a varying level, in faint noise."""
    time = np.arange(round(seconds * RATE)) / RATE
    harmonics = np.arange(1, int(6000 / f0))[:, None]
    tone = (np.sin(2 * np.pi * f0 * harmonics * time) / harmonics).sum(0) * np.sin(2 * np.pi * 1.5 * time) ** 2
    return (0.2 * tone + 1e-3 * np.random.default_rng(0).standard_normal(len(time))).astype(np.float32)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory) -> Manifest:
    root = tmp_path_factory.mktemp("data")
    clips = []
    for name, seconds, split, f0 in (
        ("c/one", 1.2, "test", 140),
        ("c/two", 1.0, "validation", 190),
        ("c/short", 0.3, "test", 140),
        ("c/learnt", 1.0, "train", 140),
    ):
        path = f"{name.replace('/', '-')}.flac"
        soundfile.write(root / path, buzz(seconds, f0), RATE)
        clips.append(Clip(name, path, seconds, RATE, f"<{name}> & so on", "nobody", split))
    manifest = Manifest(tuple(clips), root)
    manifest.save()
    return manifest


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(0)
    spec = PRESETS["speech_16k"]
    network = Network(StftFrontend(), spec.n_mels, spec.hop_length, channels=[16, 16], blocks=[1, 1])
    torch.nn.init.normal_(network.unet.conv_out.weight, std=0.05)  # as if training had moved it
    folder = tmp_path_factory.mktemp("model")
    VocoderModel(network, Cosine(), V(), spec, MelPrior(spec), settings=[Setting(consistency=8)]).save_pretrained(
        folder
    )
    return folder


@pytest.fixture(scope="module")
def evaluation(manifest, folder):
    vocoder, untrained = Vocoder.from_pretrained(folder), Vocoder.untrained(folder)
    return evaluate(vocoder, untrained, manifest, Settings(steps=2), workers=0, quiet=True)


@pytest.fixture(scope="module")
def written(evaluation, tmp_path_factory):
    page = vocoder_report.vocoder_report(evaluation)
    return report.write(page, tmp_path_factory.mktemp("report") / "deep" / "down")


def test_every_system_is_scored(evaluation):
    assert list(evaluation.block.rows) == list(evaluation.waveforms) == ROWS
    for name, row in evaluation.block.rows.items():
        assert set(row.scores) == set(REPORT_METRICS)
        assert all(len(scores) == 2 for scores in row.scores.values())
        assert [len(waveform) for waveform in evaluation.waveforms[name]] == [19200, 16000]
        assert all(np.abs(waveform).max() <= 1 for waveform in evaluation.waveforms[name])
    assert evaluation.too_short == 1


def test_the_recording_scores_best_and_consistency_helps(evaluation):
    block, rows = evaluation.block, evaluation.block.rows
    truth = rows["ground_truth"]
    assert block.interval(truth, "pesq").mean == pytest.approx(4.644, abs=1e-3)
    assert block.interval(truth, "mr_stft").mean == 0
    assert truth.times_real_time is None
    assert all(row.times_real_time > 0 for name, row in rows.items() if name != "ground_truth")
    for name in ("noise", "untrained"):
        projected = rows[f"{name.replace('untrained', 'network')}_consistency"]
        assert block.gain(projected, rows[name], "mr_stft").high < 0


def test_the_untrained_network_differs_from_the_trained_one(evaluation):
    waveforms = evaluation.waveforms
    assert not np.allclose(waveforms["untrained"][0], waveforms["network"][0])
    # With a zero output layer the network only scales its noise, which is that of the noise row.
    cosine = np.corrcoef(waveforms["untrained"][0], waveforms["noise"][0])[0, 1]
    assert cosine > 0.99


def test_a_clip_does_not_depend_on_the_other_clips(evaluation, manifest, folder):
    one = evaluate(
        Vocoder.from_pretrained(folder), None, manifest, Settings(steps=2, limit=1, baselines=False), 0, quiet=True
    )
    assert list(one.waveforms) == ["ground_truth", "network", "network_consistency"]
    i = [clip.id for clip in evaluation.clips].index(one.clips[0].id)
    for name, waveforms in one.waveforms.items():
        np.testing.assert_array_equal(waveforms[0], evaluation.waveforms[name][i])


def test_report_json_has_all_results(evaluation, written):
    found = json.loads((written.parent / "report.json").read_text())
    assert list(found["rows"]) == ROWS and found["data"]["clips"] == 2 == len(found["clips"])
    assert found["data"]["clip_list_sha256"] == clip_list_hash(evaluation.clips)
    settings = {"steps": 2, "sampler": None, "seed": 0, "limit": None, "splits": ["validation", "test"]}
    assert found["settings"] == settings | {"baselines": True, "embedding": "", "guidance_scales": []}
    assert found["model"]["hash"] and found["model"]["sampler"] == "recommended" and found["model"]["consistency"] == 8
    assert found["environment"]["torch"] == torch.__version__
    for row in found["rows"].values():
        for score in row["scores"].values():
            values = score["by_clip"]
            scored = [value for value in values if value is not None]
            assert score["clips"] == len(scored)
            if scored:
                assert (
                    score["mean"] == pytest.approx(np.mean(scored)) and score["low"] <= score["mean"] <= score["high"]
                )
    assert {(one["row"], one["other"]) for one in found["differences"]} == set(vocoder_report.COMPARISONS)


def test_the_page_has_no_external_resources(written):
    page = written.read_text()
    assert page.startswith("<!doctype html>") and page.rstrip().endswith("</html>")
    assert not re.search(r"""(src|href)\s*=(?!"data:)|url\(|@import|https?://""", page)
    assert page.count("<audio") == 2 * len(ROWS) and page.count("<img") == 2
    assert "&lt;c/one&gt; &amp; so on" in page and "<c/one>" not in page
    for metric in REPORT_METRICS.values():
        assert metric.label in page
    assert "Fewer than 50 clips" in page


def test_a_report_is_written_completely_or_not_at_all(evaluation, tmp_path, limit_files):
    report.write(vocoder_report.vocoder_report(evaluation), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    other = vocoder_report.vocoder_report(replace(evaluation, settings=replace(evaluation.settings, seed=5)))
    limit = limit_files(len(before["report.html"]) - 1000)
    with limit, pytest.raises(UserError, match=r"report\.html: cannot be written \(File too large\)"):
        report.write(other, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    report.write(other, tmp_path)
    assert json.loads((tmp_path / "report.json").read_bytes()) != json.loads(before["report.json"])


def test_a_read_only_folder_is_refused_first(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(UserError, match="read-only"):
        report.make_folder(tmp_path)


def test_a_report_without_baselines(manifest, folder, tmp_path):
    settings = Settings(steps=1, limit=1, baselines=False)
    found = evaluate(Vocoder.from_pretrained(folder), None, manifest, settings, 0, quiet=True)
    page = report.write(vocoder_report.vocoder_report(found), tmp_path).read_text()
    assert "Griffin-Lim" not in page and "<h2>Differences</h2>" not in page


def test_undefined_scores_are_stated(evaluation):
    row = evaluation.block.rows["network"]
    before = row.scores["f0_rmse"].copy()
    try:
        row.scores["f0_rmse"][:] = [math.nan, 30.0]
        assert "1 of 2 clips" in report.html(vocoder_report.vocoder_report(evaluation))
        row.scores["f0_rmse"][:] = math.nan
        assert "no clip is scored" in report.html(vocoder_report.vocoder_report(evaluation))
        found = json.loads(json.dumps(report.plain(vocoder_report.summary(evaluation)), allow_nan=False))
        stored = found["rows"]["network"]["scores"]["f0_rmse"]
        assert stored == {"mean": None, "low": None, "high": None, "clips": 0, "by_clip": [None, None]}
    finally:
        row.scores["f0_rmse"][:] = before


@pytest.mark.parametrize(
    ("metric", "low", "high", "expected"),
    [
        ("pesq", 0.1, 0.2, "better"),
        ("pesq", -0.2, -0.1, "worse"),
        ("mcd", 0.1, 0.2, "worse"),
        ("mcd", -0.2, -0.1, "better"),
        ("mcd", -0.1, 0.1, "undecided"),
    ],
)
def test_outcomes_follow_the_direction_of_the_metric(metric, low, high, expected):
    assert vocoder_report.outcome(REPORT_METRICS[metric], Interval((low + high) / 2, low, high, 50)) == expected


def test_examples_are_sorted_by_length(evaluation):
    assert vocoder_report.example_clips(evaluation) == [1, 0]


def test_chosen_clips_are_stable_and_nested(manifest):
    clips, too_short = choose(manifest)
    assert [clip.id for clip in clips] == ["c/one", "c/two"] and too_short == 1
    one, _ = choose(manifest, limit=1)
    assert set(one) < set(clips)
    assert clip_list_hash(clips) == clip_list_hash(clips[::-1]) != clip_list_hash(one)
    assert [clip.id for clip in choose(manifest, ("train",))[0]] == ["c/learnt"]


@pytest.mark.parametrize("settings", [{"limit": 0}, {"splits": ("nope",)}, {"splits": ()}])
def test_no_clips_are_refused(manifest, settings):
    with pytest.raises(UserError):
        choose(manifest, **settings)


@pytest.mark.slow
def test_parallel_scores_equal_serial_ones():
    rng = np.random.default_rng(0)
    pairs = []
    for f0 in (130, 170, 210):
        clean = buzz(1.0, f0)
        pairs.append(Pair(clean, {"a": clean, "b": clean + rng.normal(0, 0.01, len(clean)).astype(np.float32)}, RATE))
    alone = [one.scores for one in score_all(pairs, workers=0)]
    together = [one.scores for one in score_all(pairs, workers=2)]
    for one, other in zip(alone, together, strict=True):
        for system in one:
            assert one[system] == pytest.approx(other[system], rel=1e-5, nan_ok=True)


def _run(*arguments):
    app = typer.Typer()
    app.command()(verb)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.mark.slow
def test_the_command_prints_the_page_last(manifest, folder, tmp_path):
    found = _run(
        "--model", folder, "--data", manifest.root, "--report", tmp_path, "--steps", 1, "--limit", 1, "--no-baselines"
    )
    assert found.exception is None, found.output
    assert found.stdout.splitlines()[-1] == str(tmp_path / "report.html")


def test_the_command_refuses_bad_options_in_one_line(manifest, folder, tmp_path):
    good = {"--model": folder, "--data": manifest.root, "--report": tmp_path / "out"}
    for bad in (
        {"--model": tmp_path / "none"},
        {"--data": tmp_path / "none"},
        {"--sampler": "nope"},
        {"--split": "nope"},
        {"--limit": 0},
        {"--device": "nope"},
        {"--steps": 0},
        {"--report": manifest.root / "manifest.jsonl" / "below"},
    ):
        found = _run(*(item for pair in (good | bad).items() for item in pair))
        assert isinstance(found.exception, UserError), (bad, found.exception)
        assert "\n" not in str(found.exception)
    assert not (tmp_path / "out" / "report.html").exists()
