"""Pulse trains against sums of cosines, and the interpolation and phases that they are made from."""

import math

import pytest
import torch
from scipy.signal import lfilter
from torch import Tensor

from audiodiff.audio.excitation import accumulate_phase, align_phase, interpolate_frames, pulse_train

RATE = 16000
TOP = 0.97 * RATE / 2


def steady(f0: float, samples: int, sample_rate: int = RATE) -> tuple[Tensor, Tensor]:
    """Running phase and F0 (1, T) of a steady tone in float64."""
    f0 = torch.full((1, samples), f0, dtype=torch.float64)
    return accumulate_phase(f0, sample_rate), f0


def circular(angle: Tensor) -> Tensor:
    """An angle's distance from 0."""
    return torch.atan2(angle.sin(), angle.cos()).abs()


@pytest.mark.parametrize("f0", [55.0, 97.3, 200.0, 233.0, 270.0, 499.9])
def test_pulses_are_a_sum_of_cosines(f0):
    """Up to the top at one strength; above it they fade within a harmonic's distance, or before half the rate."""
    phase, pitch = steady(f0, 4000)
    count = TOP / f0
    order = torch.arange(1, int(count) + 2, dtype=torch.float64)[:, None]
    levels = (1 - (order * f0 - TOP) / min(f0, RATE / 2 - TOP)).clamp(0, 1)
    assert (levels[:-1] == 1).all() and levels[-1] > 0
    expected = (levels * (order * phase).cos()).sum(0) * math.sqrt(2 / count)
    torch.testing.assert_close(pulse_train(phase, pitch, RATE)[0], expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("at", [0.0, 2 * math.pi, 1e-9, 9e-5, 1.1e-4, 2 * math.pi - 1e-6])
def test_the_top_of_a_pulse_is_the_sum_too(at):
    """Where the closed form would divide nothing by nothing, in either precision."""
    order = torch.arange(1, 98, dtype=torch.float64)
    expected = (order * at).cos().sum() * math.sqrt(2 / 97)
    for dtype, tolerance in ((torch.float64, 1e-3), (torch.float32, 0.1)):
        made = pulse_train(torch.tensor([[at]], dtype=dtype), torch.tensor([[80.0]], dtype=dtype), RATE)
        assert made.dtype == dtype
        assert made.item() == pytest.approx(expected.item(), abs=tolerance)


@pytest.mark.parametrize("sample_rate", [16000, 22050, 48000])
@pytest.mark.parametrize("f0", [60.0, 110.0, 237.7, 340.0, 549.0])
def test_pulses_have_variance_one(f0, sample_rate):
    made = pulse_train(*steady(f0, sample_rate, sample_rate), sample_rate)
    assert made.mean().abs() < 0.01
    assert made.var() == pytest.approx(1, abs=0.04)


@pytest.mark.parametrize("f0", [60.0, 110.0, 237.5, 297.0, 410.0, 510.0, 540.0])
def test_nothing_is_mirrored_at_half_the_rate(f0):
    """All of the energy lies at harmonics below half the rate: a folded one would lie between them."""
    phase, pitch = steady(f0, 2 * RATE)  # whole periods: every harmonic is one bin
    power = torch.fft.rfft(pulse_train(phase, pitch, RATE)[0]).abs().square()
    harmonics = torch.arange(1, math.ceil(RATE / 2 / f0)) * round(2 * f0)
    there = power[harmonics].clone()
    power[harmonics] = 0
    assert power.sum() < 1e-8 * there.sum()
    assert there[harmonics < 2 * TOP].min() > 0.99 * there.max()


def test_no_harmonic_is_switched():
    """While the pitch rises from 60 to 500 Hz, what a little more of it changes is little."""
    f0 = torch.linspace(60, 500, 30001, dtype=torch.float64)
    for phase in (0.0, 0.7, 3.0):
        made = pulse_train(torch.full_like(f0, phase), f0, RATE)
        assert made.diff().abs().max() < 0.02


@pytest.mark.parametrize("offset", [0, 5, 8])
def test_tracks_are_linear_between_their_frames(offset):
    frames = torch.tensor([[1.0, 3.0, -2.0, 0.5], [0.0, 1.0, 2.0, 3.0]], dtype=torch.float64)
    hop, samples = 8, 48
    made = interpolate_frames(frames, hop, offset, samples)
    assert made.shape == (2, samples)
    position = ((torch.arange(samples) - offset) / hop).clamp(0, 3)
    low = position.floor().long().clamp(max=2)
    expected = frames[:, low] + (position - low) * (frames[:, low + 1] - frames[:, low])
    torch.testing.assert_close(made, expected)
    assert torch.equal(made[:, offset + hop * torch.arange(4)], frames)


@pytest.mark.parametrize("samples", [1, 7, 8, 9, 23])
def test_tracks_longer_than_the_requested_samples(samples):
    frames = torch.randn(1, 6, generator=torch.Generator().manual_seed(0))
    for offset in (0, 4):
        assert torch.equal(
            interpolate_frames(frames, 8, offset, samples), interpolate_frames(frames, 8, offset, 60)[:, :samples]
        )


def test_running_phase_is_the_sum_of_pitch():
    f0 = 100 + 400 * torch.rand(2, 3000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    before = torch.tensor([[1.0], [2.0]], dtype=torch.float64)
    made = accumulate_phase(f0, RATE, before)
    expected = before + 2 * math.pi * f0.cumsum(-1) / RATE
    assert circular(made - expected).max() < 1e-9
    assert made.min() >= 0 and made.max() < 2 * math.pi


def test_phase_runs_on_over_pieces():
    f0 = 100 + 400 * torch.rand(2, 3000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    whole, before, pieces = accumulate_phase(f0, RATE), 0.0, []
    for piece in f0.split([1, 999, 1300, 700], -1):
        pieces.append(accumulate_phase(piece, RATE, before))
        before = pieces[-1][:, -1:]
    assert circular(torch.cat(pieces, -1) - whole).max() < 1e-9


def test_phase_of_single_precision_does_not_drift():
    """A minute of a pitch that float32 holds exactly: its own sums of cycles would be off by a tenth of a turn."""
    f0 = torch.full((1, 60 * RATE), 300.0)
    made = accumulate_phase(f0, RATE)
    assert made.dtype == torch.float32
    assert circular(made - accumulate_phase(f0.double(), RATE)).max() < 1e-5


VOWELS = {
    "a": ((730, 90), (1090, 110), (2440, 170)),
    "i": ((270, 60), (2290, 100), (3010, 120)),
    "u": ((300, 60), (870, 90), (2240, 140)),
}


def vowel(excitation, formants):
    """Pulses through resonances, each a frequency and a bandwidth in hertz."""
    made = excitation.numpy()
    for frequency, bandwidth in formants:
        radius = math.exp(-math.pi * bandwidth / RATE)
        made = lfilter([1.0], [1.0, -2 * radius * math.cos(2 * math.pi * frequency / RATE), radius**2], made)
    return torch.from_numpy(0.3 * made / abs(made).max())


@pytest.mark.parametrize("ahead", [0.0, 1.0, 2.5, -2.0])
@pytest.mark.parametrize("f0", [80.0, 150.0, 333.0])
def test_pulses_are_found_where_the_recording_has_them(f0, ahead):
    phase, told = steady(f0, 6000)
    made, sign = align_phase(phase, told, 0.2 * pulse_train((phase + ahead) % (2 * math.pi), told, RATE), RATE)
    assert made.min() >= 0 and made.max() <= 2 * math.pi
    assert sign.tolist() == [[1.0]]
    assert circular(made - phase - ahead)[:, 600:-600].max() < 2 * math.pi / 128  # its resolution


@pytest.mark.parametrize("formants", VOWELS.values(), ids=list(VOWELS))
@pytest.mark.parametrize("f0", [80.0, 130.0, 240.0])
def test_pulses_of_a_vowel_align_despite_a_wrong_pitch(f0, formants):
    """2 Hz beside the truth the phase turns twice in a second; aligned, it stays, shortly behind the pulses."""
    phase, truth = steady(f0, RATE)
    made, _ = align_phase(
        phase + 4 * math.pi * torch.arange(RATE) / RATE,
        truth + 2,
        vowel(pulse_train(phase, truth, RATE), formants),
        RATE,
    )
    late = (phase - made + math.pi)[:, 800:-800] % (2 * math.pi) - math.pi
    assert late.std() < 0.1
    assert 0 < late.mean() / (2 * math.pi * f0) < 1.2e-3


def test_a_recording_upside_down_has_the_same_pulses_turned():
    phase, f0 = steady(110.0, 8000)
    voice = vowel(pulse_train(phase, f0, RATE), VOWELS["a"])
    (one, sign), (other, turned) = (align_phase(phase, f0, flip * voice, RATE) for flip in (1, -1))
    torch.testing.assert_close(one, other)
    assert (sign == -turned).all()


def test_alignment_is_by_clip_and_not_by_level():
    phase, f0 = steady(120.0, 4000)
    tone = torch.cat([(phase + 1).cos(), 1e-3 * (phase - 2).cos()])
    both, signs = align_phase(phase.expand(2, -1), f0.expand(2, -1), tone, RATE)
    for k in range(2):
        alone, sign = align_phase(phase, f0, 7.0 * tone[k : k + 1], RATE)
        torch.testing.assert_close(both[k : k + 1], alone)
        assert sign == signs[k]


def test_in_silence_the_phase_runs_on():
    phase, f0 = steady(120.0, 4000)
    made, sign = align_phase(phase, f0, torch.zeros_like(phase), RATE)
    assert sign.abs() == 1
    hertz = circular(made[:, 1:] - made[:, :-1]) * RATE / (2 * math.pi)
    assert (hertz - 120).abs().max() < 7
