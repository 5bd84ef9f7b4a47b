"""The vocoder's promises: lengths, seeds, and clips that do not depend on the batch they are in."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audiodiff.audio.io import Audio
from audiodiff.audio.mel import PRESETS
from audiodiff.audio.prior import StandardPrior
from audiodiff.diffusion.noise import clip_seed
from audiodiff.diffusion.objective import X0, Epsilon, V
from audiodiff.diffusion.samplers import presets
from audiodiff.diffusion.schedules.schedule import Cosine, VarianceExploding
from audiodiff.diffusion.variance import LearnedVariance
from audiodiff.errors import UserError
from audiodiff.models.setting import Setting
from audiodiff.models.vocoder_model import VocoderModel
from audiodiff.nn.frontends.frontend import StftFrontend
from audiodiff.nn.network import Network
from audiodiff.pipelines.pipeline import Progress
from audiodiff.pipelines.vocoder import Vocoder

HOP = PRESETS["speech_16k"].hop_length


def mels_of(vocoder, recording, frames):
    return [vocoder.mel(recording(count * HOP, seed=i))[:, :count] for i, count in enumerate(frames)]


# Every sampler that any model can be asked for, with as few calls as it can do with.
SAMPLERS = {name: max(3, preset.min_nfe) for name, preset in presets.PRESETS.items() if name != "ddpm_learned"}


def distance(a: Audio, b: Audio) -> float:
    """Largest difference, relative to the peak of the second."""
    assert a.samples.shape == b.samples.shape and a.sample_rate == b.sample_rate
    return ((a.samples - b.samples).abs().max() / b.samples.abs().max()).item()


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize(("frontend", "prior", "consistency"), [("stft", "mel", 6), ("strided", "standard", 0)])
def test_a_ragged_batch_equals_its_clips_alone(tiny, recording, frontend, prior, sampler, consistency):
    vocoder = Vocoder(tiny(frontend, prior=prior))
    mels = mels_of(vocoder, recording, [9, 1, 26, 14, 26])
    options = {"steps": 4, "sampler": sampler, "consistency": consistency}
    together = vocoder.generate(mels, clip_seeds=[1, 2, 3, 4, 5], **options)
    for mel, seed, clip in zip(mels, [1, 2, 3, 4, 5], together, strict=True):
        alone = vocoder.generate(mel, clip_seeds=[seed], **options)
        assert len(clip.samples) == mel.shape[-1] * HOP
        assert distance(clip, alone) < 1e-4


@pytest.mark.parametrize("spec", ["hifigan_22k", "vocos_24k"])
@pytest.mark.parametrize("objective", [Epsilon(), X0(), V()], ids=lambda o: type(o).__name__)
def test_a_batch_equals_its_clips_alone_for_every_objective_and_framing(tiny, recording, objective, spec):
    vocoder = Vocoder(tiny(objective=objective, spec=spec))
    mels = [vocoder.mel(recording(n, vocoder.sample_rate, seed=n)) for n in (2500, 6000, 4000)]
    together = vocoder.generate(mels, 3, clip_seeds=[4, 5, 6])
    for mel, seed, clip in zip(mels, [4, 5, 6], together, strict=True):
        assert distance(clip, vocoder.generate(mel, 3, clip_seeds=[seed])) < 1e-4


@settings(max_examples=12, deadline=None)
@given(frames=st.lists(st.integers(1, 30), min_size=1, max_size=4), seed=st.integers(-(2**40), 2**40))
def test_lengths_and_seeds_of_any_list(vocoder, frames, seed):
    mels = [torch.linspace(-9, -3, count).expand(80, -1) for count in frames]
    made = vocoder.generate(mels, 2, seed=seed, consistency=1)
    assert [len(audio.samples) for audio in made] == [count * HOP for count in frames]
    assert all(audio.samples.isfinite().all() and audio.sample_rate == 16000 for audio in made)
    keys = [clip_seed(seed, str(i)) for i in range(len(frames))]
    for mel, key, audio in zip(mels, keys, made, strict=True):
        assert distance(vocoder.generate(mel, 2, clip_seeds=[key], consistency=1), audio) < 1e-4


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_seeds_decide_and_nothing_else_does(vocoder, recording, sampler):
    mel = vocoder.mel(recording(4000))
    steps = SAMPLERS[sampler]
    one, same, other = (vocoder.generate(mel, steps, seed=seed, sampler=sampler) for seed in (5, 5, 6))
    assert torch.equal(one.samples, same.samples)
    assert distance(one, other) > 0.01


def test_a_variance_that_was_never_learned_cannot_be_asked_for(vocoder, recording):
    with pytest.raises(UserError, match=r"ddpm_learned: .*learned variance"):
        vocoder.generate(vocoder.mel(recording(2000)), 3, sampler="ddpm_learned")


def test_a_learned_variance_is_sampled(recording):
    spec = PRESETS["speech_16k"]
    network = Network(StftFrontend(), 80, HOP, channels=[8], blocks=[1], embedding=8, num_outputs=2)
    model = VocoderModel(
        network, Cosine(), LearnedVariance(V()), spec, StandardPrior(), settings=[Setting(consistency=0)]
    )
    vocoder = Vocoder(model)
    mel = vocoder.mel(recording(2000))
    learned, small = (vocoder.generate(mel, 3, sampler=name) for name in ("ddpm_learned", "ddpm"))
    assert distance(learned, small) > 1e-3 and learned.samples.isfinite().all()


def test_a_process_of_growing_variance_starts_at_its_own_level(tiny, recording):
    vocoder, seen = Vocoder(tiny(objective=X0(), schedule=VarianceExploding(), consistency=0)), []
    vocoder.model.network.register_forward_pre_hook(lambda module, given: seen.append(float(given[0].std())))
    vocoder.generate(vocoder.mel(recording(8000)), 3)
    assert seen[0] == pytest.approx(1, abs=0.03)


def test_one_mel_a_batch_and_a_list(vocoder, recording):
    mel = vocoder.mel(recording(4000))
    assert vocoder.generate(mel, 2).samples.shape == (16 * HOP,)
    assert vocoder.generate(torch.stack([mel, mel]), 2).samples.shape == (2, 1, 16 * HOP)
    assert [audio.samples.shape for audio in vocoder.generate([mel], 2)] == [(16 * HOP,)]
    assert vocoder.generate([], 2) == []


def test_the_models_own_sampler_and_consistency_are_the_defaults(tiny, recording):
    vocoder = Vocoder(tiny(sampler="ddim", consistency=3))
    mel = vocoder.mel(recording(4000))
    made = vocoder.generate(mel, 3)
    assert torch.equal(made.samples, vocoder.generate(mel, 3, sampler="ddim", consistency=3).samples)
    assert distance(made, vocoder.generate(mel, 3, sampler="dpmpp_2m")) > 1e-3
    assert distance(made, vocoder.generate(mel, 3, consistency=0)) > 1e-3


def test_consistency_brings_the_mel_nearer(vocoder, recording):
    mel = vocoder.mel(recording(8000))[:, :31]

    def error(consistency):
        made = vocoder.generate(mel, 2, consistency=consistency)
        return (vocoder.mel(made)[:, :31] - mel).abs().mean().item()

    assert error(16) < 0.5 * error(0)


def test_progress_counts_network_calls(vocoder, recording):
    told = []
    vocoder.generate(vocoder.mel(recording(2000)), 3, callback=told.append)
    assert told == [Progress(1, 3), Progress(2, 3), Progress(3, 3)]


@pytest.mark.parametrize("spec", ["speech_16k", "hifigan_22k", "vocos_24k"])
@pytest.mark.parametrize("samples", [1, 255, 256, 257, 5000])
@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_copy_synthesis_is_as_long_as_its_recording(tiny, recording, spec, samples, rate):
    vocoder = Vocoder(tiny(spec=spec, consistency=0))
    made = vocoder.resynthesize(recording(samples, rate), 2)
    assert made.sample_rate == vocoder.sample_rate
    assert len(made.samples) == -(-samples * vocoder.sample_rate // rate)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_is_near_float32(model_folder, vocoder, recording, precision):
    mel = vocoder.mel(recording(4000))
    half = Vocoder.from_pretrained(model_folder, precision=precision).generate(mel, 3)
    assert half.samples.dtype == torch.float32
    assert 0 < distance(half, vocoder.generate(mel, 3)) < 0.3


@pytest.mark.parametrize(
    ("mel", "words"),
    [
        (torch.zeros(79, 5), "79x5"),
        (torch.zeros(80), "shape 80"),
        (torch.zeros(80, 0), "no frames"),
        (torch.full((80, 4), torch.nan), "NaN or infinite"),
        (torch.zeros(2, 40, 4), "40x4"),
    ],
)
def test_mels_that_are_none(vocoder, mel, words):
    with pytest.raises(UserError, match=words):
        vocoder.generate(mel, 1)


def test_other_bad_arguments(vocoder, model_folder):
    mel = torch.zeros(80, 4)
    with pytest.raises(UserError, match="sampler 'magic'"):
        vocoder.generate(mel, 1, sampler="magic")
    with pytest.raises(UserError, match=r"steps 0: .* at least 1"):
        vocoder.generate(mel, 0)
    with pytest.raises(UserError, match="3 for 1 clips"):
        vocoder.generate(mel, 1, clip_seeds=[1, 2, 3])
    with pytest.raises(UserError, match="choose one of float32"):
        Vocoder.from_pretrained(model_folder, precision="float8")
    with pytest.raises(UserError, match="use --device cpu"):
        Vocoder.from_pretrained(model_folder, device="abacus")


def test_untrained_is_silent_where_the_trained_speaks(tiny, recording, tmp_path):
    tiny(objective=X0(), consistency=0).save_pretrained(tmp_path)
    mel = Vocoder.from_pretrained(tmp_path).mel(recording(3000))
    assert Vocoder.from_pretrained(tmp_path).generate(mel, 2).samples.abs().max() > 0
    assert Vocoder.untrained(tmp_path).generate(mel, 2).samples.abs().max() == 0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_gpu_makes_the_same_clip(model_folder, vocoder, recording):
    mel = vocoder.mel(recording(8000))
    there = Vocoder.from_pretrained(model_folder, "cuda").generate(mel, 4, seed=3, sampler="ddpm", consistency=0)
    assert distance(there, vocoder.generate(mel, 4, seed=3, sampler="ddpm", consistency=0)) < 5e-3
