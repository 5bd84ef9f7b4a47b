"""The model and the generator of sound from nothing: what a clip depends on, and what it does not."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audiodiff.audio.average_spectrum import AverageSpectrum
from audiodiff.diffusion.objective import V
from audiodiff.diffusion.schedule import Cosine
from audiodiff.errors import UserError
from audiodiff.nn.frontend import StftFrontend
from audiodiff.nn.network import Network
from audiodiff.synthesis.model import VocoderModel
from audiodiff.synthesis.music import MusicGenerator, levelled, seeds_of
from audiodiff.synthesis.music_model import MusicModel

RATE, SAMPLES = 8000, 1600
LABELS = ("kick", "snare")


@pytest.fixture(scope="module")
def generator(make_music) -> MusicGenerator:
    return MusicGenerator(make_music())


def test_shapes_and_lengths(generator):
    assert generator.generate(3).samples.shape == (2, SAMPLES)
    assert generator.generate([1, 2, 3]).samples.shape == (3, 2, SAMPLES)
    assert generator.generate([1], seconds=0.1).samples.shape == (1, 2, 800)
    assert generator.generate([]).samples.shape == (0, 2, SAMPLES)
    assert generator.generate(0).sample_rate == RATE


@settings(max_examples=8, deadline=None)
@given(
    st.lists(st.integers(0, 99), min_size=1, max_size=5),
    st.sampled_from(["ddim", "ddpm"]),
    st.sampled_from([(), ("kick",)]),
)
def test_a_clip_does_not_depend_on_its_batch(generator, seeds, sampler, labels):
    options = {"steps": 3, "sampler": sampler, "labels": labels, "guidance": 2.0 if labels else 1.0}
    together = generator.generate(seeds, **options).samples
    for seed, clip in zip(seeds, together, strict=True):
        torch.testing.assert_close(generator.generate(seed, **options).samples, clip, rtol=0, atol=1e-4)


def test_a_count_is_the_beginning_of_a_larger_one():
    assert seeds_of(5, 64)[:8] == seeds_of(5, 8)
    assert len({*seeds_of(5, 64), *seeds_of(6, 64)}) == 128


def test_clips_are_levelled_without_clipping_or_offset(generator):
    clips = generator.generate(seeds_of(0, 4)).samples
    torch.testing.assert_close(clips.abs().amax((1, 2)), torch.full((4,), 0.9))
    assert clips.mean(-1).abs().max() < 1e-6
    as_they_come = generator.generate(seeds_of(0, 4), peak=None).samples
    torch.testing.assert_close(levelled(as_they_come, 0.9), clips)


def test_silence_is_not_raised():
    clips = torch.stack([torch.zeros(1, 50), torch.full((1, 50), 0.3)])
    assert not levelled(clips, 0.9).any()


def test_labels_and_guidance_move_the_clip(generator):
    made = {
        (labels, guidance): generator.generate(1, labels=labels, guidance=guidance).samples
        for labels, guidance in (((), 1.0), (("kick",), 1.0), (("snare",), 1.0), (("kick",), 3.0))
    }
    clips = list(made.values())
    assert all(not torch.allclose(clips[i], clips[j], atol=1e-3) for i in range(4) for j in range(i))


def test_the_noise_is_of_the_recordings_colour(make_music):
    """Where the network knows nothing (it answers 0 for v), what comes out is the prior's noise."""
    model = make_music(channels=1, labels=())
    torch.nn.init.zeros_(model.network.unet.leave.weight)
    torch.nn.init.zeros_(model.network.unet.leave.bias)
    clips = MusicGenerator(model).generate(seeds_of(0, 40), steps=1, sampler="ddim", peak=None).samples
    assert not clips.any()  # x0 = alpha x - sigma v, and alpha(1) = 0
    noise = torch.randn(40, 1, SAMPLES)
    hertz = torch.linspace(200, 3800, 100)
    found = AverageSpectrum.measured(model.restore(noise), RATE).gain(hertz)
    assert (20 * (found / model.spectrum.gain(hertz)).log10()).abs().max() < 2
    torch.testing.assert_close(model.normalise(model.restore(noise)), noise, rtol=0, atol=1e-4)


def test_a_checkpoint_is_the_model(tmp_path, generator):
    generator.model.save_pretrained(tmp_path / "m", {"steps": 3})
    again = MusicGenerator.from_pretrained(tmp_path / "m")
    assert again.training == {"steps": 3} and len(again.model_hash) == 64
    assert (again.model.labels, again.model.spectrum.decibels) == (LABELS, generator.model.spectrum.decibels)
    assert torch.equal(again.generate(7).samples, generator.generate(7).samples)
    with pytest.raises(UserError, match=r"type 'music', not 'vocoder'.*choose a vocoder"):
        VocoderModel.from_pretrained(tmp_path / "m")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": ["gong"]}, r"label 'gong': is not one of the model's.*kick, snare"),
        ({"guidance": 2.0}, "has nothing to go to"),
        ({"tempo": 120.0}, r"tempo 120: is not what this model is told"),
        ({"seconds": 0.0}, r"seconds 0\.0: is no length"),
        ({"seconds": math.nan}, "is no length"),
        ({"seconds": 1e-5}, "is no length"),
        ({"sampler": "nope"}, "nope"),
        ({"steps": 0}, "0"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(generator, options, message):
    with pytest.raises(UserError, match=message) as error:
        generator.generate(0, **options)
    assert "\n" not in str(error.value)


def test_networks_that_do_not_fit(make_music):
    with pytest.raises(UserError, match="is told 2 labels, the model names 1"):
        MusicModel(make_music().network, Cosine(), V(), RATE, SAMPLES, labels=["kick"])
    network = Network(StftFrontend(1, 64, 16, signals=1), 0, 1, [16], [1])
    with pytest.raises(UserError, match="takes a mel or signals"):
        MusicModel(network, Cosine(), V(), RATE, SAMPLES)
    with pytest.raises(UserError, match="there are none: it was trained without"):
        MusicGenerator(make_music(labels=())).generate(0, labels=["kick"])
