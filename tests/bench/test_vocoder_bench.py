"""The vocoder bench: everybody gets the same, is scored by the same, and scored follow from the numbers alone."""

import json
import math
import sys
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import torch
import vocoder_report
from vocoder_clock import ProcessorTimer
from vocoder_ours import Ours, Untrained, clock, network, row_name
from vocoder_synthesis import HeldOut, Row, scored, speeds
from vocoder_training import Course, Training, alone, peak_memory, train_for

from audiodiff.audio.mel import PRESETS
from audiodiff.audio.prior import MelPrior
from audiodiff.data.corpora.tones import write_tones
from audiodiff.data.manifest import Manifest
from audiodiff.diffusion.objective import V
from audiodiff.diffusion.schedules.schedule import Cosine
from audiodiff.errors import UserError
from audiodiff.evaluation.systems import System
from audiodiff.metrics import REPORT_METRICS
from audiodiff.models.setting import Setting
from audiodiff.models.vocoder_model import VocoderModel
from audiodiff.nn.frontends.frontend import StftFrontend
from audiodiff.nn.network import Network
from audiodiff.pipelines.vocoder import Vocoder
from audiodiff.training.datamodule import ManifestData

SPEC = PRESETS["speech_16k"]
RATE = SPEC.sample_rate


@pytest.fixture(scope="module")
def tones(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("tones")
    write_tones(folder, clips=6, seconds=0.8)
    return str(folder)


def course(data: str, seconds: float = 1e-3, **options) -> Course:
    given = {"crop_samples": 4096, "batch_size": 2, "seed": 3, "threads": 1, "device": "cpu", "recipe": ()}
    return Course((data,), SPEC, seconds=seconds, **given | options)


def row(name: str, contender: str, score: float = 0.0, speed: float = 1.0, clips: int = 4, **scores: float) -> Row:
    by_clip = {metric: [scores.get(metric, score) + 0.001 * n for n in range(clips)] for metric in REPORT_METRICS}
    return Row(name, contender, name.title(), "What it is.", 300.0, by_clip, {"cpu": speed})


def rows(ours: float = 2.0, rival: float = 1.0, truth: float = 9.0, **scores: float) -> dict[str, Row]:
    """Metrics of which lower is better get the negative of a score."""

    def signed(score: float) -> dict[str, float]:
        return {name: score if metric.better == "higher" else -score for name, metric in REPORT_METRICS.items()}

    mine = [row(row_name(n, alone), "audiodiff", **signed(ours) | scores) for n in (1, 4, 6) for alone in (False, True)]
    others = [row("ground_truth", "untrained", **signed(truth)), row("world", "untrained", **signed(rival))]
    peers = [row(name, name, **signed(rival - 1)) for name in ("diffwave", "vocos")]
    return {one.name: one for one in (*others, *peers, *mine)}


def test_everybody_sees_the_crops_of_our_own_training(tones):
    data = ManifestData(tones, RATE, 4096, 2, seed=3)
    data.setup("fit")
    ours = torch.stack([data.crops[draw]["waveform"] for draw in range(4)])
    theirs = course(tones).batches()
    assert torch.equal(torch.cat([next(theirs), next(theirs)]), ours)


def test_crops_end_with_a_hop(tones):
    with pytest.raises(UserError, match=r"crop_samples=4100.*256"):
        course(tones, crop_samples=4100)


def test_training_ends_with_the_time_and_counts_what_was_heard(tones):
    shares = []

    def step(waveform: torch.Tensor, gone: float) -> torch.Tensor:
        shares.append(gone)
        return waveform.square().mean()

    found = train_for(course(tones, seconds=0.3), step, parameters=7)
    assert found.steps == len(shares) > 1 and found.seconds >= 0.3 and found.parameters == 7
    assert found.audio_seconds == pytest.approx(found.steps * 2 * 4096 / RATE)
    assert shares[0] == 0 and shares == sorted(shares) and shares[-1] < 1
    assert found.throughput == pytest.approx(found.audio_seconds / found.seconds)


def test_processor_time_passes_only_while_training_works(tones):
    def step(waveform: torch.Tensor, gone: float) -> torch.Tensor:
        time.sleep(0.2)
        return waveform.square().mean()

    given = course(tones, seconds=0.1, clock="processor")
    assert train_for(course(tones, seconds=0.1), step, 0).steps == 1 < train_for(given, step, 0).steps


def test_the_timer_of_our_training_counts_processor_time():
    timer = ProcessorTimer(duration=timedelta(seconds=60))
    timer.on_train_start(None, None)
    time.sleep(0.2)
    assert 0 <= timer.time_elapsed() < 0.15 and timer.time_remaining() == pytest.approx(60, abs=0.15)
    until = time.process_time() + 0.2
    while time.process_time() < until:
        pass
    assert 0.2 <= timer.time_elapsed() < 0.4


def test_clips_of_several_folders_are_trained_on(tones, tmp_path):
    write_tones(tmp_path / "tones", clips=3, seconds=0.5)
    manifest = Manifest.load(tmp_path / "tones")
    renamed = tuple(replace(clip, id=f"more/{clip.id}") for clip in manifest.clips)
    Manifest(renamed, manifest.root).save()
    folders = (tones, str(tmp_path / "tones"))
    data = ManifestData(folders, RATE, 4096, 2, seed=3)
    data.setup("fit")
    assert {clip.id.split("/")[0] for clip in data.crops.manifest.clips} == {"tones", "more"}
    crops = replace(course(tones), data=folders).batches()
    assert torch.equal(next(crops), torch.stack([data.crops[draw]["waveform"] for draw in range(2)]))


def test_a_loss_that_is_not_finite_ends_the_training(tones):
    with pytest.raises(FloatingPointError, match="step 0"):
        train_for(course(tones), lambda *_: torch.tensor(math.nan), 0)


@pytest.mark.slow
def test_memory_is_that_of_the_process_alone():
    held = np.ones(2**27)  # a gibibyte
    assert peak_memory() > held.nbytes / 2**20 > alone(peak_memory) > 10


@pytest.mark.parametrize(
    ("seconds", "text"), [(480, "00:00:08:00"), (90061, "01:01:01:01"), (0.2, "00:00:00:01"), (59.7, "00:00:01:00")]
)
def test_the_time_is_written_as_the_trainer_reads_it(seconds, text):
    assert clock(seconds) == text


def test_better_follows_the_direction_of_the_metric_and_the_ground_truth_is_no_rival():
    aims = vocoder_report.quality_aims(rows())
    assert len(aims) == len(REPORT_METRICS) and all(aim.reached for aim in aims)
    assert all("better than World" in aim.by for aim in aims)
    worse = vocoder_report.quality_aims(rows(ours=0.5))
    assert all(aim.reached is False and "0.5" in aim.by and "worse than World" in aim.by for aim in worse)


def test_a_single_metric_may_be_missed():
    aims = {aim.statement.split(":")[0]: aim for aim in vocoder_report.quality_aims(rows(pesq=-1.0))}
    assert [name for name, aim in aims.items() if not aim.reached] == ["PESQ-WB"]
    assert "worse than 3 of 3: World, Diffwave, Vocos" in aims["PESQ-WB"].by


def test_metrics_without_scores_stay_open():
    unknown = rows()
    for one in unknown.values():
        one.scores["f0_rmse"] = [math.nan] * 4
    aims = vocoder_report.quality_aims(unknown)
    assert [aim.reached for aim in aims].count(None) == 1
    assert "| – |" in vocoder_report.quality_table(unknown)


@pytest.mark.parametrize(
    ("diffwave", "one", "four", "reached"),
    [
        (100.0, 2.0, 4.0, [True, True, True]),
        (99.0, 2.1, 4.1, [False, False, False]),
        (500.0, 0.5, 9.0, [True, True, False]),
    ],
)
def test_speed_is_held_against_the_rivals_of_the_same_run(diffwave, one, four, reached):
    found = rows()
    for name, speed in ((row_name(1), one), (row_name(4), four), (row_name(6), 1.0), ("vocos", 1.0)):
        found[name].speed["cpu"] = speed
    found["diffwave"].speed["cpu"] = diffwave
    aims = vocoder_report.speed_aims(found)
    assert [aim.reached for aim in aims] == reached
    assert aims[0].by.startswith(f"{diffwave:.1f} times") and aims[2].by.startswith(f"{four:.2f} times as long")


def test_page_and_json_hold_every_row(tmp_path):
    found = rows()
    found["world"].scores["pesq"][0] = math.nan
    trainings = {"vocos": Training(10, 20.0, 5.0, 13_000_000, 800.0)}
    text = vocoder_report.page(found, trainings, {"date": "today"}, "How.", "- notes")
    vocoder_report.write(found, trainings, {"date": "today"}, {"seed": 0}, text, tmp_path)
    assert (tmp_path / "vocoder.md").read_text() == text and "| vocos | 13.00 M | 5 | 10 | 20 | 4.00 | 800 |" in text
    record = json.loads((tmp_path / "vocoder.json").read_text())
    assert [one["name"] for one in record["rows"]] == list(found)
    assert record["rows"][1]["scores"]["pesq"]["by_clip"][0] is None and record["training"]["vocos"]["throughput"] == 4
    assert len(record["aims"]) == len(REPORT_METRICS) + 3
    tables = [block for block in text.split("\n\n") if block.startswith("|")]
    assert all(len({line.count("|") for line in table.splitlines()}) == 1 for table in tables) and len(tables) == 3


def test_timed_clips_are_spread_over_all_lengths():
    lengths = [700, 100, 500, 300, 900, 200]
    held_out = HeldOut([np.zeros(n) for n in lengths], [np.full((1, 1), n) for n in lengths], list(range(6)), 100)
    few = held_out.spread(3)
    assert [len(recording) for recording in few.recordings] in ([100, 300, 900], [100, 500, 900])
    assert [int(mel[0, 0]) for mel in few.mels] == [len(recording) for recording in few.recordings]
    assert sorted(map(len, held_out.spread(10).recordings)) == sorted(lengths)


def test_everything_is_timed_where_it_runs(tones):
    class Counting:
        name, rows = "counting", ("timed", "free")

        def systems(self, course: Course, work: Path, device: str) -> list[System]:
            if device != "cpu":
                return []
            made = [System("timed", "", "", lambda x, *_: x), System("free", "", "", lambda x, *_: x, timed=False)]
            return made

    held_out = HeldOut([np.zeros(RATE, np.float32)], [np.zeros((80, 63), np.float32)], [0], RATE)
    found = speeds([Counting()], course(tones), Path(), held_out, "cpu", 2)
    assert list(found) == ["timed"] and found["timed"] > 0
    assert speeds([Counting()], course(tones), Path(), held_out, "cuda", 2) == {}


def test_scores_equal_those_of_the_metrics(tones):
    pytest.importorskip("pyworld", reason="the extra metrics is not installed")
    rng = np.random.default_rng(0)
    recording = (0.1 * rng.standard_normal(RATE)).astype(np.float32)
    held_out = HeldOut([recording, recording], [], [], RATE)
    scores = scored([recording, 0.5 * recording], held_out, workers=0)
    assert scores["mr_stft"] == [0, pytest.approx(REPORT_METRICS["mr_stft"](recording, 0.5 * recording, RATE))]


def small_model(**options) -> Vocoder:
    torch.manual_seed(0)
    model = VocoderModel(Network(StftFrontend(), 80, 256, (16,), (1,)), Cosine(), V(), SPEC, MelPrior(SPEC), **options)
    torch.nn.init.normal_(model.network.unet.conv_out.weight, std=0.1)
    return Vocoder(model)


def test_our_rows_are_the_models_own_sampler_with_and_without_consistency():
    vocoder = small_model(settings=[Setting(sampler="dpmpp_2m", consistency=3)])
    mel = torch.randn(80, 10).clamp(-2, 2)
    for calls, sampler, alone_ in ((4, "dpmpp_2m", False), (4, "dpmpp_2m", True), (1, "ddim", False)):
        system = network(vocoder, calls, alone_)
        wanted = vocoder.generate(mel, calls, clip_seeds=[5], sampler=sampler, consistency=0 if alone_ else 3).samples
        assert torch.equal(system.synthesize(mel, mel, 5), wanted) and system.name in Ours.rows


def test_the_untrained_rows_are_all_there(tmp_path):
    small_model().model.save_pretrained(tmp_path / "audiodiff" / "model")
    systems = Untrained().systems(course(""), tmp_path, "cpu")
    assert tuple(system.name for system in systems) == Untrained.rows
    assert Untrained().systems(course(""), tmp_path, "cuda") == []


@pytest.fixture
def bench():
    pytest.importorskip("diffwave", reason="the extra bench is not installed")
    pytest.importorskip("vocos", reason="the extra bench is not installed")
    import vocoder

    return vocoder


def test_what_is_kept_is_not_made_again(bench, tmp_path):
    assert bench.kept(tmp_path / "a" / "x.json", lambda: {"a": [1, math.inf]}) == {"a": [1, math.inf]}
    assert bench.kept(tmp_path / "a" / "x.json", lambda: pytest.fail("made again")) == {"a": [1, math.inf]}


def test_work_of_other_settings_is_refused(bench, tmp_path):
    bench.check(tmp_path, {"seconds": 60.0, "recipe": ("a",)})
    bench.check(tmp_path, {"seconds": 60.0, "recipe": ("a",)})
    with pytest.raises(UserError, match="other settings: seconds"):
        bench.check(tmp_path, {"seconds": 61.0, "recipe": ("a",)})


@pytest.mark.bench
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("name", ["diffwave", "vocos"])
def test_a_peer_learns_and_renders_whole_clips(bench, name, tones, tmp_path):
    peer = next(one for one in bench.contenders() if one.name == name)
    (tmp_path / name).mkdir()
    given = course(tones, batch_size=1, crop_samples=2048)
    assert peer.train(given, tmp_path / name).steps == 1
    (system,) = peer.systems(given, tmp_path, "cpu")
    assert (system.name,) == peer.rows
    mel = torch.full((80, 5), -5.0) + torch.randn(80, 5)
    first, again, other = (system.synthesize(mel, mel, seed) for seed in (1, 1, 2))
    assert first.shape == (5 * 256,) and torch.isfinite(first).all() and torch.equal(first, again)
    # What follows from the mel alone does not hear the seed.
    assert torch.equal(first, other) == (name == "vocos")
    assert not torch.equal(first, system.synthesize(mel, mel - 1, 1))


@pytest.mark.bench
def test_diffwave_is_told_decibels_from_the_floor_up(bench):
    import vocoder_diffwave

    magnitudes = torch.tensor([0.0, 1e-5, 1e-4, 1.0, 10.0])
    scaled = vocoder_diffwave.scaled(SPEC.compress(magnitudes), SPEC)
    assert scaled.tolist() == pytest.approx([0, 0, 0.2, 1, 1.2], abs=1e-6)
    with pytest.raises(UserError, match="80 bands every 256"):
        vocoder_diffwave.build(PRESETS["vocos_24k"])


@pytest.mark.bench
def test_vocos_answers_where_the_mel_is(bench):
    import vocoder_vocos

    made = vocoder_vocos.Generator(SPEC)(torch.zeros(2, 80, 5))
    assert made.shape == (2, 4 * 256)
    assert vocoder_vocos.Generator(PRESETS["hifigan_22k"])(torch.zeros(2, 80, 5)).shape == (2, 5 * 256)


@pytest.mark.bench
def test_it_runs_from_end_to_end_and_goes_on(bench, tones, monkeypatch, tmp_path, capsys):
    pytest.importorskip("pesq", reason="the extra metrics is not installed")
    arguments = [
        *("--data", tones, "--minutes", "0.02", "--clips", "1", "--threads", "1", "--workers", "0"),
        *("--work", str(tmp_path / "work"), "--out", str(tmp_path / "out"), *bench.QUICK),
    ]
    monkeypatch.setattr(sys, "argv", ["vocoder.py", *arguments])
    bench.main()
    assert "training vocos" in capsys.readouterr().out
    record = json.loads((tmp_path / "out" / "vocoder.json").read_text())
    assert [one["name"] for one in record["rows"]] == [name for one in bench.contenders() for name in one.rows]
    assert list(record["training"]) == ["diffwave", "vocos", "audiodiff"]
    assert all(found["steps"] >= 1 and found["memory"] > 100 for found in record["training"].values())
    assert all(set(one["scores"]) == set(REPORT_METRICS) for one in record["rows"])
    assert [one["name"] for one in record["rows"] if not one["speed"]] == ["ground_truth"]
    (tmp_path / "work" / "vocos" / "rows" / "vocos, 1 call.json").unlink()
    bench.main()
    printed = capsys.readouterr().out
    assert "training" not in printed.split("\n\n")[0] and printed.count("rendering") == 1


def test_clips_of_other_folders_are_found(tmp_path, monkeypatch):
    vocoder = pytest.importorskip("vocoder")
    folders = [tmp_path / name for name in ("train", "one", "two")]
    for folder in folders:
        manifest = write_tones(folder, clips=6, seconds=0.8)
        replace(manifest, clips=tuple(replace(clip, id=f"{folder.name}/{clip.id}") for clip in manifest.clips)).save()
    words = ["vocoder.py", "--data", folders[0], "--score-on", *folders[1:], "--clips", 1, "--peers"]
    monkeypatch.setattr(sys, "argv", [str(word) for word in words])
    bench = vocoder.prepare(vocoder.arguments(), tmp_path / "work")
    assert len(bench.clips) == 2 and all(bench.manifest.path(clip).is_file() for clip in bench.clips)
