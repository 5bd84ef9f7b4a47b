"""Editing: what is named changes, and nothing else does; at the borders nothing clicks; levels and places stay."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audiodiff.audio.io import Audio
from audiodiff.errors import UserError
from audiodiff.pipelines.audio_editor import AudioEditor, EditConfig
from audiodiff.pipelines.edit_options import configure_edit
from audiodiff.pipelines.edit_window import part_seeds
from audiodiff.pipelines.regions import ClipRecording, find_regions

RATE = 8000
FADE = 160


@pytest.fixture(scope="module", params=["waveform", "latents"])
def either(request, make_music, make_latent_music) -> AudioEditor:
    return AudioEditor(make_music() if request.param == "waveform" else make_latent_music())


@pytest.fixture(scope="module")
def mono(make_music) -> AudioEditor:
    return AudioEditor(make_music(channels=1))


def take(samples: int = 4000, channels: int = 2, rate: int = RATE) -> Audio:
    """Tones at a place of their own for each channel, and some noise."""
    time = torch.arange(samples) / rate
    tones = [(2 * math.pi * (220 + 110 * channel) * time).sin() * 0.2 for channel in range(channels)]
    hiss = torch.randn(channels, samples, generator=torch.Generator().manual_seed(3))
    return Audio(torch.stack(tones) + 0.01 * hiss, rate)


def same(edited: Audio, original: Audio, *changed: tuple[int, int]) -> None:
    """Whether exactly these stretches differ."""
    assert edited.samples.shape == original.samples.shape
    differs = (edited.samples != original.samples).any(0)
    expected = torch.zeros_like(differs)
    for start, stop in changed:
        expected[start:stop] = True
        assert differs[start:stop].float().mean() > 0.95
    assert not differs[~expected].any()


@pytest.mark.parametrize("rate", [8000, 11025, 16000])
@pytest.mark.parametrize("channels", [1, 2])
def test_only_the_regions_change(either, rate, channels):
    original = take(rate // 2, channels, rate)
    edited = either.edit(original, regions=["0.1:0.2", (0.3, 0.42)], steps=2)
    assert edited.sample_rate == rate and edited.samples.isfinite().all()
    same(edited, original, (round(0.1 * rate), round(0.2 * rate)), (round(0.3 * rate), round(0.42 * rate)))


@settings(max_examples=6, deadline=None)
@given(st.floats(0, 0.45), st.floats(0.01, 0.5), st.sampled_from([None, 0.0, 0.02]))
def test_any_region_of_any_clip(mono, start, length, context):
    original, stop = take(4000, 1), min(start + length, 0.5)
    edited = mono.edit(original, regions=[(start, stop)], steps=1, context=context)
    same(edited, original, (round(start * RATE), round(stop * RATE)))


def test_what_is_extended_begins_and_ends_with_the_clip(either):
    original = take()
    edited = either.edit(original, extend_left=0.1, extend_right=0.25, steps=2).samples
    assert edited.shape == (2, 800 + 4000 + 2000) and edited.isfinite().all()
    assert torch.equal(edited[:, 800 + FADE : 4800 - FADE], original.samples[:, FADE:-FADE])
    assert edited[:, :800].std() > 0 and edited[:, 4800:].std() > 0
    assert either.edit(original, extend_right=0.1, steps=2).samples.shape == (2, 4800)


def test_gaps_are_filled(either):
    original = take()
    original.samples[:, 1000:1500] = 0
    original.samples[0, 2000:2600] = 0  # the other channel sounds
    original.samples[:, 3000:3020] = 0  # shorter than a gap
    original.samples[:, 3700:] = 0  # the end
    edited = either.edit(original, fill_gaps=True, steps=2)
    same(edited, original, (1000 - FADE, 1500 + FADE))
    with pytest.raises(UserError, match=r"fill_gaps: .*no gap"):
        either.edit(take(), fill_gaps=True, steps=2)


def test_a_filled_gap_neither_steps_nor_dips(either):
    original = Audio(torch.full((2, 4000), 0.5), RATE)
    original.samples[:, 1000:1500] = 0
    edited = either.edit(original, fill_gaps=True, steps=4).samples
    level = edited[:, 1100:1400].square().mean().sqrt()
    for border, inside in ((1000, slice(1000, 1040)), (1500, slice(1460, 1500))):
        assert edited[:, inside].square().mean().sqrt() > 0.5 * level
        step = edited[:, border] - edited[:, border - 1]
        assert step.abs().max() < 1.5 * edited[:, 1100:1400].diff().abs().max()
    faded = edited[:, 1000 - FADE : 1000].sub(0.5).abs()
    assert faded[:, :8].max() < 0.1 and faded[:, -40:].mean() > faded[:, :40].mean()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(40, 90), st.integers(1, 700)), min_size=1, max_size=5), st.integers(1, 700))
def test_gaps_overlap_at_most_half_of_the_sound_between_them(gaps, first):
    pieces = [torch.ones(first)]
    for gap, sound in gaps:
        pieces += [torch.zeros(gap), torch.ones(sound)]
    waveform = torch.cat(pieces)
    found = find_regions(ClipRecording(Audio(waveform, RATE)), EditConfig(fill_gaps=True))
    assert len(found) == len(gaps)  # none are joined
    assert all(region.stop < other.start for region, other in pairwise(found))
    assert found[0].start >= 0 and found[-1].stop <= len(waveform)
    for region in found:
        inner = waveform[region.start + region.fade_in : region.stop - region.fade_out]
        assert not inner.any() and max(region.fade_in, region.fade_out) <= FADE


def test_two_extensions_of_a_short_clip_leave_its_middle(mono):
    original = take(240, 1)
    edited = mono.edit(original, extend_left=0.05, extend_right=0.05, steps=1).samples
    assert torch.equal(edited[:, 400 + 119 : 400 + 121], original.samples[:, 119:121])


@pytest.mark.parametrize("rate", [8000, 16000])
def test_a_band_changes_alone(mono, rate):
    original = take(rate // 2, 2, rate)
    edited = mono.edit(original, regions=["0.1:0.4"], band="1000:2000", steps=2, labels=["snare"])
    start, stop = round(0.1 * rate), round(0.4 * rate)
    assert torch.equal(edited.samples[:, :start], original.samples[:, :start])
    assert torch.equal(edited.samples[:, stop:], original.samples[:, stop:])
    change = torch.fft.rfft((edited.samples - original.samples)[:, start:stop]).abs().square().sum(0)
    hertz = torch.fft.rfftfreq(stop - start, 1 / rate)
    inside = (hertz > 900) & (hertz < 2100)
    assert change[inside].sum() > 0.98 * change.sum() > 0


def test_a_region_does_not_depend_on_what_is_far_from_it(either):
    """A window is read around each region, and no more."""
    original = take(40_000)
    other = Audio(original.samples.clone(), RATE)
    other.samples[:, 8000:32_000] = 0.1
    options = {"regions": ["0.1:0.2", "4.7:4.8"], "steps": 2}
    one, two = (either.edit(clip, **options).samples for clip in (original, other))
    assert torch.equal(one[:, :2000], two[:, :2000]) and torch.equal(one[:, 37_000:], two[:, 37_000:])


def test_variations_differ_and_the_first_is_the_single_one(either):
    original, options = take(), {"regions": ["0.1:0.3"], "steps": 2, "seed": 4}
    several = either.edit(original, count=3, **options).samples
    assert several.shape == (3, 2, 4000) and not torch.allclose(several[0], several[1], atol=1e-4)
    torch.testing.assert_close(either.edit(original, **options).samples, several[0], rtol=0, atol=1e-4)
    assert torch.equal(either.edit(original, **options).samples, either.edit(original, **options).samples)


def test_labels_and_guidance_change_the_region(mono):
    original = take(channels=1)
    requests = ({}, {"labels": ["kick"]}, {"labels": ["snare"]}, {"labels": ["snare"], "guidance_scale": 3.0})
    clips = [mono.edit(original, regions=["0.1:0.3"], steps=2, **request).samples for request in requests]
    assert all(not torch.allclose(clips[i], clips[j], atol=1e-4) for i in range(4) for j in range(i))


def test_the_noise_level_is_the_distance(mono):
    original = take(channels=1)
    distances = [
        float((mono.edit(original, noise_level=level, steps=4).samples - original.samples).square().mean())
        for level in (0.05, 0.4, 0.9)
    ]
    assert distances == sorted(distances) and distances[0] < 0.1 * float(original.samples.square().mean())


def test_an_inversion_leads_back_and_a_label_away(mono):
    original, options = take(channels=1), {"steps": 40, "noise_level": 0.7}
    back = mono.edit(original, from_labels=["kick"], labels=["kick"], **options).samples
    other = mono.edit(original, from_labels=["kick"], labels=["snare"], **options).samples
    errors = [float((clip - original.samples).square().mean().sqrt()) for clip in (back, other)]
    assert errors[0] < 0.05 * float(original.samples.std()) and errors[1] > 2 * errors[0]


def test_a_morph_goes_from_one_clip_to_the_other(mono):
    original, other = take(1600, 1), Audio(0.3 * (0.9 * torch.arange(1600)).sin(), RATE)
    options = {"morph_with": other, "steps": 40, "noise_level": 0.7}
    clips = [mono.edit(original, morph=weight, **options).samples for weight in (0.0, 0.5, 1.0)]
    to_first = [float((clip - original.samples).square().mean()) for clip in clips]
    to_other = [float((clip - other.samples).square().mean()) for clip in clips]
    assert to_first == sorted(to_first) and to_other == sorted(to_other, reverse=True)
    levels = [float(clip.square().mean().sqrt()) for clip in clips]
    ends = [float(clip.samples.square().mean().sqrt()) for clip in (original, other)]
    assert levels == pytest.approx([ends[0], (ends[0] * ends[1]) ** 0.5, ends[1]], rel=1e-3)


def test_a_morph_goes_from_one_seed_to_the_other(either):
    original, options = take(), {"regions": ["0.1:0.3"], "steps": 2}
    first, second = (either.edit(original, seed=seed, count=2, **options).samples for seed in (1, 2))
    morphs = [
        either.edit(original, seed=1, morph_seed=2, morph=weight, count=2, **options).samples
        for weight in (0.0, 0.5, 1.0)
    ]
    torch.testing.assert_close(morphs[0], first, rtol=0, atol=1e-4)
    torch.testing.assert_close(morphs[2], second, rtol=0, atol=1e-4)
    assert not torch.allclose(morphs[1], first, atol=1e-4) and not torch.allclose(morphs[1], second, atol=1e-4)


def test_a_style_brings_the_spectrum_of_its_clip(mono):
    original = Audio(0.1 * torch.randn(1, 4000, generator=torch.Generator().manual_seed(0)), RATE)
    bright = Audio(torch.randn(4000, generator=torch.Generator().manual_seed(1)).diff(), 2 * RATE)
    plain, styled = (
        mono.edit(original, noise_level=0.05, steps=4, **request).samples for request in ({}, {"style_from": bright})
    )
    low, all_of_it = (
        torch.stack([torch.fft.rfft(clip).abs().square()[..., :limit].sum() for clip in (plain, styled)])
        for limit in (300, None)
    )
    shares = low / all_of_it
    assert shares[1] < 0.7 * shares[0]
    assert float(styled.std()) == pytest.approx(float(original.samples.std()), rel=0.02)


@pytest.mark.parametrize(("left", "right"), [(1.0, 1.0), (0.9, 0.2), (0.0, 1.0), (1.0, -1.0)])
def test_a_mono_model_keeps_the_place_of_a_sound(mono, left, right):
    source = take(channels=1).samples[0]
    original = Audio(torch.stack([left * source, right * source]), RATE)
    edited = mono.edit(original, regions=["0.1:0.4"], steps=2).samples
    inside = edited[:, 1000:3000]
    torch.testing.assert_close(right * inside[0], left * inside[1], rtol=0, atol=1e-4)
    assert inside.std() > 0.02


def test_a_mono_model_keeps_the_width_of_a_recording(mono):
    original = take()
    inside = mono.edit(original, regions=["0.1:0.4"], steps=2).samples[:, 1000:3000]
    assert abs(float(torch.corrcoef(inside)[0, 1])) < 0.8


def flux(signal: torch.Tensor) -> torch.Tensor:
    """Spectral flux of (T,): the increase of the log spectrum from frame to frame of 8 ms, (frames,)."""
    spectra = torch.stft(signal, 64, 16, window=torch.hann_window(64), return_complex=True).abs()
    return (spectra + 1e-4).log().diff(dim=-1).clamp(min=0).mean(0)


def test_nothing_clicks_at_the_borders(mono):
    """The spectral flux at the borders is that of the recording and of what is generated, not of a step."""
    original = take(8000, 1)
    edited = mono.edit(original, regions=["0.3:0.6"], steps=4).samples[0]
    glued = torch.cat([original.samples[0, :2400], 0.4 - edited[2400:4800], original.samples[0, 4800:]])
    borders = [slice(round(at / 16) - 3, round(at / 16) + 4) for at in (2400, 4800)]
    usual = flux(edited).quantile(0.99)
    assert all(flux(edited)[border].max() < 1.5 * usual for border in borders)
    assert all(flux(glued)[border].max() > 1.5 * usual for border in borders)  # a step is found


def test_a_region_of_silence_gets_the_level_of_the_recording(mono):
    original = take(8000, 1)
    original.samples[:, 4000:] = 0
    inside = mono.edit(original, regions=["0.7:0.9"], context=0.05, steps=4).samples[0, 5800:7000]
    assert 0.5 < float(inside.std() / original.samples[0, :4000].std()) < 1.5


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("context", [0.0, 0.1])
def test_a_label_in_a_pause_gets_the_level_of_the_sounds(mono, channels, context):
    """The noise floor of a pause is no level to keep."""
    original = take(12_000, channels)
    original.samples[:, 4000:8000] = 1e-4 * torch.randn(channels, 4000, generator=torch.Generator().manual_seed(1))
    options = {"regions": ["0.65:0.85"], "labels": ["snare"], "context": context, "steps": 4}
    inside = mono.edit(original, **options).samples[:, 5400:6600]
    assert 0.5 < float(inside.square().mean().sqrt() / original.samples[:, :4000].square().mean().sqrt()) < 1.5


def test_a_quiet_sound_keeps_its_level_in_an_edit_of_what_is_there(mono):
    original = take(12_000, 1)
    original.samples[:, 4000:8000] *= 0.05
    inside = mono.edit(original, regions=["0.65:0.85"], noise_level=0.3, context=0.1, steps=4).samples[:, 5400:6600]
    assert float(inside.std() / original.samples[:, 5400:6600].std()) < 2


def test_what_gets_an_old_level_does_not_clip(mono):
    square = Audio(0.95 * (torch.arange(4000) * 0.2).sin().sign()[None], RATE)
    edited = mono.edit(square, regions=["0.1:0.4"], steps=4).samples
    assert 0.5 < float(edited.abs().max()) <= 1


def test_a_region_near_another_window_is_edited_as_on_its_own(mono):
    """The window of the second region begins in the first one, which it leaves alone."""
    end, window = 9600 / RATE, mono.model.samples / RATE
    original, other = take(9600, 1), Audio((0.9 * torch.arange(2000)).sin() * torch.linspace(1, 0, 2000), RATE)
    second, first = (end - 0.05, end), (end - window - 0.1, end - window + 0.01)
    options = {"morph_with": other, "morph": 1.0, "steps": 20}
    alone, beside = (
        mono.edit(original, regions=regions, **options).samples[0, -400:] for regions in ([second], [first, second])
    )
    assert float(torch.corrcoef(torch.stack([alone, beside]))[0, 1]) > 0.9
    banded = mono.edit(original, regions=[first, second], band="1000:3000", steps=2).samples[0, -400:]
    assert not torch.equal(banded, original.samples[0, -400:])


def test_components_and_windows_have_noises_of_their_own():
    seeds_of = {
        (window, component): part_seeds("component", part_seeds("window", [5], window), component)[0]
        for window in range(4)
        for component in range(4)
    }
    assert len(set(seeds_of.values())) == 16 and seeds_of[0, 0] == 5


def test_a_channel_too_many_is_edited_by_a_mono_model_alone(mono, either):
    original = take(channels=3)
    same(mono.edit(original, regions=["0.1:0.2"], steps=1), original, (800, 1600))
    with pytest.raises(UserError, match=r"3 channels: .*edits two; mix it"):
        either.edit(original, regions=["0.1:0.2"], steps=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"regions": ["5:6"]}, "region 5:6: starts after the end, at 0.5 s"),
        ({"regions": ["0.2:0.9"]}, "region 0.2:0.9: ends after the recording.*--extend-right 0.4"),
        ({"regions": ["-1:0.5"]}, "region -1:0.5: begins below 0 s"),
        ({"regions": ["0.4:0.2"]}, "region 0.4:0.2: ends before it starts; write 0.2:0.4"),
        ({"regions": ["0.2:0.2"]}, "region 0.2:0.2: is empty"),
        ({"regions": ["0.2:0.2001"]}, "shorter than two samples"),
        ({"regions": ["nan:1"]}, "region nan:1: is no interval"),
        ({"regions": ["a"]}, "region a: is no interval; .*1.2:1.8"),
        ({"regions": [(1, 2, 3)]}, "has 3 ends"),
        ({"regions": "0.1:0.2"}, "expected a list"),
        ({}, "the edit: changes nothing"),
        ({"regions": ["0.1:0.2"], "prompt": "snare"}, "prompt 'snare': this model has no prompt condition; .*labels"),
        ({"regions": ["0.1:0.2"], "labels": ["gong"]}, "labels 'gong'"),
        ({"regions": ["0.1:0.2"], "guidance_scale": 1e9}, "guidance_scale 1e.09: out of range"),
        ({"from_labels": ["gong"], "labels": ["kick"]}, "labels 'gong'"),
        ({"from_labels": ["kick"], "sampler": "ddpm"}, "sampler ddpm: cannot be inverted"),
        ({"from_labels": ["kick"], "count": 2}, "2 variations: .*inversion"),
        ({"regions": ["0.1:0.2"], "band": "5000:6000"}, "band 5000:6000: .*up to 4000 Hz; lower it"),
        ({"regions": ["0.1:0.2"], "band": "500:6000"}, "band 500:6000: .*write 500: for"),
        ({"regions": ["0.1:0.12"], "band": "500:1000"}, "too short for a band"),
        ({"regions": ["0:0.3", "0.4:0.42"], "band": "500:1000"}, "too short for a band"),
        ({"style_from": take(800, 1), "noise_level": 1.0}, "style_from: has no effect at noise level 1"),
        ({"style_from": Audio(torch.zeros(800), RATE)}, "style_from: is silent; choose"),
        ({"style_from": take(800, 3)}, "style_from: 3 channels"),
        ({"morph_with": take(800, 3)}, "morph_with: 3 channels"),
        ({"regions": ["0.1:0.2"], "clip_seeds": []}, "clip_seeds: is empty"),
        ({"extend_left": 0.1, "band": "500:1000"}, "band 500:1000: cannot be combined"),
        ({"extend_left": 0.1, "noise_level": 0.5}, "extend_left: has no sound to start from"),
        ({"extend_right": -1.0}, "extend_right -1: out of range"),
        ({"regions": ["0.1:0.2"], "morph": 0.5}, "morph 0.5: has nothing to morph into"),
        ({"noise_level": 0.0}, "noise_level 0: out of range"),
        ({"style_from": "clip.wav"}, "style_from: expected Audio"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(mono, options, message):
    with pytest.raises(UserError, match=message) as error:
        mono.edit(take(channels=1), steps=2, **options)
    assert "\n" not in str(error.value)


def test_silence_and_latents_in_a_band_are_refused(mono, make_latent_music):
    with pytest.raises(UserError, match="is silent"):
        mono.edit(Audio(torch.zeros(4000), RATE), regions=["0.1:0.2"], steps=2)
    with pytest.raises(UserError, match="band 500:1000: this model works on latents"):
        AudioEditor(make_latent_music()).edit(take(), regions=["0.1:0.3"], band="500:1000", steps=2)


def test_what_the_recording_cannot_have_is_refused_before_any_work(mono, no_sampling=lambda progress: 1 / 0):
    with pytest.raises(UserError, match=r"band 3000:4000: the recording, at 4000 Hz, has nothing above 2000 Hz"):
        mono.edit(take(4000, 1, 4000), regions=["0.1:0.5"], band="3000:4000", steps=2, callback=no_sampling)
    with pytest.raises(UserError, match="too short for a band"):
        regions = ["0.1:0.4", "4.5:4.52"]
        mono.edit(take(40_000, 1), regions=regions, band="500:1000", steps=2, callback=no_sampling)
    with pytest.raises(UserError, match="audio: expected Audio, got str"):
        mono.edit("take.wav", regions=["0.1:0.2"])


def test_a_morph_keeps_a_prompt_of_a_guide_from_the_model(mono, audio_text_folder):
    options = {"morph_with": take(1000, 1), "prompt": "rain", "embedding_guidance": audio_text_folder}
    assert mono.edit(take(2000, 1), steps=2, **options).samples.isfinite().all()


def test_options_override_a_configuration():
    config = EditConfig(regions=["0.1:0.2"], conditions={"labels": ["kick"]}, from_conditions={"labels": ["hat"]})
    changed = configure_edit(config, {"labels": ["snare"], "from_tempo": 120.0, "steps": 3})
    assert changed.conditions == {"labels": ("snare",)} and changed.regions == ("0.1:0.2",) and changed.steps == 3
    assert changed.from_conditions == {"labels": ("hat",), "tempo": 120.0}
    record = changed.record()
    assert record["from_labels"] == ["hat"] and record["from_tempo"] == 120 and record["noise_level"] == 1


def test_a_region_with_a_label_is_generated_on_its_own(mono):
    original, options = take(channels=1), {"regions": ["0.1:0.3"], "labels": ["kick"], "steps": 2}
    alone, seen = (mono.edit(original, context=context, **options).samples for context in (0.0, 0.1))
    assert torch.equal(mono.edit(original, **options).samples, alone) and not torch.equal(alone, seen)
    for more in ({"context": 0.2}, {"band": "500:1000"}, {"extend_left": 0.1}, {"noise_level": 0.5}):
        assert configure_edit(EditConfig(regions=["0.1:0.3"]), {"labels": ["kick"]} | more).effective_context != 0
    assert EditConfig(regions=["0.1:0.3"]).effective_context is None


def test_progress_ends_with_all_steps(mono):
    found = []
    mono.edit(take(40_000), regions=["0.1:0.2", "4:4.1"], steps=3, callback=found.append)
    assert found[-1].done == found[-1].total and [one.done for one in found] == sorted(one.done for one in found)


def test_what_a_decoder_without_phases_adds_at_0_hz_is_filtered_out(make_latent_music, monkeypatch):
    model = make_latent_music(phases=False)
    restore = type(model).restore_chunks
    monkeypatch.setattr(type(model), "restore_chunks", lambda *given: (chunk + 0.5 for chunk in restore(*given)))
    regenerated = AudioEditor(model).edit(take(8000), regions=["0.4:0.8"], steps=2).samples[:, 4000:6200]
    assert (regenerated.mean(-1).abs() < 0.1 * regenerated.std(-1)).all()
