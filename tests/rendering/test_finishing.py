"""Loudness and sample rate of rendered files, and names by a template."""

import json
import math

import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audiodiff.audio import io
from audiodiff.audio.loudness import LoudnessMeter, lufs
from audiodiff.audio.watermark import embed
from audiodiff.errors import UserError
from audiodiff.pipelines.options import SynthesisOptions
from audiodiff.rendering.finishing import finish, normalize_loudness, resample_pieces
from audiodiff.rendering.inputs import find_inputs
from audiodiff.rendering.names import fill, name_rows
from audiodiff.rendering.options import FileOptions
from audiodiff.rendering.render import render
from audiodiff.rendering.sidecar import SettingsMismatch, sidecar_path

RATE = 16000


def tone(seconds: float, level: float, channels: int = 1, rate: int = RATE) -> torch.Tensor:
    t = torch.arange(round(seconds * rate)) / rate
    return (level * torch.sin(2 * math.pi * 997 * t)).expand(channels, -1)


def cut(samples: torch.Tensor, *at: int) -> list[torch.Tensor]:
    return list(samples.tensor_split(list(at), dim=-1))


def test_a_sine_at_full_scale_is_minus_3_lufs():
    """The check of BS.1770: a sine of 997 Hz at 0 dBFS in one channel is -3.01 LKFS; these filters are 0.04 dB off."""
    meter = LoudnessMeter(1, 48000)
    meter.add(tone(5, 1.0, rate=48000))
    assert meter.lufs == pytest.approx(-3.01, abs=0.05) and meter.peak == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("rate", [16000, 22050, 48000])
def test_the_meter_agrees_with_torchaudio_in_any_pieces(rate):
    noise = torch.randn(1, 3 * rate, generator=torch.Generator().manual_seed(0)) * 0.05
    noise[:, rate : 2 * rate] *= 1e-3  # which the gates leave out
    meter = LoudnessMeter(1, rate)
    for piece in cut(noise, 1, 1000, 1001, 40000):
        meter.add(piece)
    assert meter.lufs == pytest.approx(float(lufs(noise[0], rate)), abs=0.01)


@pytest.mark.parametrize(("seconds", "channels"), [(0.05, 1), (0.3, 2), (4, 1), (4, 2)])
def test_clips_of_any_length_reach_the_loudness(seconds, channels):
    pieces = cut(tone(seconds, 0.02, channels), 100, 500)
    louder = torch.cat(list(normalize_loudness(pieces, RATE, -23)), -1)
    meter = LoudnessMeter(channels, RATE)
    meter.add(louder)
    assert meter.lufs == pytest.approx(-23, abs=0.01)


def test_peaks_stay_within_full_scale_and_silence_is_silence():
    clip = tone(1, 0.01)
    clip = torch.cat([clip, torch.ones(1, 1)], -1)
    assert torch.cat(list(normalize_loudness([clip], RATE, 0)), -1).abs().max() == pytest.approx(1)
    assert not torch.cat(list(normalize_loudness([torch.zeros(1, 900)], RATE, -23)), -1).any()
    assert list(normalize_loudness([], RATE, -23)) == []


@pytest.mark.parametrize("rate", [8000, 22050, 44100])
def test_resampled_pieces_are_the_whole(rate):
    noise = torch.randn(2, 30000, generator=torch.Generator().manual_seed(0)) * 0.1
    pieces = torch.cat(list(resample_pieces(cut(noise, 1, 777, 20000), RATE, rate)), -1)
    whole = io.resample(noise, RATE, rate)
    assert abs(pieces.shape[-1] - whole.shape[-1]) <= 1
    length = min(pieces.shape[-1], whole.shape[-1])
    torch.testing.assert_close(pieces[:, :length], whole[:, :length], rtol=0, atol=1e-4)


def test_nothing_requested_is_nothing_done():
    pieces = [tone(0.1, 0.5)]
    assert finish(pieces, RATE, FileOptions()) == (pieces, RATE)
    assert finish(pieces, RATE, FileOptions(sample_rate=RATE)) == (pieces, RATE)


def test_the_watermark_is_that_of_the_file(recording):
    pieces = cut(recording(2 * RATE, seed=1).samples[None], 100, 9000)
    marked, rate = finish(pieces, RATE, FileOptions(watermark=True, sample_rate=22050))
    whole, _ = finish(pieces, RATE, FileOptions(sample_rate=22050))
    torch.testing.assert_close(torch.cat(list(marked), -1), embed(torch.cat(list(whole), -1), rate), rtol=0, atol=1e-6)


def test_files_are_as_requested_and_other_requests_are_refused(vocoder, recording, tmp_path):
    io.write(tmp_path / "in" / "a.wav", recording(16000, seed=1))
    options = SynthesisOptions(steps=1, consistency=0)

    def run(**files):
        inputs = find_inputs([tmp_path / "in"], tmp_path / "out", pytest.fail)
        return render(vocoder, inputs, tmp_path / "out", options, pytest.fail, FileOptions(**files), quiet=True)

    wanted = {"bit_depth": "24", "dither": True, "sample_rate": 22050, "loudness": -30.0}
    assert run(**wanted).written == 1
    info, entries = (
        soundfile.info(tmp_path / "out" / "a.wav"),
        json.loads(sidecar_path(tmp_path / "out/a.wav").read_text()),
    )
    assert (info.samplerate, info.subtype, info.frames) == (22050, "PCM_24", 22050)
    assert (entries["sample_rate"], entries["samples"], entries["loudness"]) == (22050, 22050, -30)
    meter = LoudnessMeter(1, 22050)
    meter.add(io.read(tmp_path / "out" / "a.wav").samples[None])
    assert meter.lufs == pytest.approx(-30, abs=0.3)  # the bands above 8 kHz are gone
    before = (tmp_path / "out" / "a.wav").read_bytes()
    assert run(**wanted).skipped == 1
    for name in ("bit_depth", "dither", "loudness", "sample_rate"):
        with pytest.raises(SettingsMismatch):
            run(**{key: value for key, value in wanted.items() if key != name})
    assert run(**wanted, overwrite=True).written == 1
    assert (tmp_path / "out" / "a.wav").read_bytes() == before


@pytest.mark.parametrize(
    ("template", "name"),
    [("{name}", "sub/a"), ("{number:05d}-{speaker}", "00007-bob"), ("{speaker}/{name}", "bob/sub/a"), ("{{x}}", "{x}")],
)
def test_templates_are_filled_in(template, name):
    assert fill(template, {"name": "sub/a", "number": 7, "speaker": "bob"}) == name


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{nmae}", "did you mean name"),
        ("{name.__class__}", "no field"),
        ("{name", "cannot be filled in"),
        ("{name:d}", "cannot be filled in"),
        ("../{name}", "output folder"),
        ("/{name}", "output folder"),
        ("", "output folder"),
        ("{name}/", "output folder"),
    ],
)
def test_a_template_that_does_not_do_is_one_line(template, words):
    with pytest.raises(UserError, match=words):
        fill(template, {"name": "a", "number": 7})


@given(st.text(max_size=40))
@settings(max_examples=200)
def test_any_template_stays_in_the_folder_or_is_refused(template):
    try:
        name = fill(template, {"name": "a", "number": 1})
    except UserError as error:
        assert "\n" not in str(error)
    else:
        assert not name.startswith("/") and ".." not in name.split("/")


def test_two_rows_of_one_name_are_refused():
    arguments = (lambda row: {"name": row}, lambda row, name: name, str)
    assert name_rows(["a", "b"], "{number}-{name}", *arguments) == ["1-a", "2-b"]
    with pytest.raises(UserError, match="makes 'x' of a and of b"):
        name_rows(["a", "b"], "x", *arguments)
