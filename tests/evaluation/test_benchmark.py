"""A benchmark over samplers and steps with a small network: rows, resuming, report and plot."""

import copy
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import audiodiff
from audiodiff.audio.mel import PRESETS
from audiodiff.audio.prior import MelPrior
from audiodiff.data.corpora import registry
from audiodiff.data.manifest import Clip, Manifest
from audiodiff.diffusion.objective import V
from audiodiff.diffusion.schedules.schedule import Cosine
from audiodiff.errors import UserError
from audiodiff.evaluation import benchmark, plot, table
from audiodiff.evaluation.benchmark import Settings, sweep
from audiodiff.evaluation.language import CORPORA, language
from audiodiff.evaluation.record import Block, Record, Row, Speed
from audiodiff.evaluation.statistics import bootstrap
from audiodiff.evaluation.vocoder_evaluation import describe_model
from audiodiff.models.setting import Setting
from audiodiff.models.vocoder_model import VocoderModel
from audiodiff.nn.frontends.frontend import StftFrontend
from audiodiff.nn.network import Network
from audiodiff.pipelines.vocoder import Vocoder

RATE = 16000
FIXED = ["ground_truth", "griffin_lim", "world", "noise", "noise_consistency"]
FEW = Settings(samplers=("recommended", "ddim"), steps=(3, 1), metrics=("mr_stft", "pesq"))


def write_clips(root, corpus: str, count: int) -> Manifest:
    rng, clips = np.random.default_rng(len(corpus)), []
    root.mkdir(parents=True)
    for i in range(count):
        time = np.arange(12000 + 1000 * i) / RATE
        tone = sum(np.sin(2 * np.pi * (120 + 30 * i) * k * time) / k for k in range(1, 20))
        samples = 0.1 * tone * np.sin(6 * time) ** 2 + 1e-3 * rng.standard_normal(len(time))
        soundfile.write(root / f"{i}.flac", samples, RATE)
        clips.append(Clip(f"{corpus}/{i}", f"{i}.flac", len(time) / RATE, RATE, f"Word {i}.", split="test"))
    manifest = Manifest(tuple(clips), root)
    manifest.save()
    return manifest


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> dict[str, Manifest]:
    root = tmp_path_factory.mktemp("data")
    return {"seen": write_clips(root / "seen", "asterisk-en", 3), "unseen": write_clips(root / "unseen", "mine", 2)}


@pytest.fixture(scope="module")
def vocoder(tmp_path_factory) -> Vocoder:
    spec, folder = PRESETS["speech_16k"], tmp_path_factory.mktemp("model")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Network(StftFrontend(), spec.n_mels, spec.hop_length, channels=[16], blocks=[1], embedding=16)
        torch.nn.init.normal_(network.unet.conv_out.weight, std=0.05)
    VocoderModel(network, Cosine(), V(), spec, MelPrior(spec), settings=[Setting(consistency=2)]).save_pretrained(
        folder
    )
    return Vocoder.from_pretrained(folder)


@pytest.fixture(scope="module")
def swept(vocoder, data, tmp_path_factory):
    """(path of the record, the record) of a benchmark; the CPU stands in for the GPU."""
    path = tmp_path_factory.mktemp("benchmark") / "benchmark.json"
    return path, sweep(vocoder, vocoder, data, FEW, path, workers=0, quiet=True)


def counting(monkeypatch) -> list[str]:
    """List that collects the names of the systems that are synthesized."""
    names, real = [], benchmark.synthesize
    monkeypatch.setattr(benchmark, "synthesize", lambda system, clips: names.append(system.name) or real(system, clips))
    return names


def test_every_block_has_every_row(swept):
    _, record = swept
    assert [block.name for block in record.shown] == ["seen", "unseen"]
    for block, clips in zip(record.shown, (3, 2), strict=True):
        assert list(block.rows) == [*FIXED, "recommended/1/2", "recommended/3/2", "ddim/1/2", "ddim/3/2"]
        assert block.metrics == ["pesq", "mr_stft"]
        for name, row in block.rows.items():
            assert all(len(scores) == clips for scores in row.scores.values())
            assert set(row.speed) == (set() if name == "ground_truth" else {"cpu", "cuda"} if row.steps else {"cpu"})
            for speed in row.speed.values():
                assert 0 < speed.median < math.inf and 0 < speed.pooled < math.inf
        assert block.rows["ground_truth"].scores["mr_stft"].max() == 0
    assert record.shown[0].words == {"text": 3, "recording": 0, "none": 0}
    assert record.shown[1].words == {"text": 0, "recording": 0, "none": 2}


def test_rows_score_the_output_of_generate(swept, vocoder, data):
    from audiodiff.audio import io
    from audiodiff.diffusion.noise import clip_seed
    from audiodiff.metrics import REPORT_METRICS

    clip = data["seen"].clips[1]
    recording = io.read(data["seen"].path(clip), RATE).samples
    mel, seeds = vocoder.mel(io.Audio(recording, RATE)), [clip_seed(0, clip.id)]
    output = vocoder.generate(mel, 3, clip_seeds=seeds, sampler="ddim").samples
    score = REPORT_METRICS["mr_stft"](recording.numpy(), output[: len(recording)].clamp(-1, 1).numpy(), RATE)
    assert swept[1].shown[0].rows["ddim/3/2"].scores["mr_stft"][1] == pytest.approx(score, rel=1e-5)


def test_equivalent_samplers_are_synthesized_once(vocoder, data, tmp_path, monkeypatch):
    names = counting(monkeypatch)
    record = sweep(vocoder, None, {"seen": data["seen"]}, FEW, tmp_path / "c.json", 0, quiet=True)
    assert names == [*FIXED, "recommended/1/2", "recommended/3/2", "ddim/3/2"]  # recommended is ddim at one step
    rows = record.shown[0].rows
    assert rows["ddim/1/2"].scores is not rows["recommended/1/2"].scores
    np.testing.assert_array_equal(rows["ddim/1/2"].scores["pesq"], rows["recommended/1/2"].scores["pesq"])


def test_a_second_run_only_computes_what_is_missing(swept, vocoder, data, tmp_path, monkeypatch):
    path = tmp_path / "benchmark.json"
    path.write_bytes(swept[0].read_bytes())
    names = counting(monkeypatch)
    again = sweep(vocoder, vocoder, data, FEW, path, 0, quiet=True)
    assert names == [] and again.shown[0].rows.keys() == swept[1].shown[0].rows.keys()
    one = {"unseen": data["unseen"]}
    more = sweep(vocoder, vocoder, one, Settings(("ddim",), (3, 5), (), ("stoi", "pesq")), path, 0, quiet=True)
    # Rows without a network and those at three steps lack STOI; only five steps are timed, on both devices.
    assert names == [*FIXED, "ddim/3/2", "ddim/5/2", "ddim/5/2"]
    block = more.shown[1]
    assert block.name == "unseen" and set(block.rows["ddim/3/2"].scores) == {"pesq", "mr_stft", "stoi"}
    assert block.rows["ddim/3/2"].speed == again.shown[1].rows["ddim/3/2"].speed
    assert len(more.shown) == 2 and "ddim/5/2" not in more.shown[0].rows


def test_an_interrupted_benchmark_keeps_finished_rows(vocoder, data, tmp_path, monkeypatch):
    path, real = tmp_path / "c.json", benchmark.synthesize

    def until_ddim(system, clips):
        if system.name == "ddim/3/2":
            raise KeyboardInterrupt
        return real(system, clips)

    one, settings = {"unseen": data["unseen"]}, Settings(("ddim",), (1, 3), (), ("mr_stft",))
    monkeypatch.setattr(benchmark, "synthesize", until_ddim)
    with pytest.raises(KeyboardInterrupt):
        sweep(vocoder, None, one, settings, path, 0, quiet=True)
    monkeypatch.setattr(benchmark, "synthesize", real)
    names = counting(monkeypatch)
    found = sweep(vocoder, None, one, settings, path, 0, quiet=True)
    assert names == ["ddim/3/2"] and list(found.shown[0].rows) == [*FIXED, "ddim/1/2", "ddim/3/2"]


NAMED = (Setting("fast", 1, "ddim", 0), Setting("good", 3, "ddim", 4))


def test_iterations_are_compared_for_every_number_of_steps(vocoder, data, tmp_path):
    settings = Settings((), (3, 1), (4, 0, 4), ("mr_stft",))
    record = sweep(vocoder, None, {"unseen": data["unseen"]}, settings, tmp_path / "c.json", 0, quiet=True)
    block = record.shown[0]
    keys = [f"recommended/{steps}/{count}" for count in (0, 4) for steps in (1, 3)]
    assert list(block.rows) == [*FIXED, *keys]  # the model's own sampler alone
    assert list(table.series(block)) == ["recommended, 0 iterations", "recommended, 4 iterations"]
    assert block.rows["recommended/3/0"].scores["mr_stft"][0] != block.rows["recommended/3/4"].scores["mr_stft"][0]
    rows = [line.split(" | ")[:3] for line in table.markdown(record).splitlines() if line.startswith("| recommended |")]
    assert rows == [["| recommended", steps, count] for count in "04" for steps in "13"]
    labels = [line.get_label() for line in plot.figure(record).axes[0].lines]
    assert labels[:2] == list(table.series(block))


def test_named_settings_are_rows_and_cost_nothing_where_they_are_others(vocoder, data, tmp_path, monkeypatch):
    """When settings change, results stay: what is chosen by a benchmark need not be benchmarked again."""
    path, one, settings = tmp_path / "c.json", {"unseen": data["unseen"]}, Settings(("ddim",), (1, 3), (0, 4))
    settings = replace(settings, metrics=("mr_stft",))
    sweep(vocoder, None, one, settings, path, 0, quiet=True)
    names = counting(monkeypatch)
    named = Vocoder(vocoder.model.with_arguments(settings=NAMED), model_hash="of the new config")
    record = sweep(named, None, one, settings, path, 0, quiet=True)
    block = record.shown[0]
    assert names == ["noise_consistency"]  # with the iterations of the default setting, which are others now
    for setting, key in (("fast", "ddim/1/0"), ("good", "ddim/3/4")):
        np.testing.assert_array_equal(
            block.rows[f"setting/{setting}"].scores["mr_stft"], block.rows[key].scores["mr_stft"]
        )
    lines = table.markdown(record).splitlines()
    shown = [line.split(" | ")[:3] for line in lines if line.startswith(("| fast", "| good"))]
    assert shown == [["| fast (default)", "1", "0"], ["| good", "3", "4"]]
    stars = [line for line in plot.figure(record).axes[0].lines if line.get_marker() == "*"]
    assert [star.get_label() for star in stars] == ["fast (default)", "good"]
    other = Vocoder(vocoder.model.with_arguments(settings=[NAMED[1]]))
    assert "setting/fast" not in sweep(other, None, one, settings, path, 0, quiet=True).shown[0].rows


def test_a_fine_tuned_model_has_rows_beside_the_model_on_its_voice_alone(vocoder, data, tmp_path):
    tuned_model = copy.deepcopy(vocoder.model).with_arguments(settings=NAMED)
    torch.nn.init.constant_(tuned_model.network.unet.conv_out.bias, 0.1)
    tuned = {"unseen": Vocoder(tuned_model, model_hash="f" * 64)}
    settings = Settings(("ddim",), (1,), (0,), ("mr_stft",))
    record = sweep(vocoder, None, data, settings, tmp_path / "c.json", 0, quiet=True, tuned=tuned)
    seen, unseen = record.shown
    assert set(unseen.rows) - set(seen.rows) == {"tuned/ffffffffffff/fast", "tuned/ffffffffffff/good"}
    row = unseen.rows["tuned/ffffffffffff/fast"]
    assert row.label == "fine-tuned, fast (default)"
    assert "Settings by voice" not in table.markdown(record)  # the model itself has no named ones: a single group
    assert row.scores["mr_stft"][0] != unseen.rows["ddim/1/0"].scores["mr_stft"][0]
    with pytest.raises(UserError, match="tuned mine: there is no such data; choose seen or unseen"):
        sweep(vocoder, None, data, settings, tmp_path / "d.json", 0, True, {"mine": vocoder})


def test_other_clips_or_seeds_start_a_block_and_other_models_a_record(swept, vocoder, data, tmp_path):
    path = tmp_path / "benchmark.json"
    path.write_bytes(swept[0].read_bytes())
    one = {"unseen": data["unseen"]}
    for i, settings in enumerate((Settings(limit=1), Settings(seed=7))):
        settings = replace(settings, samplers=("ddim",), steps=(1,), metrics=("mr_stft",))
        record = sweep(vocoder, None, one, settings, path, 0, quiet=True)
        assert len(record.blocks) == 3 + i and len(record.shown) == 2
        assert (len(record.shown[1].clips), record.shown[1].seed) == ((1, 0), (2, 7))[i]
    assert Record.load(path, {"hash": "another"}).blocks == []


def test_records_of_version_1_are_read(tmp_path, vocoder, data):
    """They were named "curve" and counted "calls"; the shipped one is such a record."""
    path = tmp_path / "benchmark.json"
    path.write_bytes((Path(audiodiff.__file__).parent / "pretrained/speech-16k/benchmark.json").read_bytes())
    content = json.loads(path.read_text())
    assert content["curve"] == "audiodiff" and content["version"] == 1
    record = Record.load(path, content["model"])
    for block, stored in zip(record.blocks, content["blocks"], strict=True):
        assert {row.steps for row in block.rows.values()} >= {0, 1, 2}
        for name, row in stored["rows"].items():
            name = f"{name}/16" if row["calls"] else name  # the iterations of all its rows
            found = block.interval(block.rows[name], "pesq")
            assert found.mean == pytest.approx(row["scores"]["pesq"]["mean"], rel=1e-5)
    record.save(path)
    again = json.loads(path.read_text())
    assert (again["benchmark"], again["version"]) == ("audiodiff", 3) and '"calls":' not in path.read_text()
    assert table.markdown(Record.load(path, content["model"])) == table.markdown(record)


def test_a_record_is_saved_and_loaded(swept):
    path, record = swept
    content = json.loads(path.read_text())
    found = Record.load(path, {"hash": record.model["hash"]})
    for block, other in zip(record.blocks, found.blocks, strict=True):
        assert block.rows.keys() == other.rows.keys() and block.clips == other.clips
        for name, row in block.rows.items():
            for metric, scores in row.scores.items():
                np.testing.assert_allclose(other.rows[name].scores[metric], scores, rtol=1e-5)
                stored = content["blocks"][record.blocks.index(block)]["rows"][name]["scores"][metric]
                assert stored["mean"] == pytest.approx(np.mean(scores), rel=1e-5) and len(stored["by_clip"]) == len(
                    scores
                )
    assert content["environment"]["torch"] == torch.__version__ and content["environment"]["threads"] >= 1


@pytest.mark.parametrize("text", ["", "{}", '{"curve": "audiodiff", "version": 99}', "[1]"])
def test_other_files_are_refused(tmp_path, text):
    path = tmp_path / "benchmark.json"
    path.write_text(text)
    with pytest.raises(UserError, match="record"):
        Record.load(path, {"hash": "x"})


@pytest.mark.parametrize(
    "wrong",
    [
        {"metrics": ("nope",)},
        {"samplers": ("nope",)},
        {"steps": (0,)},
        {"steps": ()},
        {"iterations": (-1,)},
        {"iterations": (2000,)},
        {"samplers": ("heun",), "steps": (1,)},
        {"samplers": ("ddpm_learned",)},
    ],
)
def test_bad_settings_are_refused_first(vocoder, data, tmp_path, wrong):
    with pytest.raises(UserError):
        sweep(vocoder, None, data, Settings(**wrong), tmp_path / "c.json", 0, quiet=True)
    assert not (tmp_path / "c.json").exists()


def test_default_samplers_and_skipped_rows(vocoder):
    settings = Settings(steps=(4, 1, 4)).resolve(vocoder)
    assert settings.samplers == ("recommended", "ddim", "dpmpp_2m") and settings.steps == (1, 4)
    names = [key for key, *_ in benchmark._systems(vocoder, None, settings)]
    wanted = ["recommended/1", "recommended/4", "ddim/1", "ddim/4", "dpmpp_2m/4"]
    assert names[-5:] == [f"{name}/2" for name in wanted]


def test_the_language_is_the_corpuss_or_the_default():
    def of(name):
        return Clip(f"{name}/a", "a.flac", 1.0, RATE)

    assert language(of("hibari")) == "en" and language(of("festvox-ru"), "en") == "ru"
    assert language(of("mine")) == "" and language(of("mine"), "en") == "en"


def test_every_corpus_of_speech_has_a_language():
    music = {"sonic-pi-samples", "hydrogen-drumkits", "singularity-music", "wesnoth-music", "scores", "tunes"}
    others = {"folder", "music", "sounds", "instruments", *music}
    assert CORPORA.keys() == {name.removesuffix(":PATH") for name in registry.CORPORA} - others
    assert all(language(Clip(f"asterisk-{code}/a", "a.flac", 1.0, RATE)) == code for code in ("en", "es", "it"))


def example(metrics=("pesq", "wer")) -> Record:
    """Three clips of 8, 1 and 1 words; many steps are better by 0.2, 0.3 and 0.4 in PESQ."""
    words = {"text": 2, "recording": 1, "none": 0}
    block = Block("voices", 3, ["a", "b", "c"], "f" * 64, 90.0, ["test"], "0" * 64, words)
    block.weights = {"pesq": np.ones(3), "wer": np.array([8.0, 1, 1])}
    wer = np.array([0.0, 100, 0])
    rows = {
        "ground_truth": Row("Ground truth", scores={"pesq": np.full(3, 4.64), "wer": wer}),
        "ddim/200": Row("ddim", "", "ddim", 200, {"pesq": np.array([3.2, 3.3, 3.4]), "wer": wer}),
        "ddim/6": Row("ddim", "", "ddim", 6, {"pesq": np.full(3, 3.0), "wer": wer}),
    }
    rows["ddim/6"].speed = {"cpu": Speed(0.04, 0.05, "a processor", 2), "cuda": Speed(0.5, 0.5, "a card")}
    block.rows = rows
    environment = {"date": "2026-01-02T03:04:05", "audiodiff": "1", "torch": "2"}
    return Record({"hash": "abc" * 20, "parameters": 2_500_000, "consistency": 8}, environment, [block])


def test_the_word_error_rate_is_pooled():
    block = example().blocks[0]
    found = block.interval(block.rows["ddim/6"], "wer")
    assert found.mean == pytest.approx(10)  # one of ten words, not one of three clips
    assert found.low >= 0 and found.high <= 100 and found.clips == 3
    values, weights = np.array([50.0, np.nan, 0]), np.array([2.0, 5, 6])
    assert bootstrap(values, weights).mean == pytest.approx(12.5)


def test_the_table():
    text = table.markdown(example(), "benchmark.png")
    lines = text.splitlines()
    head = next(line for line in lines if line.startswith("| System"))
    assert (
        head
        == "| System | Steps | PESQ-WB (MOS) ↑ | Word error rate (%) ↓ | CPU, times real time | GPU, times real time |"
    )
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ddim")]
    assert rows[0][:3] == ["ddim", "6", "3.00 ± 0.00"] and rows[0][4:] == ["25 (0.04)", "2.0 (0.5)"]
    assert rows[1][:2] == ["ddim", "200"] and rows[1][4:] == ["–", "–"]
    assert "![Quality and speed over steps](benchmark.png)" in text
    for part in (
        "`" + "f" * 64 + "`",
        "seed 3",
        "a processor (2 threads) and a card",
        "`abcabcabcabc`",
        "2.5 M",
        "2026-01-02",
    ):
        assert part in text
    assert "over 10 words: 2 clips against their texts, 1 against the transcript of the recording." in text
    assert rows[2][:2] == ["ddim", "200"] and rows[2][2].startswith("−0.30 (−0.")


def test_settings_of_all_voices_are_one_table(vocoder, data, tmp_path):
    named = Vocoder(vocoder.model.with_arguments(settings=NAMED), model_hash="e" * 64)
    tuned = {"unseen": Vocoder(vocoder.model.with_arguments(settings=NAMED), model_hash="f" * 64)}
    settings = Settings(("ddim",), (1,), (0,), ("mr_stft",))
    record = sweep(named, None, data, settings, tmp_path / "c.json", 0, quiet=True, tuned=tuned)
    part = table.markdown(record).split("### ")[1]
    assert part.startswith("Settings by voice\n")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in part.splitlines()[2:] if line]
    assert rows[0] == ["Clips", "Setting", "Multi-resolution STFT ↓"]
    assert [row[:2] for row in rows[2:]] == [
        ["seen", "fast (default)"],
        ["seen", "good"],
        ["unseen", "fast (default)"],
        ["unseen", "good"],
        ["unseen", "fine-tuned, fast (default)"],
        ["unseen", "fine-tuned, good"],
    ]
    unseen = record.shown[1]
    assert rows[4][2].startswith(f"{unseen.rows['setting/fast'].scores['mr_stft'].mean():.3f} ±")


def test_few_steps_against_many_in_one_line():
    (line,) = table.comparisons(example().blocks[0])
    assert line == "voices, ddim, 6 against 200 steps: PESQ-WB −0.30 (−0.40 to −0.20), 3 clips"


def test_the_plot_has_a_panel_for_every_metric_and_one_for_speed(swept, tmp_path):
    plot.draw(swept[1], tmp_path / "benchmark.png")
    assert (tmp_path / "benchmark.png").read_bytes()[:4] == b"\x89PNG"
    figure = plot.figure(swept[1])
    titled = [ax.get_title(loc="left") for ax in figure.axes if ax.axison]
    assert titled == ["PESQ-WB, MOS", "Multi-resolution STFT", "PESQ-WB over speed"] * 2
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    block = swept[1].shown[0]
    rows = [block.rows[f"ddim/{steps}/2"] for steps in (1, 3)]
    np.testing.assert_allclose(lines["ddim"].get_ydata(), [block.interval(row, "pesq").mean for row in rows])
    assert list(lines["ddim"].get_xdata()) == [1, 3]


@pytest.mark.parametrize("name", ["speech-16k-fine", "speech-24k"])
def test_the_stored_rows_of_a_shipped_model_are_of_its_weights(name):
    """A new argument of models does not make an earlier record that of another model."""
    path = Path(audiodiff.__file__).parent / "pretrained" / name / "benchmark.json"
    model = describe_model(Vocoder.from_pretrained(name))
    assert json.loads(path.read_text())["model"]["samples_hash"] == model["samples_hash"]
    assert Record.load(path, model).blocks
