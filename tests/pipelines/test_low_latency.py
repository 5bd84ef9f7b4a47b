"""Low-latency streaming: what is sure of it, and where it meets the exact audio."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_vocoders import SAMPLERS, SPEC, build, error, joined, make_mel

from audiodiff.diffusion.objective import V
from audiodiff.diffusion.variance import LearnedVariance
from audiodiff.errors import UserError
from audiodiff.pipelines import low_latency
from audiodiff.pipelines.low_latency import LowLatencyStream

FRAME = SPEC.hop_length / SPEC.sample_rate


def streamed(vocoder, mel, look_ahead, **options):
    """`look_ahead` in frames."""
    return joined(vocoder.stream([mel], look_ahead=look_ahead * FRAME, **options))


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize(("frontend", "source", "prior"), [("stft", True, "mel"), ("strided", False, "standard")])
def test_with_enough_of_both_sides_a_segment_is_the_whole(monkeypatch, frontend, source, prior, sampler):
    """Noise, steps and pulses continue from segment to segment: only the missing context can make a difference."""
    vocoder, mel = build(frontend, source, prior), make_mel(131)
    options = {"steps": SAMPLERS[sampler], "seed": 7, "sampler": sampler, "consistency": 0}
    halo = vocoder.stream([], **options).halo // SPEC.hop_length
    monkeypatch.setattr(low_latency, "CONTEXT", halo)
    whole = vocoder.generate(mel, **options).samples
    assert halo < 120
    assert error(streamed(vocoder, mel, halo, chunk=3, **options), whole) < 1e-5


@pytest.mark.parametrize(("prior", "bridge"), [("rough", None), ("rough, mel", 0.5)])
def test_so_it_is_from_a_mean(monkeypatch, prior, bridge):
    vocoder, mel = build(source=True, prior=prior, bridge=bridge), make_mel(131)
    options = {"steps": 2, "consistency": 0}
    halo = vocoder.stream([], **options).halo // SPEC.hop_length
    monkeypatch.setattr(low_latency, "CONTEXT", halo)
    assert error(streamed(vocoder, mel, halo, chunk=5, **options), vocoder.generate(mel, **options).samples) < 1e-5


def test_learned_variance(monkeypatch):
    vocoder, mel = build(num_outputs=2, objective=LearnedVariance(V())), make_mel(100)
    options = {"steps": 2, "sampler": "ddpm_learned", "consistency": 0}
    halo = vocoder.stream([], **options).halo // SPEC.hop_length
    monkeypatch.setattr(low_latency, "CONTEXT", halo)
    assert error(streamed(vocoder, mel, halo, chunk=9, **options), vocoder.generate(mel, **options).samples) < 1e-5


def test_a_clip_within_the_first_segment_is_the_whole():
    vocoder, mel = build(source=True), make_mel(14)
    assert error(streamed(vocoder, mel, 6, steps=2, chunk=9), vocoder.generate(mel, 2).samples) < 1e-6


@settings(max_examples=8, deadline=None)
@given(
    pieces=st.lists(st.integers(1, 20), min_size=1, max_size=4),
    chunk=st.integers(2, 40),
    look_ahead=st.integers(1, 30),
    source=st.booleans(),
)
def test_any_arrival_gives_the_same_samples(pieces, chunk, look_ahead, source):
    vocoder, mel = build(source=source), make_mel(sum(pieces))
    options = {"steps": 1, "seed": 3, "chunk": chunk, "look_ahead": look_ahead * FRAME}
    made = joined(vocoder.stream(mel.split(pieces, -1), **options))
    assert made.shape == (sum(pieces) * SPEC.hop_length,)
    assert torch.equal(made, joined(vocoder.stream(mel.split(1, -1), **options)))
    assert not torch.equal(made, joined(vocoder.stream([mel], **options | {"seed": 4})))


def test_audio_comes_when_chunk_and_look_ahead_are_known():
    vocoder, mel, drawn = build(source=True), make_mel(100), 0

    def frames():
        nonlocal drawn
        for frame in mel.split(1, -1):
            drawn += 1
            yield frame

    stream = vocoder.stream(frames(), 2, chunk=4, look_ahead=3 * FRAME)
    assert drawn == 0 and stream.halo == 3 * SPEC.hop_length
    for number, audio in enumerate(stream):
        assert drawn == min(4 * (number + 1) + 3, 100)
        assert len(audio.samples) == 4 * SPEC.hop_length
        if drawn == 99:
            break
    assert [len(audio.samples) for audio in stream] == [4 * SPEC.hop_length]


def bends(samples: torch.Tensor, chunk: int) -> float:
    """How much more happens from sample to sample at borders than elsewhere."""
    second = samples.diff(n=2).abs()
    borders = torch.arange(chunk * SPEC.hop_length, len(samples) - 2, chunk * SPEC.hop_length)
    return (second[borders - 1].mean() / second.mean()).item()


@pytest.mark.parametrize("look_ahead", [1, 3, 12])
def test_borders_do_not_show(look_ahead):
    vocoder, mel = build(source=True), make_mel(200)
    assert bends(streamed(vocoder, mel, look_ahead, steps=2, chunk=5), 5) < 1.3


def test_borders_show_where_nothing_continues(monkeypatch):
    """The test above notices segments that begin anew."""

    class Anew(LowLatencyStream):
        def _sample(self, *where):
            self.seed += 1
            self.phase = 1.0
            return super()._sample(*where)

        def _finish(self, waveform, end):
            return waveform[:, self.final.shape[-1] :]

    monkeypatch.setattr(low_latency, "LowLatencyStream", Anew)
    vocoder, mel = build(source=True), make_mel(200)
    assert bends(streamed(vocoder, mel, 3, steps=2, chunk=5), 5) > 1.5


def test_a_longer_look_ahead_comes_closer_to_the_whole():
    vocoder, mel = build(source=True), make_mel(200)
    whole = vocoder.generate(mel, 1).samples
    errors = [error(streamed(vocoder, mel, frames, steps=1, chunk=4), whole) for frames in (1, 4, 16)]
    assert errors[0] > errors[1] > errors[2]


def test_what_is_kept_does_not_grow():
    stream, kept = build(source=True).stream(make_mel(300).split(7, -1), 1, chunk=10, look_ahead=4 * FRAME), []
    for _ in stream:
        tensors = stream.mel, stream.final, stream.tentative, stream.pulses
        kept.append(sum(tensor.untyped_storage().nbytes() for tensor in tensors))
    assert len(kept) > 25 and max(kept[10:]) <= max(kept[:10])


def test_attention_streams_within_its_segments():
    vocoder, mel = build(attention_levels=1), make_mel(60)
    assert streamed(vocoder, mel, 4, steps=1).shape == (60 * SPEC.hop_length,)


@pytest.mark.parametrize("look_ahead", [0, -1, 0.0039, 10.1, float("nan"), float("inf")])
def test_a_look_ahead_out_of_range(look_ahead):
    with pytest.raises(UserError, match=r"look_ahead .*give 0.004 \(one frame\) to 10 seconds"):
        build().stream([], look_ahead=look_ahead)


def test_bad_chunks():
    vocoder = build()
    with pytest.raises(UserError, match="chunk 0"):
        vocoder.stream([], look_ahead=0.1, chunk=0)
    with pytest.raises(UserError, match="at least one frame"):
        list(vocoder.stream([], look_ahead=0.1))
    stream, made = vocoder.stream([make_mel(30), torch.zeros(19, 3)], 1, look_ahead=0.1), []
    with pytest.raises(UserError, match="mel chunk 1: has shape 19x3"):
        made.extend(audio.samples for audio in stream)
    assert len(torch.cat(made)) == 30 * SPEC.hop_length
