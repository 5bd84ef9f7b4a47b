"""The model and the generator of sound from nothing: what a clip depends on, and what it does not."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import as_loaded

from audiodiff.audio.average_spectrum import AverageSpectrum
from audiodiff.audio.io import Audio
from audiodiff.audio.loudness import normalize_peak
from audiodiff.conditioners.labels import Labels
from audiodiff.diffusion.objective import V
from audiodiff.diffusion.schedules.schedule import Cosine
from audiodiff.errors import UserError
from audiodiff.models.audio_model import AudioModel
from audiodiff.models.codec import Codec
from audiodiff.models.vocoder_model import VocoderModel
from audiodiff.nn.autoencoder import Autoencoder
from audiodiff.nn.frontends.frontend import IdentityFrontend, StftFrontend
from audiodiff.nn.network import Network
from audiodiff.pipelines.audio_generator import AudioGenerator
from audiodiff.pipelines.options import GenerationConfig
from audiodiff.pipelines.seeds import clip_seeds

RATE, SAMPLES = 8000, 1600
LABELS = ("kick", "snare")


@pytest.fixture(scope="module")
def generator(make_music) -> AudioGenerator:
    return AudioGenerator(make_music())


def test_shapes_and_lengths(generator):
    assert generator.generate(seed=3).samples.shape == (2, SAMPLES)
    assert generator.generate(clip_seeds=[1, 2, 3]).samples.shape == (3, 2, SAMPLES)
    assert generator.generate(clip_seeds=[1], seconds=0.1).samples.shape == (1, 2, 800)
    assert generator.generate(clip_seeds=[]).samples.shape == (0, 2, SAMPLES)
    assert generator.generate(seed=0).sample_rate == RATE


@settings(max_examples=8, deadline=None)
@given(
    st.lists(st.integers(0, 99), min_size=1, max_size=5),
    st.sampled_from(["ddim", "ddpm"]),
    st.sampled_from([(), ("kick",)]),
)
def test_a_clip_does_not_depend_on_its_batch(generator, seeds, sampler, labels):
    options = {"steps": 3, "sampler": sampler, "labels": labels, "guidance_scale": 2.0 if labels else 1.0}
    together = generator.generate(clip_seeds=seeds, **options).samples
    for seed, clip in zip(seeds, together, strict=True):
        alone = generator.generate(clip_seeds=[seed], **options).samples[0]
        torch.testing.assert_close(alone, clip, rtol=0, atol=1e-4)


def test_a_count_is_the_beginning_of_a_larger_one():
    assert clip_seeds(5, 64)[:8] == clip_seeds(5, 8)
    assert len({*clip_seeds(5, 64), *clip_seeds(6, 64)}) == 128


def test_clips_are_levelled_without_clipping_or_offset(generator):
    clips = generator.generate(count=4).samples
    torch.testing.assert_close(clips.abs().amax((1, 2)), torch.full((4,), 0.9))
    assert clips.mean(-1).abs().max() < 1e-6
    as_they_come = generator.generate(count=4, peak_level=None).samples
    torch.testing.assert_close(normalize_peak(as_they_come, 0.9), clips)


def test_silence_is_not_raised():
    clips = torch.stack([torch.zeros(1, 50), torch.full((1, 50), 0.3)])
    assert not normalize_peak(clips, 0.9).any()


def test_labels_and_guidance_move_the_clip(generator):
    made = {
        (labels, guidance): generator.generate(seed=1, labels=labels, guidance_scale=guidance).samples
        for labels, guidance in (((), 1.0), (("kick",), 1.0), (("snare",), 1.0), (("kick",), 3.0))
    }
    clips = list(made.values())
    assert all(not torch.allclose(clips[i], clips[j], atol=1e-3) for i in range(4) for j in range(i))


def test_long_clips_are_guided_as_well(generator):
    wishes = ({"labels": ["kick"]}, {"labels": ["kick"], "guidance_scale": 3.0})
    one, other = (generator.generate(clip_seeds=[1, 2], seconds=0.5, steps=2, **wish).samples for wish in wishes)
    assert one.shape == (2, 2, 4000) and not torch.allclose(one, other, atol=1e-3)
    alone = generator.generate(clip_seeds=[2], seconds=0.5, steps=2, labels=["kick"], guidance_scale=3.0).samples
    torch.testing.assert_close(alone[0], other[1], rtol=0, atol=1e-4)


def test_the_noise_is_of_the_recordings_color(make_music):
    """Where the network knows nothing (it answers 0 for v), what comes out is the prior's noise."""
    model = make_music(channels=1, labels=())
    torch.nn.init.zeros_(model.network.unet.conv_out.weight)
    torch.nn.init.zeros_(model.network.unet.conv_out.bias)
    clips = AudioGenerator(model).generate(count=40, steps=1, sampler="ddim", peak_level=None).samples
    assert not clips.any()  # x0 = alpha x - sigma v, and alpha(1) = 0
    noise = torch.randn(40, 1, SAMPLES)
    hertz = torch.linspace(200, 3800, 100)
    found = AverageSpectrum.from_signals(model.restore(noise), RATE).gain(hertz)
    assert (20 * (found / model.spectrum.gain(hertz)).log10()).abs().max() < 2
    torch.testing.assert_close(model.normalize(model.restore(noise)), noise, rtol=0, atol=1e-4)


def test_a_checkpoint_is_the_model(tmp_path, generator):
    generator.model.save_pretrained(tmp_path / "m", {"steps": 3})
    again = AudioGenerator.from_pretrained(tmp_path / "m")
    assert again.training == {"steps": 3} and len(again.model_hash) == 64
    assert (again.model.labels, again.model.spectrum.decibels) == (LABELS, generator.model.spectrum.decibels)
    before = AudioGenerator(as_loaded(generator.model))
    assert torch.equal(again.generate(seed=7).samples, before.generate(seed=7).samples)
    with pytest.raises(UserError, match=r"'audio'.*'vocoder'"):
        VocoderModel.from_pretrained(tmp_path / "m")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": ["gong"]}, "labels 'gong': .*kick, snare"),
        ({"guidance_scale": 2.0}, "guidance_scale 2: .*--label"),
        ({"guidance_scale": math.nan, "labels": ["kick"]}, "guidance_scale nan: .*at most 100"),
        ({"tempo": 120.0}, "tempo 120.*: .*labels"),
        ({"gong": 1}, "gong 1: .*labels"),
        ({"seconds": 0.0}, "seconds 0: .*above 0"),
        ({"seconds": math.nan}, "seconds nan: .*above 0"),
        ({"seconds": 1e-5}, "seconds 1e-05: "),
        ({"sampler": "nope"}, "nope"),
        ({"steps": 0}, "0"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(generator, options, message):
    with pytest.raises(UserError, match=message) as error:
        generator.generate(seed=0, **options)
    assert "\n" not in str(error.value)


def test_networks_that_do_not_fit(make_music):
    with pytest.raises(UserError, match=r"labels.*embedding=16"):
        AudioModel(make_music().network, Cosine(), V(), RATE, SAMPLES, conditioners=[Labels(["kick"], 8)])
    network = Network(StftFrontend(1, 64, 16, signals=1), 0, 1, [16], [1])
    with pytest.raises(UserError, match=r"network.*signals=0"):
        AudioModel(network, Cosine(), V(), RATE, SAMPLES)
    with pytest.raises(UserError, match=r"labels .*takes none"):
        AudioGenerator(make_music(labels=())).generate(labels=["kick"])


@pytest.fixture(scope="module", params=["waveform", "latents"])
def either(request, make_music, make_latent_music):
    return AudioGenerator(make_music() if request.param == "waveform" else make_latent_music())


def test_any_length_is_made(either):
    for seconds in (0.01, 0.2, 0.5, 1.0):
        made = either.generate(clip_seeds=[1, 2], seconds=seconds, steps=2).samples
        assert made.shape == (2, 2, round(seconds * RATE)) and made.isfinite().all()
        alone = either.generate(clip_seeds=[2], seconds=seconds, steps=2).samples
        torch.testing.assert_close(alone[0], made[1], rtol=0, atol=1e-4)


def test_pieces_are_the_clip(either):
    wish = GenerationConfig(seconds=12.0, steps=1)
    pieces = list(either.chunks(wish, [3]))
    whole = either.generate(clip_seeds=[3], seconds=12.0, steps=1, peak_level=None).samples
    assert torch.equal(torch.cat(pieces, dim=-1), whole)
    assert (len(pieces) > 1) == (either.model.codec is not None)


def test_a_long_continuation_comes_in_pieces(make_latent_music):
    generator = AudioGenerator(make_latent_music())
    given = generator.generate(seed=7, seconds=0.5, steps=2, peak_level=0.4)
    pieces = list(generator.chunks(GenerationConfig(seconds=12.0, steps=1, sampler="ddim", continue_from=given), [3]))
    assert len(pieces) > 1 and sum(piece.shape[-1] for piece in pieces) == round(12.5 * RATE)


def test_the_end_of_a_loop_leads_to_its_beginning(either):
    """The step from the last sample to the first is like the steps inside of the clip."""
    loop = either.generate(count=12, seconds=0.4, steps=2, loop=True, peak_level=None).samples
    assert loop.shape[-1] % either.model.stride == 0
    steps = loop.diff(dim=-1).abs()
    across = (loop[..., 0] - loop[..., -1]).abs()
    assert float(across.mean()) < 1.5 * float(steps.mean())
    second = either.generate(count=12, seconds=0.4, steps=2, loop=True, peak_level=None).samples
    assert torch.equal(loop, second)


def test_a_continuation_is_the_clip_and_more(either):
    given = either.generate(seed=7, seconds=0.5, steps=2, peak_level=0.4)
    made = either.generate(clip_seeds=[1, 2], continue_from=given, seconds=0.3, steps=4).samples
    assert made.shape == (2, 2, 4000 + 2400)
    fade = round(0.02 * RATE)
    for clip in made:
        torch.testing.assert_close(clip[:, : 4000 - fade], given.samples[:, : 4000 - fade], rtol=0, atol=1e-6)
    assert not torch.allclose(made[0, :, 4000:], made[1, :, 4000:])
    if either.model.codec is None:  # its context is kept to the sample
        torch.testing.assert_close(made[0, :, :4000], given.samples, rtol=0, atol=1e-3)
    mono = either.generate(seed=1, continue_from=Audio(given.samples[0], 4 * RATE), seconds=0.1, steps=2).samples
    assert mono.shape == (2, 1000 + 800)


def test_a_variation_is_nearer_the_less_it_may_differ(make_music):
    either = AudioGenerator(make_music(channels=1))
    given = Audio(0.4 * (2 * math.pi * 300 / RATE * torch.arange(1500)).sin(), RATE)
    distances = []
    for strength in (0.05, 0.5, 1.0):
        made = either.generate(
            clip_seeds=[1, 2, 3], init_audio=given, init_noise_level=strength, steps=8, peak_level=None
        ).samples
        assert made.shape == (3, 1, 1500)
        distances.append(float((made[:, 0] - given.samples).square().mean()))
    assert distances[0] < 0.05 * float(given.samples.square().mean()) and distances == sorted(distances)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"continue_from": Audio(torch.zeros(800), RATE)}, "continue_from: .*silent"),
        ({"continue_from": Audio(torch.ones(3), RATE)}, "continue_from: .*short"),
        ({"init_audio": Audio(torch.zeros(800), RATE)}, "init_audio: silent"),
        ({"init_audio": Audio(torch.ones(3, 800), RATE)}, "3 channels"),
        ({"init_audio": Audio(torch.ones(800), RATE), "seconds": 1.0}, "seconds 1: .*variation"),
        ({"init_audio": Audio(torch.ones(800), RATE), "init_noise_level": 0.0}, "init_noise_level 0: .*0.001"),
        ({"init_audio": Audio(torch.ones(800), RATE), "loop": True}, "mutually exclusive"),
        ({"tempo": -1.0}, "tempo -1: "),
        ({"labels": "kick"}, "labels 'kick': .*list"),
    ],
)
def test_given_clips_and_wishes_that_cannot_be(make_latent_music, options, message):
    with pytest.raises(UserError, match=message):
        AudioGenerator(make_latent_music()).generate(seed=0, steps=2, **options)


def test_a_latent_model_is_kept_whole(tmp_path, make_latent_music):
    """Autoencoder, its measured latents and all; and its codec can be had of it."""
    model = make_latent_music()
    model.autoencoder.mean.normal_()
    model.autoencoder.deviation.uniform_(0.5, 2)
    model.save_pretrained(tmp_path / "m")
    again = AudioGenerator.from_pretrained(tmp_path / "m")
    before = AudioGenerator(as_loaded(model))
    assert torch.equal(again.generate(seed=1, steps=2).samples, before.generate(seed=1, steps=2).samples)
    codec, x = Codec.from_pretrained(tmp_path / "m"), torch.randn(1, 2, 800)
    assert torch.equal(codec.encode(x), model.eval().normalize(x)) and codec.channels == 2
    learned = {id(parameter) for parameter in model.trainable_parameters()}
    assert not learned & {id(parameter) for parameter in model.autoencoder.parameters()}
    codec.save_pretrained(tmp_path / "codec")
    assert torch.equal(Codec.from_pretrained(tmp_path / "codec").encode(x), codec.encode(x))
    with pytest.raises(UserError, match=r"'codec'.*'audio'"):
        AudioGenerator.from_pretrained(tmp_path / "codec")


def test_networks_and_latents_that_do_not_fit(make_latent_music):
    network = Network(IdentityFrontend(7), 0, 1, [16], [1])
    with pytest.raises(UserError, match="has 7 channels, the codec 4 latents"):
        AudioModel(network, Cosine(), V(), RATE, SAMPLES, autoencoder=make_latent_music().autoencoder)


def test_without_phases_left_and_right_are_coded_as_they_are():
    torch.manual_seed(0)
    network = Autoencoder(latents=3, hop_length=16, channels=[8, 8], blocks=[1, 1], phases=False)
    codec, x = Codec(network, 8000).eval(), torch.randn(1, 2, 640)
    left, right = codec.encode(x).chunk(2, dim=1)
    torch.testing.assert_close(codec.encode(x.flip(1)), torch.cat([right, left], 1))
    torch.testing.assert_close(codec.decode(torch.cat([right, left], 1)), codec.decode(codec.encode(x)).flip(1))


def test_untrained_the_network_is_fresh_and_the_codec_is_the_trained_one(make_latent_music, tmp_path):
    """What a model is compared with has the codec that it has itself: mean and deviation of the latents included."""
    model = make_latent_music()
    torch.nn.init.constant_(model.codec.network.mean, 0.5)
    model.save_pretrained(tmp_path)
    untrained = AudioGenerator.untrained(tmp_path).model
    mine, theirs = (one.codec.network.state_dict() for one in (untrained, model))
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)
    assert model.network.unet.conv_out.weight.any() and not untrained.network.unet.conv_out.weight.any()


def test_fewer_steps_than_validated_give_one_warning(make_music):
    generator = AudioGenerator(make_music(validated=(4, 20)))
    with pytest.warns(UserWarning, match="steps 3") as caught:
        generator.check(GenerationConfig(steps=3))
        generator.generate(steps=3)
    assert len(caught) == 1
