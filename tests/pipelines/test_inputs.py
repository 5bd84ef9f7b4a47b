"""What users pass in Python: sensible types work alike, all others are one line, and nothing is silently misread."""

import math
import re
import warnings
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audiodiff.audio.io import Audio
from audiodiff.audio.mel import PRESETS, MelSpectrogram, full_scale
from audiodiff.errors import UserError
from audiodiff.models.codec import Codec
from audiodiff.nn.autoencoder import Autoencoder
from audiodiff.options import whole_number
from audiodiff.pipelines.audio_generator import AudioGenerator
from audiodiff.pipelines.inputs import mel_tensors
from audiodiff.pipelines.options import GenerationConfig, configure

SPEC = PRESETS["speech_16k"]
MEL = torch.linspace(-9, -3, 80)[:, None] + torch.linspace(0, 1, 5)
WHOLE = [
    int,
    float,
    np.float32,
    lambda n: torch.tensor(float(n)),
    np.int16,
    np.int64,
    np.uint8,
    torch.tensor,
    lambda n: torch.tensor(n, dtype=torch.int16),
    np.array,
]
NOT_WHOLE = [
    4.5,
    "4",
    None,
    np.float32(4.5),
    torch.tensor(4.5),
    np.nan,
    np.inf,
    [4],
    np.array([4]),
    torch.tensor([4, 4]),
]
MELS = {
    "tensor": lambda mel: mel,
    "float64": lambda mel: mel.double(),
    "trained": lambda mel: mel.clone().requires_grad_(),
    "transposed view": lambda mel: mel.T.contiguous().T,
    "array": lambda mel: mel.numpy(),
    "array of float64": lambda mel: mel.double().numpy(),
    "array in Fortran's order": lambda mel: np.asfortranarray(mel.numpy()),
    "big-endian array": lambda mel: mel.numpy().astype(">f4"),
    "read-only array": lambda mel: np.frombuffer(mel.numpy().tobytes(), np.float32).reshape(mel.shape),
    "list": lambda mel: mel.tolist(),
    "list of arrays": lambda mel: list(mel.numpy()),
}


@pytest.fixture(scope="module")
def music(make_music):
    return AudioGenerator(make_music(scalars=("tempo",)))


@pytest.fixture(scope="module")
def expected(vocoder):
    return vocoder.generate(MEL, 2, clip_seeds=[3], consistency=1).samples


def one_line(caught) -> str:
    line = str(caught.value)
    assert "\n" not in line and len(line) < 300
    return line


@settings(max_examples=40, deadline=None)
@given(
    kind=st.sampled_from(list(MELS)),
    number=st.sampled_from(WHOLE),
    container=st.sampled_from(["one", "batch", "array batch", "list", "tuple", "generator"]),
)
def test_a_mel_of_any_type_makes_the_same_audio(vocoder, expected, kind, number, container):
    mel, options = MELS[kind](MEL), {"steps": number(2), "clip_seeds": [number(3)], "consistency": number(1)}
    if container == "one":
        made = vocoder.generate(mel, **options)
        assert isinstance(made, Audio) and torch.equal(made.samples, expected)
        return
    if container.endswith("batch"):
        batch = MEL[None] if container == "batch" else np.asarray(MEL[None])
        made = vocoder.generate(batch, **options)
        assert torch.equal(made.samples, expected[None, None])
        return
    many = {"list": [mel], "tuple": (mel,), "generator": (one for one in [mel])}[container]
    made = vocoder.generate(many, **options)
    assert isinstance(made, list) and torch.equal(made[0].samples, expected)


@pytest.mark.parametrize("seeds", [[3, 4], (3, 4), np.array([3, 4]), torch.tensor([3, 4]), range(3, 5)])
def test_seeds_come_in_any_sequence(vocoder, music, expected, seeds):
    made = vocoder.generate([MEL.numpy(), MEL], 2, clip_seeds=seeds, consistency=1)
    torch.testing.assert_close(made[0].samples, expected, rtol=0, atol=1e-5)
    clips = music.generate(clip_seeds=seeds, steps=2, seconds=0.1).samples
    assert clips.shape == (2, 2, 800) and torch.equal(
        clips, music.generate(clip_seeds=[3, 4], steps=2, seconds=0.1).samples
    )


@pytest.mark.parametrize("number", WHOLE)
def test_numbers_of_music_may_be_numpys_and_tensors(music, number):
    wish = {"seconds": 0.1, "tempo": 120.0, "guidance_scale": 2.0, "steps": 2, "labels": ["kick"], "seed": 3}
    same = wish | {
        "seed": number(3),
        "seconds": np.float64(0.1),
        "tempo": number(120),
        "guidance_scale": torch.tensor(2),
        "steps": number(2),
        "labels": np.array(["kick"]),
    }
    config = configure(GenerationConfig, same)
    assert config.steps == 2 and type(config.steps) is int
    assert torch.equal(music.generate(config).samples, music.generate(**wish).samples)


@pytest.mark.parametrize("value", [value for value in NOT_WHOLE if value is not None])
def test_steps_are_whole_numbers_everywhere(vocoder, music, value):
    for ask in (
        lambda: vocoder.generate(MEL, value),
        lambda: vocoder.stream([MEL], value),
        lambda: vocoder.resynthesize(Audio(np.zeros(500), 16000), value),
        lambda: music.generate(steps=value),
        lambda: vocoder.generate(MEL, 2, consistency=value),
        lambda: vocoder.stream([MEL], chunk=value),
    ):
        with pytest.raises(UserError, match="expected an integer") as caught:
            ask()
        one_line(caught)


@settings(max_examples=100, deadline=None)
@given(value=st.integers(-(2**70), 2**70) | st.floats() | st.text() | st.none() | st.lists(st.integers(), max_size=2))
def test_anything_is_a_whole_number_or_one_line(value):
    try:
        number = whole_number(value, "steps")
        assert number == value and type(number) is int
    except UserError as error:
        assert not isinstance(value, int) and str(error).startswith("steps ")
        assert not (isinstance(value, float) and value.is_integer())


@pytest.mark.parametrize("seeds", [1.5, 3, "12", [1.5, 2], np.array([0.5, 1.0]), [["a"], [2]]])
def test_seeds_that_are_refused(vocoder, music, seeds):
    for options in ({"clip_seeds": seeds}, {"seed": None if isinstance(seeds, int) else seeds}):
        for ask in (partial(vocoder.generate, [MEL, MEL], 2), partial(music.generate, steps=2)):
            with pytest.raises(UserError, match=r"^(seed|clip.seeds?) .* expected"):
                ask(**options)


def test_a_negative_consistency_is_refused_everywhere(vocoder):
    for ask in (lambda: vocoder.generate(MEL, 2, consistency=-1), lambda: vocoder.stream([MEL], 2, consistency=-3)):
        with pytest.raises(UserError, match=r"consistency -\d: .*at least 0"):
            ask()


@settings(max_examples=60, deadline=None)
@given(
    shape=st.lists(st.integers(0, 3) | st.just(80), max_size=3),
    dtype=st.sampled_from([np.float32, np.float16, np.int32, np.complex64, bool]),
    value=st.sampled_from([0.0, 1.0, -5.0]),
)
def test_arrays_of_any_shape_are_mels_or_one_line(shape, dtype, value):
    try:
        found = mel_tensors(np.full(shape, value).astype(dtype), SPEC)
    except UserError as error:
        assert str(error).startswith("mel") and "\n" not in str(error)
    else:
        assert tuple(found.shape) == tuple(shape) and found.dtype == torch.float32
        assert shape[-2] == 80 and shape[-1] > 0 and dtype not in (np.complex64, bool)


@pytest.mark.parametrize(
    ("mel", "words"),
    [
        (MEL.numpy().T, "has shape 5x80, this model expects 80 bands x frames; transpose it"),
        ([MEL, MEL.T], "mel 1: has shape 5x80"),
        ([MEL, np.full((80, 3), np.inf)], "mel 1: has NaN or infinite"),
        (np.full((80, 3), 1e300), "mel: has NaN or infinite"),
        ([[1.0, 2.0], [3.0]], "mel 0: has shape 2"),
        ("mel.npy", "mel 0: is not an array of numbers"),
        (None, "mel: is of type NoneType"),
        (7, "mel: is of type int"),
        ([None], "mel 0: is not an array of numbers"),
        ({"mel": MEL}, "mel 0: is not an array of numbers"),
    ],
)
def test_mels_that_are_refused_are_named(vocoder, mel, words):
    with pytest.raises(UserError, match=words) as caught:
        vocoder.generate(mel, 1)
    one_line(caught)


@pytest.mark.parametrize("spec", PRESETS.values(), ids=PRESETS)
def test_no_signal_within_full_scale_exceeds_it(spec):
    wave = torch.arange(8192) / spec.sample_rate
    for signal in (torch.sin(2 * math.pi * 1000 * wave), torch.sin(600 * wave).sign(), torch.ones(8192)):
        assert MelSpectrogram(spec).linear(signal).max() <= full_scale(spec)


@pytest.mark.parametrize("level", [20.0, 60.0, 88.0, 1e6])
def test_an_absurd_mel_is_refused(vocoder, level):
    """A mel of samples that were integers is 10.4 nats too high: silence apart, nothing of it is within full scale."""
    with pytest.raises(UserError, match=re.escape(f"mel: has values up to {level:.3g}, full-scale audio")) as caught:
        vocoder.generate(torch.full((80, 4), level), 1)
    one_line(caught)
    vocoder.generate(torch.full((80, 4), 3.0), 1)


def test_audio_that_is_not_finite_is_an_error(tiny, recording):
    from audiodiff.pipelines.vocoder import Vocoder

    vocoder = Vocoder(tiny(consistency=0))
    vocoder.model.restore = lambda z, mel: torch.full_like(z, torch.nan)
    with pytest.raises(UserError, match="audio: became samples that are not finite"):
        vocoder.generate(MEL, 1)
    with pytest.raises(UserError, match="audio: holds NaN"):
        list(vocoder.stream([MEL], 1))


@pytest.mark.parametrize("rate", [16000, 22050])
@pytest.mark.parametrize("kind", ["tensor", "array", "int16"])
def test_a_recording_of_any_layout_is_resynthesized_whole(vocoder, recording, rate, kind):
    samples = recording(3000, rate).samples
    if kind == "int16":
        samples = (samples * 32767).round().short().float() / 32768
    plain = vocoder.resynthesize(Audio(samples, rate), 2).samples
    given = {"tensor": samples, "array": samples.numpy(), "int16": (samples * 32768).short()}[kind]
    assert plain.shape == (-(-3000 * 16000 // rate),)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        layouts = [Audio(given, rate), Audio(given[None], rate), Audio(np.stack([given, given]), rate)]
    for audio in layouts:
        assert torch.equal(vocoder.resynthesize(audio, 2).samples, plain)
        torch.testing.assert_close(vocoder.mel(audio), vocoder.mel(Audio(samples, rate)))
        assert vocoder.process_signal(audio).shape == (1, len(plain))


@pytest.mark.parametrize("shape", [(0,), (1, 0), (3, 50), (1, 2, 50), (2, 1, 50)])
def test_recordings_of_other_shapes_are_refused(vocoder, shape):
    for ask in (vocoder.mel, vocoder.process_signal, vocoder.resynthesize):
        with pytest.raises(UserError, match=r"audio: .*shape \(") as caught:
            ask(Audio(np.zeros(shape), 16000))
        one_line(caught)
    with pytest.raises(UserError, match="audio: is of type ndarray"):
        vocoder.mel(np.zeros(shape))


@pytest.mark.parametrize("field", ["continue_from", "init_audio"])
def test_given_clips_of_any_layout(music, recording, field):
    clip = recording(1600, 8000).samples
    options = {"seconds": 0.1} if field == "continue_from" else {}
    made = music.generate(seed=1, steps=2, **{field: Audio(clip, 8000)}, **options).samples
    for layout in (clip.numpy(), clip[None], clip.expand(2, -1), clip[None, None]):
        assert torch.equal(music.generate(seed=1, steps=2, **{field: Audio(layout, 8000)}, **options).samples, made)
    with pytest.raises(UserError, match=r"samples of shape"):
        music.generate(seed=1, steps=2, **{field: Audio(np.ones((2, 1, 50)), 8000)}, **options)
    with pytest.raises(UserError, match=f"{field}: .*Audio"):
        music.generate(seed=1, **{field: "clip.wav"})


@pytest.mark.parametrize("name", ["seconds", "tempo", "guidance_scale", "init_noise_level"])
@pytest.mark.parametrize("value", ["abc", [1.0, 2.0], np.nan, np.inf, 10**400, {}])
def test_numbers_that_are_refused(name, value):
    with pytest.raises(UserError, match=f"^{name} ") as caught:
        configure(GenerationConfig, {name: value})
    one_line(caught)


@pytest.mark.parametrize("bad", ["bands", "nan", "loud"])
def test_a_stream_gives_what_came_before_a_bad_chunk(vocoder, bad):
    broken = {"bands": MEL[:79], "nan": MEL * torch.nan, "loud": MEL + 90}[bad]
    whole, pieces = vocoder.generate(torch.cat([MEL, MEL], 1), 2, seed=1).samples, []
    with pytest.raises(UserError, match="mel chunk 3"):
        for piece in vocoder.stream([MEL, MEL[:, :0], MEL.numpy(), broken, MEL], 2, seed=1, chunk=2):
            pieces.append(piece.samples)
    torch.testing.assert_close(torch.cat(pieces), whole, rtol=0, atol=1e-5 * float(whole.abs().max()))


@settings(max_examples=15, deadline=None)
@given(cuts=st.lists(st.integers(0, 10), max_size=5), kind=st.sampled_from(list(MELS)), chunk=st.integers(1, 4))
def test_empty_chunks_are_skipped_wherever_they_come(vocoder, cuts, kind, chunk):
    mel = torch.cat([MEL, MEL], 1)
    edges = [0, *sorted(cuts), 10]
    pieces = [mel[:, a:b] for a, b in pairwise(edges)]
    whole = vocoder.generate(mel, 2).samples
    chunks = [MELS[kind](piece) if piece.shape[1] else piece for piece in pieces]
    made = torch.cat([piece.samples for piece in vocoder.stream(chunks, 2, chunk=chunk)])
    torch.testing.assert_close(made, whole, rtol=0, atol=1e-5 * float(whole.abs().max()))


@pytest.fixture(scope="module")
def codec():
    torch.manual_seed(0)
    return Codec(Autoencoder(latents=4, hop_length=16, channels=[12, 12], blocks=[1, 1]), 8000).eval()


def test_a_codec_takes_arrays(codec):
    waveform = torch.randn(3, 2, 100, generator=torch.Generator().manual_seed(0))
    latents = codec.encode(waveform)
    for same in (waveform.numpy(), waveform.double().numpy()):
        assert torch.equal(codec.encode(same), latents)
    decoded = codec.decode(latents, 100)
    assert torch.equal(codec.decode(latents.detach().numpy(), np.int64(100)), decoded)


@pytest.mark.parametrize(
    ("shape", "dtype", "words"),
    [
        ((2, 100), np.float32, r"recordings: have shape \(2, 100\), this codec expects \(B, 2, T\)"),
        ((100,), np.float32, "have shape"),
        ((2, 1, 100), np.float32, "have shape"),
        ((4, 3, 100), np.float32, "have shape"),
        ((1, 2, 0), np.float32, "have shape"),
        ((1, 2, 100), np.int16, r"recordings: are torch.int16; convert them to float32"),
        ((1, 2, 100), np.complex64, "recordings: .*torch.complex64"),
    ],
)
def test_what_a_codec_refuses(codec, shape, dtype, words):
    for container in (np.asarray, torch.as_tensor):
        with pytest.raises(UserError, match=words):
            codec.encode(container(np.zeros(shape, dtype)))
    with pytest.raises(UserError, match="latents: "):
        codec.decode(np.zeros(shape, dtype))
    with pytest.raises(UserError, match="expected an integer"):
        codec.decode(np.zeros((1, 8, 3), np.float32), 100.5)
