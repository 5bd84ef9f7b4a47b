"""Restoration of files: bit-identical where samples are known, resumed, one line for what cannot be restored."""

import json

import numpy as np
import pytest
import soundfile
import torch

from audiodiff.audio.io import Audio, read, write
from audiodiff.audio.watermark import embed
from audiodiff.cli import build as application
from audiodiff.diffusion.noise import clip_seed
from audiodiff.errors import UserError
from audiodiff.pipelines.restoration_options import RestorationOptions
from audiodiff.pipelines.restorer import Restorer
from audiodiff.rendering.inputs import find_inputs
from audiodiff.rendering.options import WriteOptions
from audiodiff.rendering.restoration import restore


@pytest.fixture(scope="module")
def folder(make_restorer, tmp_path_factory):
    path = tmp_path_factory.mktemp("restorer") / "model"
    make_restorer().save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def restorer(folder):
    return Restorer.from_pretrained(folder)


@pytest.fixture
def inputs(tmp_path, recording):
    for name, rate, channels in (("a", 16000, 1), ("sub/b", 11025, 2)):
        samples = torch.stack([recording(3000, rate, seed).samples for seed in range(channels)])
        write(tmp_path / "in" / f"{name}.wav", Audio(samples.clamp(-0.1, 0.1), rate))
    return tmp_path / "in"


def run(restorer, inputs, out, files=WriteOptions(), **options):  # noqa: B008, frozen
    lines: list[str] = []
    sources = find_inputs([inputs], out, lambda error: lines.append(str(error)))
    wanted = RestorationOptions(**options)
    return restore(restorer, sources, out, wanted, lambda error: lines.append(str(error)), files, quiet=True), lines


def test_files_are_those_of_the_pipeline_at_their_own_rate(restorer, inputs, tmp_path):
    outcome, lines = run(restorer, inputs, tmp_path / "out", declip=True, fill=("0.1:0.12",), seed=3)
    assert (outcome.written, outcome.failed, lines) == (2, 0, [])
    original = read(inputs / "sub" / "b.wav", channels=2)
    expected = restorer.restore(original, declip=True, fill=["0.1:0.12"], clip_seeds=[clip_seed(3, "sub/b")]).samples
    written, rate = soundfile.read(tmp_path / "out" / "sub" / "b.wav", always_2d=True, dtype="int16")
    before, _ = soundfile.read(inputs / "sub" / "b.wav", always_2d=True, dtype="int16")
    assert rate == 11025 and written.shape == before.shape
    np.testing.assert_allclose(written.T / 32768, expected.clamp(-1, 1), atol=1 / 32768)
    known = np.abs(before) < 3276
    known[round(0.1 * rate) : round(0.12 * rate)] = False
    assert known.any() and not known.all() and (written[known] == before[known]).all()
    sidecar = json.loads((tmp_path / "out" / "sub" / "b.wav.json").read_text())
    assert (sidecar["sidecar"], sidecar["sample_rate"], sidecar["steps"]) == ("audiodiff restore", 11025, 1)
    assert (sidecar["declip"], sidecar["fill"], sidecar["denoise"]) == (True, ["0.1:0.12"], False)
    outcome, _ = run(restorer, inputs, tmp_path / "out", declip=True, fill=("0.1:0.12",), seed=3)
    assert (outcome.written, outcome.skipped) == (0, 2)
    with pytest.raises(UserError, match="another denoise"):
        run(restorer, inputs, tmp_path / "out", declip=True, fill=("0.1:0.12",), denoise=True, seed=3)


def test_what_is_restored_is_watermarked_on_request(restorer, inputs, tmp_path):
    for name, files in (("plain", WriteOptions()), ("marked", WriteOptions(watermark=True))):
        run(restorer, inputs, tmp_path / name, files, fill=("0.1:0.12",))
    before, plain, marked = (
        soundfile.read(folder / "a.wav", dtype="float32")[0]
        for folder in (inputs, tmp_path / "plain", tmp_path / "marked")
    )
    gap = slice(1600, 1920)
    assert np.array_equal(np.delete(marked, np.r_[gap]), np.delete(before, np.r_[gap]))
    expected = embed(torch.from_numpy(plain[gap]), 16000, 1600)
    np.testing.assert_allclose(marked[gap], expected, rtol=0, atol=3 / 32768)
    assert not np.array_equal(marked, plain)


def test_peaks_above_full_scale_attenuate_the_file(restorer, tmp_path):
    tone = 3 * torch.sin(torch.arange(4000) / 30)
    write(tmp_path / "in" / "loud.wav", Audio(tone.clamp(-1, 1 - 2.0**-15), 16000))
    with pytest.warns(
        UserWarning, match=r"loud.wav: restored peaks exceed full scale, the output is [0-9.]+ dB softer"
    ):
        run(restorer, tmp_path / "in", tmp_path / "out", declip=True)
    gain = json.loads((tmp_path / "out" / "loud.wav.json").read_text())["gain"]
    (before, _), (after, _) = (soundfile.read(tmp_path / folder / "loud.wav") for folder in ("in", "out"))
    known = np.abs(before) < 0.999
    assert 0 < gain < 1 and np.abs(after[known] - gain * before[known]).max() <= 0.51 / 32768


@pytest.mark.parametrize(
    ("subtype", "format", "channels"),
    [("PCM_24", "wav", 2), ("PCM_24", "flac", 1), ("FLOAT", "wav", 4), ("PCM_16", "wav", 5)],
)
def test_files_keep_their_encoding_and_every_known_sample(restorer, tmp_path, recording, subtype, format, channels):
    signal = torch.stack([recording(3000, 16000, seed).samples for seed in range(channels)]).double().clamp(-0.1, 0.1)
    signal = signal + 0.3 * 2.0**-20  # which 16 bits do not hold
    source = tmp_path / "in" / "one.wav"
    source.parent.mkdir()
    soundfile.write(source, signal.numpy().T, 16000, subtype)
    sources, files = find_inputs([source], tmp_path / "out", pytest.fail), WriteOptions(format=format)
    options = RestorationOptions(fill=("0.05:0.06",))
    outcome = restore(
        restorer, sources, tmp_path / "out", options, lambda error: pytest.fail(str(error)), files, quiet=True
    )
    target = tmp_path / "out" / f"one.{format}"
    assert outcome.written == 1 and soundfile.info(target).subtype == subtype
    before, after = (soundfile.read(path, always_2d=True)[0] for path in (source, target))
    gap = slice(round(0.05 * 16000), round(0.06 * 16000))
    assert (before[: gap.start] == after[: gap.start]).all() and (before[gap.stop :] == after[gap.stop :]).all()
    assert (before[gap] != after[gap]).any()


@pytest.mark.parametrize("lowest", [-1.0, -0.5])
def test_full_scale_alone_attenuates_nothing(restorer, tmp_path, recording, lowest):
    """A sample of -1 is within 16 bits, and integers of 24 bits come closer to 1 than those of 16."""
    signal = recording(3000, 16000, 0).samples.clone()
    signal[100], signal[200] = lowest, 1 - 2.0**-23
    source = tmp_path / "in" / "one.wav"
    source.parent.mkdir()
    soundfile.write(source, signal.numpy(), 16000, "PCM_24")
    sources, options = find_inputs([source], tmp_path / "out", pytest.fail), RestorationOptions(fill=("0.05:0.051",))
    restore(restorer, sources, tmp_path / "out", options, lambda error: pytest.fail(str(error)), quiet=True)
    assert json.loads((tmp_path / "out" / "one.wav.json").read_text())["gain"] == 1
    before, after = (soundfile.read(path)[0] for path in (source, tmp_path / "out" / "one.wav"))
    assert (before[[100, 200]] == after[[100, 200]]).all()


def test_what_cannot_be_restored_is_one_line_and_the_others_are(restorer, inputs, tmp_path):
    write(inputs / "fine.wav", Audio(torch.randn(4000) / 9, 16000))
    write(inputs / "silent.wav", Audio(torch.zeros(4000), 8000))
    write(inputs / "short.wav", Audio(torch.ones(20) / 2, 8000))
    soundfile.write(inputs / "empty.wav", np.zeros(0), 8000)
    soundfile.write(inputs / "broken.wav", np.array([0.1, np.nan, 0.1] * 900, np.float32), 8000, "FLOAT")
    (inputs / "text.wav").write_text("no audio")
    outcome, lines = run(restorer, inputs, tmp_path / "out", declip=True)
    assert outcome.written == 2 and len(lines) == 6
    words = {
        "fine": "no clipping",
        "silent": "is silent",
        "short": "holds 20",
        "broken": "NaN",
        "text": "is not",
        "empty": "holds no samples",
    }
    for name, word in words.items():
        (line,) = (line for line in lines if f"{name}." in line)
        assert word in line and "\n" not in line and line.startswith(str(inputs))


def test_the_command(folder, inputs, tmp_path, capsys):
    words = ["restore", str(inputs), "--model", str(folder), "--out", str(tmp_path / "out"), "--device", "cpu"]
    application()([*words, "--denoise", "--fill", "0.1:0.11", "--fill", "0.15:", "--declip"], standalone_mode=False)
    assert "2 restored, 0 skipped" in capsys.readouterr().out
    assert soundfile.info(tmp_path / "out" / "sub" / "b.wav").samplerate == 11025
    with pytest.raises(UserError, match=r"restore: nothing to do; add --declip"):
        application()(words, standalone_mode=False)
