"""Beats: the phase of a tempo in frames, and what goes on with it: windows, loops, continuations, edits, training."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from audiodiff.audio.io import Audio
from audiodiff.conditioners.beats import Beats
from audiodiff.conditioners.conditioner import Crop
from audiodiff.diffusion.guidance.setting import GuidanceSetting
from audiodiff.errors import UserError
from audiodiff.pipelines.audio_editor import AudioEditor
from audiodiff.pipelines.audio_generator import AudioGenerator
from audiodiff.pipelines.guides import Guide
from audiodiff.training.batch_random import BatchRandom
from audiodiff.training.tasks.denoising import DenoisingTask

RATE = 8000
_FORWARD = Beats.forward
SHORT = {"steps": 2, "seconds": 0.1, "peak_level": None}


def frames(values, times) -> torch.Tensor:
    return _FORWARD(
        Beats(), {"beats": torch.tensor(values), "times": torch.as_tensor(times, dtype=torch.float64)}
    ).frames


def crop(start: int, tempo: float) -> Crop:
    clip = SimpleNamespace(tempo=tempo)
    return Crop(clip, start, 400, 8000, RATE, lambda start, samples: torch.zeros(samples), np.random.default_rng(0))


@pytest.fixture
def phases(monkeypatch) -> list[torch.Tensor]:
    """Frames (B, 3, F) of all conditions that are embedded, in order."""
    found = []

    def forward(self, batch):
        condition = _FORWARD(self, batch)
        found.append(condition.frames)
        return condition

    monkeypatch.setattr(Beats, "forward", forward)
    return found


def test_rows_are_the_phase_of_the_beat():
    cosine, sine, known = frames([[120.0, 0.0], [60.0, 0.25], [math.nan, math.nan]], [0, 0.125, 0.25, 0.5]).unbind(1)
    expected = torch.tensor([[1.0, 0, -1, 1], [0, 2**-0.5, 1, 0], [0, 0, 0, 0]])
    torch.testing.assert_close(cosine, expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(sine[0], torch.tensor([0.0, 1, 0, 0]), atol=1e-6, rtol=0)
    assert known.tolist() == [[1] * 4, [1] * 4, [0] * 4] and not sine[2].any()


def test_a_phase_is_exact_after_hours():
    hour, rate = 3600.0, 22050 / 512
    late = hour + torch.arange(512, dtype=torch.float64) / rate
    torch.testing.assert_close(frames([[120.0, 0.0]], late), frames([[120.0, 0.0]], late - hour), atol=1e-5, rtol=0)


@given(st.integers(0, 7600), st.floats(30, 300))
def test_a_crop_has_the_phase_of_its_recording(start, tempo):
    value = Beats().from_crop(crop(start, tempo))
    times = torch.arange(10, dtype=torch.float64) / 100
    here, whole = frames([value.tolist()], times), frames([[tempo, 0.0]], times + start / RATE)
    torch.testing.assert_close(here, whole, atol=1e-4, rtol=0)
    assert Beats().from_crop(crop(start, 0.0)).isnan().all()


def test_requests():
    assert Beats().parse({"tempo": 120, "first_beat": 0.5}).tolist() == [120, 0.5]
    assert Beats().parse({"tempo": 90}).tolist() == [90, 0] and Beats().parse({}).isnan().all()
    for request, problem in (
        ({"first_beat": 1.0}, r"first_beat 1: .*without a tempo; add --tempo"),
        ({"tempo": 0}, r"tempo 0: .*above 0"),
        ({"tempo": 120, "first_beat": 1e40}, r"first_beat 1e\+40: .*at least -600 and at most 600 s"),
        ({"tempo": "fast"}, r"tempo 'fast'"),
    ):
        with pytest.raises(UserError, match=problem):
            Beats().parse(request)


@given(st.floats(20, 400), st.floats(0.05, 60))
@pytest.mark.filterwarnings("ignore:tempo")
def test_a_loop_has_whole_beats(tempo, seconds):
    whole = float(Beats().parse({"tempo": tempo, "loop_seconds": seconds})[0])
    beats = whole * seconds / 60
    assert round(beats) >= 1 and abs(beats - round(beats)) < 1e-4
    assert abs(beats - tempo * seconds / 60) <= 0.5001 or round(beats) == 1


def test_a_noticeably_different_tempo_of_a_loop_is_said(recwarn):
    Beats().parse({"tempo": 120, "loop_seconds": 4.0})
    assert not recwarn
    with pytest.warns(UserWarning, match=r"tempo 100: a loop of 2 s has 3 beats at 90 BPM; set --seconds"):
        Beats().parse({"tempo": 100, "loop_seconds": 2.0})


def test_dropout_is_of_whole_clips():
    values = torch.tensor([[120.0, -0.5]]).repeat(4000, 1)
    dropped = Beats().drop(values, torch.arange(4000) < 1000, 0.25, BatchRandom(0)).isnan()
    assert dropped[:1000].all() and torch.equal(dropped[:, 0], dropped[:, 1])
    assert abs(float(dropped[1000:].float().mean()) - 0.25) < 0.03
    assert Beats().unrequested(values).isnan().all()


@pytest.fixture(scope="module", params=["waveform", "latents"])
def generator(request, make_music, make_latent_music) -> AudioGenerator:
    return AudioGenerator((make_music if request.param == "waveform" else make_latent_music)(beats=True))


def test_a_tempo_moves_the_clip_and_a_first_beat_shifts_it(generator):
    def clip(**options):
        return generator.generate(seed=1, **SHORT, **options).samples

    plain, slow, fast, shifted = clip(), clip(tempo=400), clip(tempo=900), clip(tempo=900, first_beat=0.02)
    clips = (plain, slow, fast, shifted)
    assert not any(torch.allclose(clips[i], clips[j], atol=1e-5) for i in range(4) for j in range(i))
    torch.testing.assert_close(clip(tempo=900, first_beat=60 / 900), fast, atol=1e-5, rtol=0)  # a whole beat
    guided = clip(tempo=900, guidance_scale=3.0)
    assert guided.isfinite().all() and not torch.allclose(guided, fast, atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"guidance_scale": 3.0}, {"seconds": 0.5}, {"seconds": 0.6, "loop": True}])
def test_a_clip_does_not_depend_on_its_batch(generator, options):
    options = SHORT | {"tempo": 600} | options
    together = generator.generate(clip_seeds=[1, 2, 3], **options).samples
    for seed, one in zip((1, 2, 3), together, strict=True):
        torch.testing.assert_close(generator.generate(clip_seeds=[seed], **options).samples[0], one, atol=1e-5, rtol=0)


def test_the_phase_goes_on_through_windows(generator, monkeypatch):
    """Every window of a long clip has the stretch of the phase that lies over it."""
    model, found = generator.model, []
    prepared = type(model.denoiser).forward
    monkeypatch.setattr(
        type(model.denoiser),
        "forward",
        lambda self, x, t, cond=None: found.append(cond.frames) or prepared(self, x, t, cond),
    )
    generator.generate(seed=0, seconds=0.5, steps=1, tempo=300.0)
    whole = frames([[300.0, 0.0]], model.times(model.frames(4000)))
    window = model.frames(model.samples)
    rows = torch.cat(found)
    assert len(rows) > 1 and torch.equal(rows[0], whole[0, :, :window]) and torch.equal(rows[-1], whole[0, :, -window:])


def test_a_continuation_goes_on_in_the_phase_of_the_given_clip(generator, phases):
    given_clip = Audio(0.1 * torch.randn(generator.model.channels, 3000), RATE)
    generator.generate(seed=0, seconds=0.1, steps=1, tempo=300.0, continue_from=given_clip)
    stride, channels_frames = generator.model.stride, phases[-1].shape[-1]
    start = 3000 - (min(3000 // stride * stride, generator.model.frames(1600) // 2 * stride))
    expected = frames([[300.0, 0.0]], generator.model.times(channels_frames, start / RATE))
    torch.testing.assert_close(phases[-1], expected)


def test_an_edit_keeps_the_phase_of_the_recording(generator, phases):
    editor, recording = AudioEditor(generator.model), Audio(0.1 * torch.randn(generator.model.channels, 24000), RATE)
    for options in ({"regions": [(2.0, 2.1)]}, {"extend_left": 0.1}):
        edited = editor.edit(recording, steps=1, tempo=77.0, **options)
        assert edited.samples.isfinite().all()
        rows = phases[-1][0].double()
        turned = torch.atan2(rows[1, 0], rows[0, 0]) / (2 * math.pi)
        begin = -0.1 if "extend_left" in options else None
        seconds = [begin] if begin is not None else [2.0 - place / RATE for place in range(1600)]
        assert min(abs((float(turned) - one * 77 / 60 + 0.5) % 1 - 0.5) for one in seconds) < 1e-3
        assert editor.edit(recording, steps=1, tempo=77.0, guidance_scale=2.0, **options).samples.isfinite().all()


def test_a_loop_of_a_tempo_has_no_seam(generator, phases):
    generator.generate(seed=0, seconds=0.5, steps=1, tempo=240.0, loop=True)
    cosine, sine, _ = phases[-1][0].double()
    turns = torch.atan2(sine, cosine) / (2 * math.pi)
    steps = (torch.cat([turns[1:], turns[:1]]) - turns) % 1
    assert steps.max() - steps.min() < 1e-4


def test_prompts_of_several_parts_share_the_beats(make_prompted):
    generator = AudioGenerator(make_prompted(beats=True))
    for prompt in ("rain:0.7 | thunder:0.3", "rain @0-0.05 | thunder @0.05-"):
        clips = [generator.generate(seed=1, prompt=prompt, **SHORT, **more).samples for more in ({}, {"tempo": 600})]
        assert all(one.isfinite().all() for one in clips) and not torch.allclose(*clips, atol=1e-5)
    both = {"prompt": "rain | thunder", "negative": "noise", "guidance_scale": 2.0, "tempo": 600.0}
    assert generator.generate(seed=1, **SHORT | both | {"seconds": 0.5}).samples.isfinite().all()


def test_a_guide_of_the_same_beats(make_music, tmp_path):
    model = make_music(beats=True)
    model.save_pretrained(tmp_path)
    generator = AudioGenerator(model)
    guide = Guide.load("autoguidance", tmp_path)
    for seconds in (0.1, 0.5):
        plain = generator.generate(seed=1, **SHORT | {"seconds": seconds}, tempo=600.0)
        guided = generator.generate(
            seed=1, **SHORT | {"seconds": seconds}, tempo=600.0, autoguidance=str(tmp_path), autoguidance_weight=2.0
        )
        torch.testing.assert_close(guided.samples, plain.samples, atol=1e-4, rtol=0)  # away from itself
    assert guide.model.condition_options().keys() == model.condition_options().keys()


def test_a_checkpoint_brings_the_beats_back(generator, tmp_path):
    generator.model.save_pretrained(tmp_path)
    again = AudioGenerator.from_pretrained(tmp_path)
    options = SHORT | {"seed": 1, "tempo": 600}
    torch.testing.assert_close(
        again.generate(**options).samples, generator.generate(**options).samples, atol=1e-5, rtol=0
    )


@pytest.mark.parametrize("tempo", [math.nan, 120.0])
def test_a_network_without_beats_is_the_start_of_one_with_them(make_music, tempo):
    """Bit for bit, and what the beats add is learned from the first step on."""
    old, new = make_music(scalars=("tempo",)), make_music(beats=True)
    new.load_initial_weights(old.weights(), old.arguments())
    x, t = torch.randn(2, 2, 512), torch.tensor([0.3, 0.8])
    given_labels = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    before = old.denoiser(x, t, old.embed_condition({"labels": given_labels, "scalars": torch.full((2, 1), math.nan)}))
    batch = {"labels": given_labels, "beats": torch.tensor([[tempo, 0 * tempo]] * 2), "waveform": x}
    after = new.denoiser(x, t, new.embed_condition(batch))
    assert torch.equal(before, after)
    after.square().mean().backward()
    slopes = [p.grad for name, p in new.network.named_parameters() if ".condition.weight" in name]
    assert slopes and all(bool(slope.any()) == (tempo == tempo) for slope in slopes)


def test_a_network_with_beats_is_the_start_of_one_without_them(make_music):
    old, new = make_music(beats=True), make_music()
    with torch.no_grad():
        for name, parameter in old.network.named_parameters():
            if ".condition." in name:
                parameter.zero_()
    new.load_initial_weights(old.weights(), old.arguments())
    x, t, labels = torch.randn(1, 2, 512), torch.tensor([0.5]), torch.zeros(1, 2)
    batch = {"labels": labels, "beats": torch.tensor([[120.0, 0.0]]), "waveform": x}
    before = old.denoiser(x, t, old.embed_condition(batch))
    assert torch.equal(before, new.denoiser(x, t, new.embed_condition({"labels": labels})))


def test_training_reads_the_beats_of_its_crops(generator, phases):
    model = generator.model
    batch = {"beats": torch.stack([Beats().from_crop(crop(160, 300.0)), Beats().from_crop(crop(0, 0.0))])}
    if model.codec is None:
        batch |= {"waveform": torch.randn(2, model.channels, 1600), "labels": torch.zeros(2, len(model.labels))}
    else:
        batch |= {"latents": torch.randn(2, model.network.frontend.channels, model.frames(1600))}
    loss = DenoisingTask(condition_dropout=0.0).loss(model, batch, BatchRandom(0))["loss"]
    assert loss.isfinite()
    expected = frames([[300.0, 0.0]], model.times(model.frames(1600), 160 / RATE))
    torch.testing.assert_close(phases[-1][:1], expected, atol=1e-4, rtol=0)
    assert not phases[-1][1].any()


def test_a_default_guidance_needs_a_tempo(make_music):
    generator = AudioGenerator(make_music(beats=True).with_arguments(guidance=GuidanceSetting(2.0)))
    plain, unguided = (generator.generate(seed=1, **SHORT, **more).samples for more in ({}, {"guidance_scale": 1.0}))
    assert torch.equal(plain, unguided)
    guided, weak = (
        generator.generate(seed=1, **SHORT, tempo=600.0, **more).samples for more in ({}, {"guidance_scale": 1.0})
    )
    assert not torch.allclose(guided, weak, atol=1e-5)
