"""The tasks that restore and upsample recordings: files keep what is known, and settings give the same again."""

import shutil
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
import soundfile
import torch

from audiodiff.audio.io import read
from audiodiff.audio.metadata import read_metadata
from audiodiff.cli import main
from audiodiff.demo.settings_file import find_offer
from audiodiff.errors import UserError
from audiodiff.pipelines.restorer import Restorer
from audiodiff.pipelines.upsampler import Upsampler

RATE = 22050


@pytest.fixture(scope="module")
def restore(make_restorer, tabs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("restorers") / "tiny"
    make_restorer().save_pretrained(folder)
    return tabs(folder)["restore"]


@pytest.fixture(scope="module")
def upsample(make_upsampler, tabs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("upsamplers") / "tiny"
    make_upsampler().save_pretrained(folder)
    return tabs(folder)["upsample"]


@pytest.fixture
def clipped(tmp_path):
    """A tone of two channels that is clipped at a half, in 24 bits."""
    t = np.arange(RATE // 2) / RATE
    tone = np.stack([0.9 * np.sin(2 * np.pi * 220 * t), 0.7 * np.sin(2 * np.pi * 330 * t)], 1).clip(-0.5, 0.5)
    path = tmp_path / "tone.flac"
    soundfile.write(path, tone, RATE, subtype="PCM_24")
    return path


def outputs(tab, tmp_path, **options):
    """The list of clips, copies of the files, and the settings of a request."""
    values = tab.defaults | options
    for shown, files, last in tab.run(*values.values(), lambda *_, **__: None):
        if isinstance(files, list):
            copies = [Path(shutil.copy(file, tmp_path / f"copy-{Path(file).name}")) for file in files]
            found = shown, copies, last
    return found


@pytest.mark.parametrize("watermark", [False, True])
def test_a_restored_file_keeps_its_encoding_and_what_is_known(restore, clipped, tmp_path, watermark):
    given = {"recording": str(clipped), "declip": True, "fill": "0.2:0.21", "count": 2, "watermark": watermark}
    shown, (first, second, _), settings = outputs(restore, tmp_path, **given)
    before, _ = soundfile.read(clipped, dtype="int32")
    known = (np.abs(before) < np.abs(before).max(0)).all(1)
    known[int(0.2 * RATE) : int(0.21 * RATE)] = False
    results = []
    for file in (first, second):
        info = soundfile.info(file)
        assert (info.format, info.subtype, info.samplerate, info.channels) == ("FLAC", "PCM_24", RATE, 2)
        after, _ = soundfile.read(file, dtype="int32")
        if read_metadata(file)["gain"] == 1:
            assert np.array_equal(after[known], before[known])
        results.append(after)
    assert not np.array_equal(*results) and not np.array_equal(results[0], before)
    assert [clip["title"] for clip in shown["clips"]] == ["Original", "Restored 1", "Restored 2"]
    assert ["name" in clip for clip in shown["clips"]] == [False, True, True]
    assert settings["fill"] == ["0.2:0.21"] and settings["declip"] and settings["input"] == "tone.flac"


def test_a_request_restores_as_the_pipeline_does(restore, clipped, answer):
    options = {"declip": True, "denoise": True, "seed": 5}
    ((made,), settings) = answer(restore, recording=str(clipped), **options)
    restorer = Restorer.from_pretrained(restore.offers[0].folder)
    wanted = restorer.restore(read(clipped, channels=2), **options).samples
    assert torch.allclose(made, (wanted * settings["gain"]), atol=2**-20)


def test_a_compressed_recording_becomes_floats_of_the_same_rate(restore, clipped, tmp_path):
    samples, _ = soundfile.read(clipped)
    ogg = tmp_path / "tone.ogg"
    soundfile.write(ogg, samples[:, 0], RATE)
    _, (file, _), _ = outputs(restore, tmp_path, recording=str(ogg), fill="0.1:0.11", watermark=False)
    info = soundfile.info(file)
    assert (info.format, info.subtype, info.samplerate) == ("WAV", "FLOAT", RATE)
    before, after = (soundfile.read(one, dtype="float32")[0] for one in (ogg, file))
    assert np.flatnonzero(before != after).min() >= 0.1 * RATE - 1
    assert np.flatnonzero(before != after).max() <= 0.11 * RATE + 1


def test_a_recording_is_upsampled_to_the_rate_of_the_model(upsample, tmp_path, answer):
    path = tmp_path / "low.wav"
    soundfile.write(path, 0.3 * np.sin(np.arange(4000)[:, None] * [0.3, 0.5]), 8000)
    ((made, other), settings) = answer(upsample, recording=str(path), count=2, seed=3)
    upsampler = Upsampler.from_pretrained(upsample.offers[0].folder)
    wanted = upsampler.upsample(read(path, channels=2), seed=3).samples.clamp(-1, 1)
    assert made.shape == wanted.shape == (2, 8000) and not torch.equal(made, other)
    assert torch.allclose(made, wanted, atol=2 / 32767)
    assert (settings["input_rate"], settings["sample_rate"], settings["cutoff"]) == (8000, 16000, 4000)


@pytest.mark.parametrize("name", ["restore", "upsample"])
def test_settings_load_back(request, name, clipped, answer):
    tab = request.getfixturevalue(name)
    options = {"restore": {"declip": True, "fill": "0.1:0.11, :0.02"}, "upsample": {"cutoff": 5000}}[name]
    _, settings = answer(tab, recording=str(clipped), seed=9, **options)
    offer = find_offer(settings, tab.catalog, tab.task, tab.offers)
    found = tab.task.restore(offer, settings)
    assert offer is tab.offers[0] and found["seed"] == 9
    assert {one: found[one] for one in options} == options
    with pytest.raises(UserError, match="load them in its own tab"):
        find_offer(settings | {"command": "audiodiff say"}, tab.catalog, tab.task, tab.offers)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "restore: nothing to do"),
        ({"declip": True, "recording": None}, "recording: is missing; upload"),
        ({"fill": "0.4:0.9"}, "gap 0.4:0.9: is not within tone.flac"),
        ({"clip_level": 0.4, "denoise": True}, "takes effect with declip only"),
        ({"denoise": True, "steps": 1000}, "Steps"),
    ],
)
def test_mistakes_are_one_line(restore, clipped, answer, options, message):
    with pytest.raises(gr.Error, match=message):
        answer(restore, **{"recording": str(clipped)} | options)


def test_recordings_that_are_too_long_or_of_a_full_band_are_refused(restore, upsample, tmp_path, answer):
    long, full = tmp_path / "long.wav", tmp_path / "full.wav"
    soundfile.write(long, np.zeros(61 * 8000), 8000)
    soundfile.write(full, np.ones(8000) * 0.1, 16000)
    for tab in (restore, upsample):
        with pytest.raises(gr.Error, match="is longer than 60 s"):
            answer(tab, recording=str(long), **({"denoise": True} if tab is restore else {}))
    with pytest.raises(gr.Error, match=r"full.wav: is at 16000 Hz"):
        answer(upsample, recording=str(full))


@pytest.mark.parametrize("kind", ["restore", "upsample"])
def test_the_command_line_makes_a_clip_of_the_page_again(
    request, clipped, tmp_path, tmp_path_factory, monkeypatch, kind
):
    tab, own = request.getfixturevalue(kind), {"declip": True} if kind == "restore" else {"cutoff": 3000.0}
    (folder,) = tmp_path_factory.getbasetemp().glob(f"{kind}rs[0-9]*/tiny")
    recording = tmp_path / "slow.wav"
    soundfile.write(recording, soundfile.read(clipped)[0], 8000)
    _, files, _ = outputs(tab, tmp_path, recording=str(recording), seed=4, count=2, watermark=True, **own)
    words = ["audiodiff", kind, recording, "--settings", files[1], "--model", folder, "--out", tmp_path / "again"]
    monkeypatch.setattr("sys.argv", [*map(str, words), "--device", "cpu"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    again, _ = soundfile.read(tmp_path / "again" / "slow.wav", dtype="int32")
    assert np.array_equal(again, soundfile.read(files[1], dtype="int32")[0])
