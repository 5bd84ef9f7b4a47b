"""Upsampling of files: resumed, in subfolders, of any length, with one line for what cannot be upsampled."""

import json

import numpy as np
import pytest
import soundfile
import torch

from audiodiff.audio.io import Audio, read, write
from audiodiff.audio.metadata import read_metadata
from audiodiff.audio.watermark import embed
from audiodiff.cli import build as application
from audiodiff.diffusion.noise import clip_seed
from audiodiff.errors import UserError
from audiodiff.pipelines.options import UpsamplingOptions
from audiodiff.pipelines.upsampler import Upsampler
from audiodiff.rendering.inputs import find_inputs
from audiodiff.rendering.options import WriteOptions
from audiodiff.rendering.upsampling import upsample


@pytest.fixture(scope="module")
def folder(make_upsampler, tmp_path_factory):
    path = tmp_path_factory.mktemp("upsampler") / "model"
    make_upsampler().save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def upsampler(folder):
    return Upsampler.from_pretrained(folder)


@pytest.fixture
def inputs(tmp_path):
    for name, rate, channels in (("a", 8000, 1), ("sub/b", 11025, 2)):
        samples = 0.1 * torch.randn(channels, 2000, generator=torch.Generator().manual_seed(rate))
        write(tmp_path / "in" / f"{name}.wav", Audio(samples, rate))
    return tmp_path / "in"


def run(upsampler, inputs, out, files=WriteOptions(), **options):  # noqa: B008, frozen
    lines: list[str] = []
    sources = find_inputs([inputs], out, lambda error: lines.append(str(error)))
    outcome = upsample(
        upsampler, sources, out, UpsamplingOptions(**options), lambda error: lines.append(str(error)), files, quiet=True
    )
    return outcome, lines


def test_a_watermark_is_embedded_on_request(upsampler, inputs, tmp_path):
    for name, files in (("plain", WriteOptions()), ("marked", WriteOptions(watermark=True))):
        assert run(upsampler, inputs, tmp_path / name, files)[0].written == 2
    plain, marked = (read(tmp_path / name / "sub" / "b.wav", channels=2).samples for name in ("plain", "marked"))
    torch.testing.assert_close(marked, embed(plain, 16000).clamp(-1, 1), rtol=0, atol=3 / 32768)
    assert not torch.equal(marked, plain)
    assert read_metadata(tmp_path / "marked" / "a.wav")["watermark"] is True


def test_files_are_those_of_the_pipeline_and_a_second_run_skips_them(upsampler, inputs, tmp_path):
    outcome, lines = run(upsampler, inputs, tmp_path / "out", seed=3)
    assert (outcome.written, outcome.failed, lines) == (2, 0, [])
    recording = read(inputs / "sub" / "b.wav", channels=2)
    expected = upsampler.upsample(recording, clip_seeds=[clip_seed(3, "sub/b")]).samples
    written, rate = soundfile.read(tmp_path / "out" / "sub" / "b.wav", always_2d=True)
    assert rate == 16000
    np.testing.assert_allclose(written.T, expected.clamp(-1, 1), atol=1 / 32768)
    sidecar = json.loads((tmp_path / "out" / "sub" / "b.wav.json").read_text())
    assert (sidecar["sidecar"], sidecar["input_rate"], sidecar["steps"]) == ("audiodiff upsample", 11025, 2)
    before = (tmp_path / "out" / "a.wav").read_bytes()
    (tmp_path / "out" / "sub" / "b.wav").unlink()
    outcome, _ = run(upsampler, inputs, tmp_path / "out", seed=3)
    assert (outcome.written, outcome.skipped) == (1, 1) and (tmp_path / "out" / "a.wav").read_bytes() == before
    with pytest.raises(UserError, match="another seed"):
        run(upsampler, inputs, tmp_path / "out", seed=4)


def test_what_cannot_be_upsampled_is_one_line_and_the_others_are(upsampler, inputs, tmp_path):
    write(inputs / "fast.wav", Audio(torch.randn(4000) / 9, 16000))
    write(inputs / "silent.wav", Audio(torch.zeros(4000), 8000))
    write(inputs / "short.wav", Audio(torch.ones(20) / 2, 8000))
    soundfile.write(inputs / "broken.wav", np.array([0.1, np.nan, 0.1] * 900, np.float32), 8000, "FLOAT")
    (inputs / "text.wav").write_text("no audio")
    np.save(inputs / "mel.npy", np.zeros((80, 20), np.float32))
    outcome, lines = run(upsampler, inputs, tmp_path / "out")
    assert outcome.written == 2 and len(lines) == 6
    for name, words in {
        "fast": "not below the model's",
        "silent": "is silent",
        "short": "holds 20 samples",
        "broken": "NaN",
        "text": "is not",
        "mel": "is a mel",
    }.items():
        (line,) = (line for line in lines if f"{name}." in line)
        assert words in line and "\n" not in line and line.startswith(str(inputs))
    assert not (tmp_path / "out" / "silent.wav").exists()


def test_the_command(folder, inputs, tmp_path, capsys):
    words = ["upsample", str(inputs), "--to", "16000", "--model", str(folder), "--out", str(tmp_path / "out")]
    application()([*words, "--format", "flac", "--steps", "1", "--device", "cpu"], standalone_mode=False)
    assert "2 upsampled, 0 skipped" in capsys.readouterr().out
    assert soundfile.info(tmp_path / "out" / "sub" / "b.flac").samplerate == 16000
    with pytest.raises(UserError, match=r"--to 44100.*upsamples to 16000 Hz"):
        application()(["upsample", str(inputs), "--to", "44100", *words[4:]], standalone_mode=False)
