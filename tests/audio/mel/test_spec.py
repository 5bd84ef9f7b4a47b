import dataclasses
import math

import pytest
import torch

from audiodiff.audio.mel import PRESETS, MelSpec, MelSpectrogram, convert
from audiodiff.errors import UserError

SPEECH = PRESETS["speech_16k"]


@pytest.mark.parametrize("base", ["e", "10", "db"])
@pytest.mark.parametrize("power", [1, 2])
def test_compress_and_expand_are_inverse_above_the_floor(base, power):
    spec = dataclasses.replace(SPEECH, log_base=base, power=power)
    linear = torch.logspace(-7, 2, 50, dtype=torch.float64)
    torch.testing.assert_close(spec.expand(spec.compress(linear)), linear.clamp(min=1e-5))
    one_tenth = {"e": math.log(0.1), "10": -1.0, "db": -20.0 if power == 1 else -10.0}[base]
    assert spec.compress(torch.tensor(0.1)).item() == pytest.approx(one_tenth)


def test_convert_rewrites_the_logarithm_exactly():
    waveform = 0.1 * torch.randn(8000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for base, floor in (("db", 1e-5), ("10", 1e-4), ("e", 1e-7)):
        target = dataclasses.replace(SPEECH, log_base=base, log_floor=floor)
        converted = convert(MelSpectrogram(SPEECH).double()(waveform), SPEECH, target)
        torch.testing.assert_close(converted, MelSpectrogram(target).double()(waveform), rtol=0, atol=1e-9)


def test_convert_names_the_differing_fields():
    with pytest.raises(UserError) as error:
        convert(torch.zeros(80, 3), PRESETS["hifigan_22k"], SPEECH)
    line = str(error.value)
    assert "sample_rate: 22050 != 16000" in line and "center: False != True" in line and "n_fft" not in line
    assert "\n" not in line
    with pytest.raises(UserError, match="power: 1 != 2"):
        convert(torch.zeros(80, 3), SPEECH, dataclasses.replace(SPEECH, power=2))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sample_rate", 0),
        ("n_fft", 1024.0),
        ("hop_length", "256"),
        ("hop_length", 600),
        ("win_length", 2048),
        ("n_mels", True),
        ("n_mels", 1),
        ("f_max", 9000.0),
        ("f_min", -1.0),
        ("f_max", math.nan),
        ("f_max", None),
        ("power", 3),
        ("mel_scale", "bark"),
        ("norm", "none"),
        ("log_base", "2"),
        ("log_floor", 0.0),
        ("center", "yes"),
        ("padding", "wrap"),
        ("power_offset", -1e-9),
        ("version", 2),
    ],
)
def test_a_bad_field_is_named(field, value):
    with pytest.raises(UserError, match="mel spec") as error:
        dataclasses.replace(SPEECH, **{field: value})
    assert field.split("_")[0] in str(error.value) and "\n" not in str(error.value)


def test_spec_survives_a_dictionary():
    for spec in PRESETS.values():
        assert MelSpec.from_dict(spec.to_dict()) == spec
        assert spec.differences(spec) == []
    assert SPEECH.differences(dataclasses.replace(SPEECH, f_max=7600.0)) == ["f_max: 8000.0 != 7600.0"]


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ([1, 2], "to_dict"),
        ({**SPEECH.to_dict(), "fmax": 1}, "unknown fields: fmax"),
        ({k: v for k, v in SPEECH.to_dict().items() if k != "n_fft"}, "missing fields: n_fft"),
        ({**SPEECH.to_dict(), "version": 7}, "version: 7"),
    ],
)
def test_bad_dictionaries_are_refused(values, line):
    with pytest.raises(UserError, match=line):
        MelSpec.from_dict(values)


def test_presets_by_name():
    assert MelSpec.preset("vocos_24k") is PRESETS["vocos_24k"]
    with pytest.raises(UserError, match=r"'nope'.*hifigan_22k"):
        MelSpec.preset("nope")
