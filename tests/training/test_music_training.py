"""Training a model of music: from files to a model that makes sound, the same however it was interrupted."""

import functools
import shutil

import numpy as np
import pytest
import soundfile
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from audiodiff import config, train
from audiodiff.audio import io
from audiodiff.cli import build as application
from audiodiff.conditioners.labels import Labels
from audiodiff.data.preparation import prepare
from audiodiff.diffusion.objective import V
from audiodiff.diffusion.samplers.sampler import not_finite
from audiodiff.diffusion.schedules.schedule import Cosine
from audiodiff.errors import UserError
from audiodiff.models.audio_model import AudioModel
from audiodiff.nn.frontends.frontend import StftFrontend
from audiodiff.nn.network import Network
from audiodiff.pipelines.audio_generator import AudioGenerator
from audiodiff.training.datamodule import AudioData
from audiodiff.training.module import TrainingModule
from audiodiff.training.optim import WarmupCosine
from audiodiff.training.tasks.denoising import DenoisingTask

RATE, SAMPLES = 8000, 2048
LABELS = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
TINY = (
    *("network.channels=[8,8]", "network.blocks=[1,1]", "network.frontend.n_fft=256", "network.frontend.hop_length=64"),
    *(f"data.sample_rate={RATE}", f"data.crop_samples={SAMPLES}", "data.batch_size=4", "data.workers=0"),
    *("data.labels=[low,high]", "task.spectrum_crops=4", "trainer.accelerator=cpu"),
    *("callbacks.samples.clips=3", "callbacks.samples.steps=2", "trainer.precision=32-true"),
)


@pytest.fixture(scope="session")
def strokes(tmp_path_factory):
    """Forty decaying tones, low and high, some in stereo, prepared."""
    root = tmp_path_factory.mktemp("strokes")
    time = np.arange(RATE // 2) / RATE
    for number in range(40):
        label, hertz = ("low", 100 + number) if number % 2 else ("high", 2000 + 10 * number)
        wave = 0.5 * np.exp(-8 * time) * np.sin(2 * np.pi * hertz * time)
        (root / "in" / label).mkdir(parents=True, exist_ok=True)
        soundfile.write(root / "in" / label / f"{number}.wav", np.stack([wave] * (1 + number % 3 // 2), 1), RATE)
    prepare([f"music:{root / 'in'}"], root / "out")
    return root / "out"


def data(strokes, **options) -> AudioData:
    arguments = {"sample_rate": RATE, "crop_samples": SAMPLES, "batch_size": 4, "labels": ("low", "high")}
    module = AudioData(str(strokes), **arguments | options)
    module.conditioners = [Labels(module.labels, 8)]
    return module


def training(channels=1, labels=("low", "high"), seed=0, **options) -> TrainingModule:
    torch.manual_seed(0)
    network = Network(StftFrontend(channels, 256, 64), 0, 1, [8], [1], embedding=8)
    model = AudioModel(network, Cosine(), V(), RATE, SAMPLES, conditioners=[Labels(labels, 8)])
    task = DenoisingTask(**{"gain": (1.0, 1.0)} | options)
    return TrainingModule(model, task, functools.partial(torch.optim.AdamW, lr=1e-2), WarmupCosine(2), seed)


def test_crops_say_what_they_are(strokes):
    module = data(strokes, channels=2, from_start=True)
    module.setup("fit")
    kinds = {clip.id: clip.label for clip in module.crops.manifest.clips}
    for draw in range(20):
        item = module.crops[draw]
        assert item["waveform"].shape == (2, SAMPLES)
        assert module.labels[int(item["labels"].argmax())] == kinds[item["clip"]] and item["labels"].sum() == 1
        whole = io.read(item["path"], channels=2).samples
        assert torch.equal(item["waveform"], whole[:, :SAMPLES])


def test_without_from_start_crops_begin_anywhere(strokes):
    module = data(strokes)
    module.setup("fit")
    assert len({module.crops.start(draw) for draw in range(20)}) > 10


def test_clips_that_are_not_asked_for_are_left_out(strokes):
    assert {clip.label for clip in data(strokes, labels=("low",)).manifest().clips} == {"low"}
    with pytest.raises(UserError, match=r"no clip of data.labels gong.*high, low"):
        data(strokes, labels=("gong",)).manifest()
    with pytest.raises(UserError, match="no clip of these labels"):
        data(strokes, max_seconds=0.1).manifest()


def test_where_nothing_is_prepared_the_corpora_are_named(tmp_path):
    module = AudioData(str(tmp_path / "none"), RATE, SAMPLES, 4, corpora="sonic-pi-samples hydrogen-drumkits")
    with pytest.raises(UserError, match="audiodiff prepare sonic-pi-samples hydrogen-drumkits --out"):
        module.setup("fit")


def test_a_step_is_a_pure_function_of_seed_and_key():
    module = training(seed=3, gain=(0.5, 1.2))
    batch = {"waveform": torch.randn(4, 1, SAMPLES), "labels": LABELS}
    first = module.compute_loss(batch, "draw 0")
    torch.manual_seed(99)
    assert torch.equal(module.compute_loss(batch, "draw 0")["loss"], first["loss"])
    assert not torch.equal(module.compute_loss(batch, "draw 1")["loss"], first["loss"])


def test_untrained_loss_is_that_of_saying_nothing():
    """A zero network asked for v is wrong by v itself, of unit variance as its parts are: by 1."""
    module = training(labels=())
    batch = {"waveform": torch.randn(16, 1, SAMPLES)}
    assert float(module.compute_loss(batch, "draw 0")["loss"].detach()) == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize("normalized", [True, False])
def test_levels_do_not_matter_where_they_are_taken_off(normalized):
    module = training(labels=(), normalize_rms=normalized)
    wave = torch.randn(4, 1, SAMPLES)
    losses = [module.compute_loss({"waveform": k * wave}, "draw 0")["loss"] for k in (1.0, 0.01)]
    assert torch.allclose(*losses) == normalized
    assert not module.task.normalize(torch.zeros(2, 1, 8)).any()


@pytest.mark.parametrize(("share", "found"), [(0.0, LABELS), (1.0, torch.zeros(4, 2))])
def test_labels_are_left_out_by_their_share(share, found):
    module, told = training(condition_dropout=share), []
    module.model.conditioners[0].register_forward_pre_hook(lambda _, batch: told.append(batch[0]["labels"]))
    module.compute_loss({"waveform": torch.randn(4, 1, SAMPLES), "labels": LABELS}, "draw 0")
    assert torch.equal(told[0], found)


def test_one_crop_of_each_held_out_clip_is_validated_on(strokes):
    for count in (1, 3, 100):
        module = data(strokes, validation_clips=count)
        module.setup("fit")
        held_out = [clip.id for clip in module.held_out.manifest.clips]
        clips = [name for batch in module.val_dataloader() for name in batch["clip"]]
        assert len(clips) == len(set(clips)) == min(count, len(held_out)) and set(clips) <= set(held_out)
        assert clips == [name for batch in module.val_dataloader() for name in batch["clip"]]


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("normalized", [True, False])
def test_what_lies_beyond_a_clip_does_not_count_where_it_is_masked(masked, normalized):
    module = training(labels=(), mask_padding=masked, normalize_rms=normalized)
    torch.nn.init.normal_(module.model.network.unet.conv_out.weight, std=0.1)
    wave, ends = torch.randn(4, 1, SAMPLES), torch.tensor([SAMPLES, 500, 1200, SAMPLES])
    beyond = torch.arange(SAMPLES) >= ends[:, None, None]
    losses = [
        module.compute_loss({"waveform": wave + more * beyond, "samples": ends, "clip": list("abcd")}, "draw 0")["loss"]
        for more in (0.0, 1.0)
    ]
    assert torch.allclose(*losses) == masked


def test_levels_are_those_of_what_is_not_masked():
    module, ends = training(labels=(), mask_padding=True), torch.tensor([SAMPLES, 500, 1200, 1])
    wave = torch.randn(4, 1, SAMPLES) * (torch.arange(SAMPLES) < ends[:, None, None])
    level = module.task.normalize(wave, ends)
    powers = [float(row[0, :end].square().mean()) for row, end in zip(level, ends, strict=True)]
    assert powers == pytest.approx([1.0] * 4)
    assert torch.equal(module.task.normalize(wave), module.task.normalize(wave, torch.full((4,), SAMPLES)))


@pytest.mark.parametrize("masked", [True, False])
def test_the_average_spectrum_is_that_of_what_is_not_masked(strokes, masked):
    module = training(mask_padding=masked, spectrum_crops=4, normalize_rms=False)
    spectra = []
    for samples in (2 * SAMPLES, 4 * SAMPLES):  # the strokes are shorter: what is more is silence behind them
        module.model.spectrum, crops = None, data(strokes, crop_samples=samples, from_start=True)
        crops.setup("fit")
        module.task.prepare(module.model, crops)
        spectra.append(torch.tensor(module.model.spectrum.decibels))
    assert torch.allclose(*spectra, atol=0.5) == masked


def run(strokes, folder, *words) -> AudioGenerator:
    overrides = ["+recipe=drums", *TINY, f'data.path="{strokes}"', f'folder="{folder}"', *words]
    train.run(config.compose(overrides), folder)
    return AudioGenerator.from_pretrained(folder / "model")


@pytest.fixture(scope="module")
def trained(strokes, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return folder, run(strokes, folder, "trainer.max_steps=4", "callbacks.checkpoints.every_n_steps=2")


def test_the_recipe_trains_a_model_that_makes_sound(trained):
    folder, generator = trained
    assert generator.model.labels == ("low", "high") and generator.model.spectrum is not None
    assert generator.training["steps"] == 4
    assert generator.training["audio_hours"] == pytest.approx(16 * SAMPLES / RATE / 3600)
    assert len(list((folder / "samples" / "step_000000004").glob("*.wav"))) == 3
    for name in ("spectrograms.png", "spectra.png"):
        assert (folder / "samples" / "step_000000004" / name).stat().st_size > 1000
    told = EventAccumulator(str(next(folder.rglob("events*")).parent)).Reload()  # of all its files
    last = {name: told.Scalars(name)[-1].value for name in told.Tags()["scalars"]}
    for name, difference in (("rms_dbfs", "level_db"), ("crest", "crest_db")):
        apart = last[f"generated/{name}"] - last[f"data/{name}"]
        assert apart == pytest.approx(last[f"generated/{difference}"], abs=1e-3)
    assert 1 < last["data/crest"] < 40 and {"generated", "spectra"} <= set(told.Tags()["images"])
    assert "Labels: low, high" in (folder / "model" / "README.md").read_text()
    assert generator.generate(clip_seeds=[1, 2], steps=2, labels=["low"]).samples.isfinite().all()


@pytest.mark.parametrize("method", ["_sample", "_decode"])
def test_clips_that_are_not_finite_at_validation_do_not_end_the_run(strokes, method, tmp_path, monkeypatch):
    def diverge(*_, **__):
        if method == "_sample":
            raise not_finite("step 1 of 2")
        return iter([torch.full((3, 1, SAMPLES), torch.nan)])

    monkeypatch.setattr(AudioGenerator, method, diverge)
    with pytest.warns(UserWarning, match=r"step 1: no clips are generated: .*(not finite|infinite)"):
        generator = run(strokes, tmp_path, "trainer.max_steps=1")
    assert generator.training["steps"] == 1


def test_an_interrupted_run_ends_as_an_unbroken_one(trained, strokes, tmp_path):
    folder, unbroken = trained
    (tmp_path / "checkpoints").mkdir()
    shutil.copy(folder / "checkpoints" / "step=000000002.ckpt", tmp_path / "checkpoints")
    resumed = run(strokes, tmp_path, "trainer.max_steps=4", "resume=last")
    assert resumed.model.spectrum.decibels == unbroken.model.spectrum.decibels
    mine, theirs = (one.model.state_dict() for one in (resumed, unbroken))
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)


def test_another_run_begins_with_the_weights_and_their_spectrum(trained, strokes, tmp_path):
    folder, first = trained
    again = run(strokes, tmp_path, "trainer.max_steps=0", f'init_from="{folder / "model"}"', "data.from_start=false")
    assert again.model.spectrum.decibels == first.model.spectrum.decibels
    mine, theirs = (one.model.state_dict() for one in (again, first))
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)
    assert again.training["started_from"]["hash"] == first.model_hash


def test_info_tells_what_it_is(trained, capsys):
    folder, _ = trained
    application()(["info", str(folder / "model")], standalone_mode=False)
    told = capsys.readouterr().out
    assert "audio" in told and "low, high" in told.replace("'", "") and "average_spectrum(" in told


def test_training_learns_the_sound_and_what_labels_mean(strokes, tmp_path):
    """Trained, the model makes sound where the strokes have theirs, and labels that are swapped make it worse."""
    generator = run(strokes, tmp_path, "trainer.max_steps=150", "optimizer.lr=5e-3", "callbacks.ema.decay=0.9")
    clips = generator.generate(clip_seeds=range(16), steps=10).samples
    loudest = torch.fft.rfft(clips).abs().argmax(-1).flatten() * RATE / SAMPLES
    at_home = ((loudest > 80) & (loudest < 160)) | ((loudest > 1900) & (loudest < 2500))
    assert at_home.float().mean() > 0.7
    told = training(condition_dropout=0.0)
    told.model = generator.model
    module = data(strokes, from_start=True)
    module.setup("fit")
    items = [module.crops[draw] for draw in range(32)]
    batch = {name: torch.stack([torch.as_tensor(item[name]) for item in items]) for name in ("waveform", "labels")}
    right, wrong = (
        told.compute_loss(batch | {"labels": labels}, "a") for labels in (batch["labels"], 1 - batch["labels"])
    )
    assert float((wrong["clip_loss"] - right["clip_loss"]).mean()) > 0.01 * float(right["clip_loss"].mean())


@pytest.mark.parametrize("options", [{"gain": (0.5, 2.0)}, {"normalize_rms": True}, {"normalize_rms": False}])
def test_latents_are_never_scaled(make_latent_music, options):
    """The codec would decode them as another sound."""
    model, losses = make_latent_music(), []
    torch.nn.init.normal_(model.network.unet.conv_out.weight, std=0.1)
    batch = {"latents": 3 * torch.randn(4, model.network.frontend.channels, 32), "labels": torch.zeros(4, 2)}
    for chosen in (options, {"gain": (1.0, 1.0), "normalize_rms": False}):
        optimizer = functools.partial(torch.optim.AdamW, lr=1e-2)
        module = TrainingModule(model, DenoisingTask(**chosen), optimizer, WarmupCosine(2), 0)
        losses.append(module.compute_loss(batch, "draw 0")["loss"])
    assert torch.equal(*losses)
