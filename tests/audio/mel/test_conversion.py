from dataclasses import replace

import pytest
import torch

from audiodiff.audio.io import resample
from audiodiff.audio.mel import PRESETS, MelSpec, MelSpectrogram
from audiodiff.audio.mel.conversion import convert_mel, round_trip
from audiodiff.errors import UserError

TACOTRON2 = PRESETS["tacotron2_22k"]


def mel_of(waveform, spec: MelSpec):
    return MelSpectrogram(spec).double()(waveform.double())


def decibels(a, b, spec: MelSpec):
    """Mean distance of two mels where both are above their floors."""
    frames = min(a.shape[-1], b.shape[-1])
    a, b = spec.expand(a[:, :frames]), spec.expand(b[:, :frames])
    heard = (a > 1.01 * spec.log_floor) & (b > 1.01 * spec.log_floor)
    return (20 / spec.power * (a / b).log10().abs()[heard]).mean().item()


@pytest.mark.parametrize("base", ["e", "10", "db"])
def test_another_logarithm_is_exact(speech, base):
    waveform, target = speech(1.0, 22050), replace(TACOTRON2, log_base=base, log_floor=1e-4)
    result = convert_mel(mel_of(waveform, TACOTRON2), TACOTRON2, target)
    assert result.kind == "exact"
    torch.testing.assert_close(result.mel, mel_of(waveform, target), rtol=0, atol=1e-9)
    assert round_trip(mel_of(waveform, TACOTRON2), TACOTRON2, target) == pytest.approx((0, 0), abs=1e-6)


@pytest.mark.parametrize(
    ("changes", "bound"),
    [
        ({"mel_scale": "htk", "norm": None}, 1.5),
        ({"norm": None}, 1.0),
        ({"n_mels": 64}, 1.5),
        ({"power": 2, "log_floor": 1e-10}, 1.5),
    ],
    ids=str,
)
def test_conversion_between_filter_banks_approximates_the_mel(speech, changes, bound):
    waveform, target = speech(1.0, 22050), replace(TACOTRON2, **changes)
    result = convert_mel(mel_of(waveform, TACOTRON2), TACOTRON2, target)
    assert result.kind == "estimated"
    assert decibels(result.mel, mel_of(waveform, target), target) < bound
    mean, worst = round_trip(mel_of(waveform, TACOTRON2), TACOTRON2, target)
    assert 0 < mean < bound and mean < worst


def test_another_clock_has_to_be_allowed(speech):
    speech_16k = PRESETS["speech_16k"]
    waveform = speech(1.0, 22050)
    mel = mel_of(waveform, TACOTRON2)
    with pytest.raises(UserError, match=r"sample_rate: 22050 != 16000.*--approximate") as error:
        convert_mel(mel, TACOTRON2, speech_16k)
    assert "\n" not in str(error.value)
    result = convert_mel(mel, TACOTRON2, speech_16k, approximate=True)
    expected = mel_of(resample(waveform, 22050, 16000), speech_16k)
    assert abs(result.mel.shape[1] - expected.shape[1]) <= 1
    near = decibels(result.mel, expected, speech_16k)
    assert result.kind == "approximate" and near < 4
    # A level that was off by the ratio of windows or rates would show in the mean.
    frames = min(result.mel.shape[1], expected.shape[1])
    assert abs((result.mel[:, :frames] - expected[:, :frames]).mean().item()) * 8.686 < 2


def test_frequencies_outside_the_source_become_silence(speech):
    target = replace(TACOTRON2, f_max=11025.0)
    result = convert_mel(mel_of(speech(0.5, 22050), TACOTRON2), TACOTRON2, target)
    assert any("8000 Hz" in note for note in result.notes)
    floor = target.compress(torch.tensor(0.0, dtype=torch.float64))
    torch.testing.assert_close(result.mel[-1], floor.expand(result.mel.shape[-1]))
