"""Compiled and recorded calls make what eager ones make. Recording itself takes a GPU; the rest is proved without."""

import math
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from audiodiff.audio.mel import PRESETS
from audiodiff.diffusion.denoiser import Denoiser
from audiodiff.diffusion.noise import batch_noise, step_noise
from audiodiff.diffusion.objective import V
from audiodiff.diffusion.samplers import presets
from audiodiff.diffusion.schedules.learned import LearnedSchedule
from audiodiff.diffusion.schedules.schedule import Cosine
from audiodiff.nn.condition import Condition
from audiodiff.pipelines.compiled import CompiledNetwork, RecordedSampling, bucket, compiled_denoiser
from audiodiff.pipelines.pipeline import Progress
from audiodiff.pipelines.vocoder import Vocoder

HOP = PRESETS["speech_16k"].hop_length
NAMES = [name for name in presets.NAMES if name != "ddpm_learned"]


class Rerun:
    """Stands for a CUDA graph: runs the work again and writes its answer to where it was at first."""

    def __init__(self):
        self.recorded = 0

    def __call__(self, work):
        self.recorded += 1
        answer = work()

        def replay():
            for kept, new in zip(answer, work(), strict=True):
                kept.copy_(new)

        return replay, answer


def recorded(model) -> tuple[Vocoder, Rerun]:
    vocoder, record = Vocoder(model), Rerun()
    vocoder._recorded = RecordedSampling(model.denoiser, vocoder._context, record)
    return vocoder, record


def mels(vocoder, recording, frames):
    return [vocoder.mel(recording(count * HOP, seed=i))[:, :count] for i, count in enumerate(frames)]


def distance(a, b) -> float:
    """Largest difference, relative to the peak of the second."""
    assert a.samples.shape == b.samples.shape and a.sample_rate == b.sample_rate
    return ((a.samples - b.samples).abs().max() / b.samples.abs().max()).item()


@pytest.mark.parametrize(
    "frames, expected",
    [(1, 8), (8, 8), (9, 16), (63, 64), (65, 72), (127, 128), (128, 128), (129, 144), (257, 288), (1000, 1024)],
)
def test_buckets(frames, expected):
    assert bucket(frames) == expected


@given(st.integers(1, 10**6))
def test_a_bucket_adds_less_than_an_eighth_or_eight_frames(frames):
    found = bucket(frames)
    assert 0 <= found - frames < max(8, frames / 8)
    assert bucket(found) == found and bucket(frames + 1) >= found


def test_there_are_eight_buckets_an_octave():
    assert len({bucket(frames) for frames in range(257, 513)}) == 8


@pytest.mark.parametrize("sampler", NAMES)
def test_a_recorded_vocoder_equals_the_eager_one(tiny, recording, sampler):
    model = tiny(consistency=1)
    eager, (vocoder, record) = Vocoder(model), recorded(model)
    options = {"steps": 4, "sampler": sampler}
    for frames, seeds in (([21], [1]), ([24], [2]), ([9, 1, 20], [3, 4, 5]), ([9, 24, 3], [6, 7, 8])):
        given = mels(eager, recording, frames)
        for clip, expected in zip(
            vocoder.generate(given, clip_seeds=seeds, **options),
            eager.generate(given, clip_seeds=seeds, **options),
            strict=True,
        ):
            assert distance(clip, expected) < 1e-4
    # 21 and 24 frames share a bucket, as do 20 and 24.
    assert record.recorded == 2


def test_a_cpu_has_nothing_to_gain(tiny, recording):
    model = tiny(consistency=0)
    eager, compiled = Vocoder(model), Vocoder(model, compile=True)
    assert compiled.compile and not eager.compile
    mel, told = eager.mel(recording(5000)), []
    made = compiled.generate(mel, 3, seed=1, callback=told.append)
    assert torch.equal(made.samples, eager.generate(mel, 3, seed=1).samples)
    assert told == [Progress(1, 3), Progress(2, 3), Progress(3, 3)]


def test_progress_of_a_recorded_call_is_told_at_its_end(tiny, recording):
    vocoder, _ = recorded(tiny(consistency=0))
    told = []
    vocoder.generate(vocoder.mel(recording(2000)), 3, callback=told.append)
    assert told == [Progress(3, 3)]


def test_threads_do_not_meet(tiny, recording):
    vocoder, _ = recorded(tiny(consistency=0))
    mel = vocoder.mel(recording(3000))
    make = partial(vocoder.generate, mel, 3, sampler="ddpm")
    alone = [make(seed=seed).samples for seed in range(6)]
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(lambda seed: make(seed=seed).samples, range(6)))
    assert all(map(torch.equal, alone, together))


@pytest.fixture
def damping():
    """A call of a small denoiser at (batch, frames): `call(batch, frames, steps=2, name="ddim", value=0.5)`."""
    factor = torch.ones(())
    denoiser = Denoiser(lambda x, log_snr, cond: factor * x * cond.frames.mean(), Cosine(), V())
    record = Rerun()
    sampling = RecordedSampling(denoiser, nullcontext, record)

    def call(batch=1, frames=4, steps=2, name="ddim", value=0.5):
        condition = Condition(torch.full((batch, 3, frames), value), torch.full((batch,), frames))
        noise = step_noise(range(batch), 1, frames)
        x1, sampler = batch_noise(range(batch), 1, frames), presets.build(name, steps)
        made = sampling(name, sampler, x1, condition, noise)
        assert torch.allclose(made, sampler(denoiser, x1, condition, noise), rtol=0, atol=1e-6)
        return made

    call.factor, call.record, call.sampling = factor, record, sampling
    return call


def test_each_shape_sampler_and_number_of_calls_has_its_recording(damping):
    for options in ({}, {"frames": 5}, {"batch": 2}, {"steps": 3}, {"name": "ddpm"}, {}, {"frames": 5}):
        damping(**options)
    assert damping.record.recorded == 5


def test_the_eight_used_last_are_kept(damping):
    for frames in (*range(1, 9), 1, 9, 1, 3):
        damping(frames=frames)
    assert damping.record.recorded == 9
    damping(frames=2)
    assert damping.record.recorded == 10


def test_an_answer_outlives_the_next_call(damping):
    first = damping(value=0.5)
    before = first.clone()
    damping(value=0.9)
    assert torch.equal(first, before)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_network_that_breaks_is_reported_and_may_recover(damping, value):
    damping()
    damping.factor.fill_(value)
    with pytest.raises(ValueError, match="not finite after step 1 of 2"):
        damping()
    damping.factor.fill_(1.0)
    damping()


def test_one_compilation_serves_all_lengths(tiny):
    network = tiny().network
    compilations = []

    def counting(graph, inputs):
        compilations.append(graph)
        return graph.forward

    torch._dynamo.reset()
    compiled = CompiledNetwork(network, counting)
    for frames in (16, 24, 32, 72, 128):
        x = torch.randn(2, 1, frames * HOP)
        condition = Condition(torch.randn(2, 80, frames), torch.tensor([frames * HOP - 100, 300]))
        assert torch.allclose(compiled(x, torch.zeros(2), condition), network(x, torch.zeros(2), condition), atol=1e-6)
    assert len(compilations) == 1
    assert compiled.backend is counting


def test_without_a_compiler_the_network_runs_as_it_is(tiny):
    tried = []

    def broken(graph, inputs):
        tried.append(graph)
        raise RuntimeError("no C++ compiler here\nsecond line")

    torch._dynamo.reset()
    network = tiny().network
    compiled = CompiledNetwork(network, broken)
    arguments = torch.randn(1, 1, 8 * HOP), torch.zeros(1), Condition(torch.randn(1, 80, 8))
    with pytest.warns(UserWarning, match=r"torch.compile failed.*no C\+\+ compiler here.*install") as told:
        made = compiled(*arguments)
    assert len(told) == 1 and "\n" not in str(told[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = compiled(*arguments)
    assert torch.equal(made, network(*arguments)) and torch.equal(again, made) and len(tried) == 1


@pytest.mark.parametrize("schedule", [Cosine(), LearnedSchedule()], ids=["cosine", "learned"])
def test_a_compiled_denoiser_shares_all_but_a_learned_schedule(tiny, schedule):
    denoiser = tiny(schedule=schedule).denoiser
    compiled = compiled_denoiser(denoiser)
    assert compiled.network.network is denoiser.network and compiled.network.backend == "inductor"
    assert compiled.objective is denoiser.objective and compiled.t_max == denoiser.t_max
    assert (compiled.schedule is schedule) == isinstance(schedule, Cosine)
    assert compiled.schedule.level(0.3) == schedule.level(0.3)


@pytest.mark.slow
def test_the_default_backend_equals_eager(tiny):
    network = tiny().network
    compiled = CompiledNetwork(network)
    for frames in (16, 24):
        condition = Condition(torch.randn(2, 80, frames), torch.tensor([frames * HOP - 100, 300]))
        arguments = torch.randn(2, 1, frames * HOP), torch.full((2,), 1.5), condition
        expected = network(*arguments)
        assert (compiled(*arguments) - expected).abs().max() < 1e-4 * expected.abs().max()
    assert compiled._compiled is not None


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("schedule", [Cosine(), LearnedSchedule()], ids=["cosine", "learned"])
@pytest.mark.parametrize("sampler", NAMES)
def test_a_captured_vocoder_equals_the_eager_one(monkeypatch, tiny, recording, sampler, schedule):
    # Products of fewer digits than float32's would differ between the algorithms that two lengths are given.
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", False)
    model = tiny(consistency=0, schedule=schedule)
    eager, captured = Vocoder(model, "cuda"), Vocoder(model, "cuda", compile=True)
    options = {"steps": 5, "sampler": sampler}
    for frames, seeds in (([21], [1]), ([24], [2]), ([9, 1, 20], [3, 4, 5]), ([9, 24, 3], [6, 7, 8])):
        given = mels(eager, recording, frames)
        for clip, expected in zip(
            captured.generate(given, clip_seeds=seeds, **options),
            eager.generate(given, clip_seeds=seeds, **options),
            strict=True,
        ):
            assert distance(clip, expected) < 1e-4


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_capture_in_half_precision_is_as_near_as_eager(tiny, recording):
    model = tiny(consistency=0)
    eager, captured = (Vocoder(model, "cuda", "bfloat16", compile=compile) for compile in (False, True))
    mel = eager.mel(recording(6000))
    for seed in (1, 2):
        assert distance(captured.generate(mel, 4, seed), eager.generate(mel, 4, seed)) < 0.1
