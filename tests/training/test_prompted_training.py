"""Training on captions: a small model follows prompts, resumes exactly, and continues a model without prompts."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from audiodiff import config, train
from audiodiff.audio.io import Audio, read, write
from audiodiff.conditioners.prompt import Prompt
from audiodiff.data.manifest import Clip, Manifest
from audiodiff.diffusion.guidance.setting import GuidanceSetting
from audiodiff.errors import UserError
from audiodiff.models import checkpoint
from audiodiff.pipelines.audio_generator import AudioGenerator

RATE, SAMPLES = 8000, 4096
BORDER = 800  # Hz, between low and high tones
CAPTIONS = {
    "low": ("low tone", "a deep low tone", "low pitched tone"),
    "high": ("high tone", "a bright high tone", "high pitched tone"),
}
TINY = (
    *("+recipe=sounds", "model=prompted_audio", "network=music", "data=audio", "data.balance=null"),
    *(
        "network.frontend.channels=1",
        "network.frontend.n_fft=256",
        "network.frontend.hop_length=64",
        "network.blocks=[1,1]",
    ),
    *(f"data.sample_rate={RATE}", f"data.crop_samples={SAMPLES}", "data.workers=0", "data.batch_size=8"),
    *("network.channels=[16,16]", "network.token_channels=32"),
    *("task.spectrum_crops=8", "trainer.accelerator=cpu", "trainer.precision=32-true", "trainer.max_time=null"),
    *("callbacks.samples.clips=2", "callbacks.samples.steps=2", "callbacks.ema.decay=0.95", "logger=null"),
)


@pytest.fixture(scope="module")
def tones(tmp_path_factory):
    """Forty decaying tones between 200 and 320 Hz, or 1600 and 2560 Hz, captioned as low and high."""
    root, random = tmp_path_factory.mktemp("tones"), np.random.default_rng(0)
    time, clips = np.arange(SAMPLES) / RATE, []
    for number in range(40):
        kind = ("low", "high")[number % 2]
        hertz = (200 if kind == "low" else 1600) * random.uniform(1, 1.6)
        wave = 0.5 * np.exp(-2 * time) * np.sin(2 * np.pi * hertz * time + random.uniform(0, 6))
        write(root / f"{number}.flac", Audio(torch.from_numpy(wave).float(), RATE))
        caption, split = CAPTIONS[kind][number // 2 % 3], "train" if number < 36 else "validation"
        clips.append(Clip(f"tones/{number}", f"{number}.flac", SAMPLES / RATE, RATE, split=split, caption=caption))
    captions = ("drum loop: 120", 'a "low" tone', "hat @1", "tone |", "|".join(["tone"] * 9))  # one is a prompt
    awkward = [replace(clips[-1], id=f"tones/{40 + n}", caption=caption) for n, caption in enumerate(captions)]
    clips[36:36] = awkward
    Manifest(tuple(clips), root).save()
    return root


def run(tones, folder, steps, *overrides):
    limits = (
        f"trainer.max_steps={steps}",
        f"trainer.val_check_interval={steps}",
        "callbacks.checkpoints.every_n_steps=2",
    )
    cfg = config.compose([*TINY, *limits, f"data.path={tones}", f"folder={folder}", *overrides])
    train.run(cfg, folder)
    return folder / "model"


def peak(clips):
    """Frequency of the largest peak of each clip (B, T), in Hz."""
    spectra = torch.fft.rfft(clips * torch.hann_window(clips.shape[-1]), n=8192).abs()
    return spectra.argmax(-1) * RATE / 8192


@pytest.fixture(scope="module")
def trained(tones, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    run(tones, folder, 4)
    return folder


def test_the_recipe_trains_a_model_that_takes_prompts(trained):
    generator = AudioGenerator.from_pretrained(trained / "model")
    (prompt,) = (one for one in generator.model.conditioners if isinstance(one, Prompt))
    assert prompt.words == ("bright", "deep", "high", "low", "pitched", "tone") and prompt.digest == prompt.table.digest
    samples = trained / "samples" / "step_000000004"
    assert (samples / "prompts.txt").read_text() == '0000 a "low" tone\n0001 high tone\n'  # of held-out clips
    assert len(list(samples.glob("*.wav"))) == 2
    assert r'generate(prompt="a \"low\" tone"' in (trained / "model" / "README.md").read_text()
    assert generator.generate(prompt="low tone", steps=2).samples.isfinite().all()


def test_samples_during_training_are_audible_and_each_has_its_own_prompt(trained):
    clips = [read(path) for path in sorted((trained / "samples" / "step_000000004").glob("*.wav"))]
    model = AudioGenerator.from_pretrained(trained / "model").model
    for clip in clips:
        assert (clip.sample_rate, clip.samples.shape[-1]) == (RATE, model.samples)
        assert clip.samples.abs().max() > 0.1 and clip.samples.std() > 0.01
    assert not torch.allclose(clips[0].samples, clips[1].samples, atol=1e-2)


def test_an_interrupted_run_ends_as_an_unbroken_one(trained, tones, tmp_path):
    (tmp_path / "checkpoints").mkdir()
    shutil.copy(trained / "checkpoints" / "step=000000002.ckpt", tmp_path / "checkpoints")
    resumed, unbroken = (checkpoint.load(one) for one in (run(tones, tmp_path, 4, "resume=last"), trained / "model"))
    assert resumed.weights.keys() == unbroken.weights.keys()
    assert all(torch.equal(resumed.weights[name], unbroken.weights[name]) for name in unbroken.weights)


def test_a_run_that_drops_sentence_vectors_resumes_exactly_and_is_another_one(trained, tones, tmp_path):
    words = ("model.conditioners.prompt.sentence_dropout=0.5",)
    unbroken = checkpoint.load(run(tones, tmp_path / "unbroken", 4, *words))
    (tmp_path / "resumed" / "checkpoints").mkdir(parents=True)
    shutil.copy(tmp_path / "unbroken" / "checkpoints" / "step=000000002.ckpt", tmp_path / "resumed" / "checkpoints")
    resumed = checkpoint.load(run(tones, tmp_path / "resumed", 4, "resume=last", *words))
    assert all(torch.equal(resumed.weights[name], unbroken.weights[name]) for name in unbroken.weights)
    plain = checkpoint.load(trained / "model").weights
    assert not all(torch.equal(plain[name], unbroken.weights[name]) for name in plain)
    assert AudioGenerator.from_pretrained(tmp_path / "resumed" / "model").model.conditioners[-1].sentence_dropout == 0.5


def test_a_resume_names_what_differs_in_a_prompt_and_not_its_words(trained, tones, tmp_path):
    shutil.copytree(trained / "checkpoints", tmp_path / "checkpoints")
    with pytest.raises(UserError, match=r"run -> now: conditioners.prompt.max_tokens 32 -> 16\)") as error:
        run(tones, tmp_path, 5, "resume=last", "model.conditioners.prompt.max_tokens=16")
    assert "\n" not in str(error.value)
    for path in (tmp_path / "checkpoints").iterdir():
        saved = torch.load(path, weights_only=True)
        saved["run"]["model"]["conditioners"][-1]["words"] = ["other"]
        torch.save(saved, path)
    assert checkpoint.load(run(tones, tmp_path, 5, "resume=last")).training["steps"] == 5


def test_a_run_does_not_begin_with_other_embeddings(trained, tones, tmp_path):
    shutil.copytree(trained / "model", tmp_path / "model")
    stored = json.loads((tmp_path / "model" / "config.json").read_text())
    text = json.dumps(stored).replace(Prompt().digest, "0" * 64)
    (tmp_path / "model" / "config.json").write_text(text)
    with pytest.raises(UserError, match=r"text embedding wordllama-l2-256: .*hash differs"):
        run(tones, tmp_path / "run", 2, f"init_from={tmp_path / 'model'}")


@pytest.mark.slow
def test_a_run_may_begin_with_a_model_without_prompts(tones, tmp_path):
    before = run(tones, tmp_path / "before", 2, "model=audio", "~network.token_channels")
    found = checkpoint.load(run(tones, tmp_path / "after", 2, f"init_from={before}", "optimizer.lr=1e-9"))
    for name, weight in checkpoint.load(before).weights.items():
        assert torch.allclose(found.weights[name], weight, atol=1e-5), name
    assert any(name.startswith("conditioners.prompt.") for name in found.weights)


@pytest.mark.slow
def test_pitch_answers_the_prompt(tones, tmp_path):
    width = ("network.channels=[48,64]", "model.conditioners.prompt.layers=1")
    rate = (
        "optimizer.lr=3e-3",
        "lr_schedule.warmup_steps=20",
        "data.batch_size=16",
        "model.conditioners.prompt.heads=2",
    )
    folder = run(tones, tmp_path / "run", 300, *width, *rate)
    generator = AudioGenerator.from_pretrained(folder)

    def pitches(prompt, part=slice(None), **options):
        options = {"count": 8, "steps": 10, "guidance_scale": 2.0} | options
        return peak(generator.generate(prompt=prompt, **options).samples[:, 0, part])

    both = "low tone @-0.25 | high tone @0.25-"
    for name, found in {
        "low tone": pitches("low tone") < BORDER,
        "high tone": pitches("high tone") > BORDER,
        "away from high": pitches("tone", negative="high tone", guidance_scale=3.0) < BORDER,
        "first half": pitches(both, slice(1800)) < BORDER,
        "second half": pitches(both, slice(2300, None)) > BORDER,
        "synonym": pitches("a very deep bass tone") < BORDER,
    }.items():
        assert found.double().mean() >= 0.75, name


def test_a_run_keeps_the_default_guidance_of_the_model_that_it_starts_from(tones, tmp_path):
    setting = GuidanceSetting(3.0, highest=2.0)
    base = AudioGenerator.from_pretrained(run(tones, tmp_path / "base", 1)).model
    base.with_arguments(guidance=setting).save_pretrained(tmp_path / "guided", {})
    start = f"init_from={tmp_path / 'guided'}"
    for steps, words in ((1, (start,)), (2, (start, "resume=last"))):
        model = run(tones, tmp_path / "own", steps, *words)
        assert AudioGenerator.from_pretrained(model).model.guidance == setting
