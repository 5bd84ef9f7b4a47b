"""The tab of sounds, called by its API."""

import json
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
import soundfile
import torch
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audiodiff.audio.io import Audio
from audiodiff.audio.metadata import read_metadata
from audiodiff.audio.watermark import detect
from audiodiff.demo import generation
from audiodiff.demo.history import History
from audiodiff.demo.preview import Preview
from audiodiff.demo.settings_file import find_offer
from audiodiff.pipelines.audio_generator import AudioGenerator
from audiodiff.pipelines.pipeline import Progress
from audiodiff.rendering.settings import read_settings


@pytest.fixture(scope="module")
def music(music_url):
    return Client(music_url, verbose=False)


def request(music, **options):
    """(samples, sample rate, settings) of a clip."""
    clips = {name: handle_file(options.pop(name)) for name in ("continue_from", "init_audio") if name in options}
    values = {"seconds": 0.5, "steps": 2, "watermark": False} | options | clips
    files, settings = music.predict(**values, api_name="/generate")
    return *soundfile.read(files[0], dtype="int16", always_2d=True), settings


def test_options_reach_the_clip(music):
    clip, rate, settings = request(music, labels=["kick"], guidance_scale=2.0)
    assert clip.shape == (11025, 1) and rate == 22050 and abs(int(np.abs(clip).max()) - 0.9 * 32767) < 2
    assert (settings["labels"], settings["steps"], settings["seed"]) == (["kick"], 2, 0)
    assert settings["guidance_scale"] == 2.0
    assert np.array_equal(request(music, labels=["kick"], guidance_scale=2.0)[0], clip)
    assert not np.array_equal(request(music, labels=["kick"], guidance_scale=2.0, seed=1)[0], clip)
    assert request(music, labels=[], guidance_scale=2.0)[2]["guidance_scale"] == 1.0  # without a condition


def test_a_clip_is_continued_and_varied(music, recording):
    given = soundfile.info(str(recording))
    assert len(request(music, continue_from=recording)[0]) == given.frames + 11025
    assert len(request(music, init_audio=recording, init_noise_level=0.3)[0]) == given.frames
    assert len(request(music, loop=True)[0]) == 11025


@pytest.mark.parametrize(
    ("options", "subject"),
    [({"seconds": 1e6}, "Seconds 1e"), ({"steps": 101}, "Steps 101"), ({"labels": ["x"]}, "Labels 'x'")],
)
def test_mistakes_are_one_line(music, options, subject):
    with pytest.raises(AppError, match=rf"^{subject}[^\n]*$"):
        request(music, **options)


def test_two_clips_are_refused(music, recording):
    with pytest.raises(AppError, match="exclusive"):
        request(music, continue_from=recording, init_audio=recording)


def test_clips_of_a_seed_are_those_of_any_number_and_of_any_batch(music, monkeypatch):
    """Also where they are sampled in two batches."""
    given = {"seconds": 0.5, "steps": 2, "seed": 3, "format": "flac"}
    few, settings = music.predict(**given, count=2, api_name="/generate")
    monkeypatch.setattr(generation, "BATCH_SECONDS", 1.0)
    many, _ = music.predict(**given, count=3, api_name="/generate")
    assert [file.rpartition("/")[2] for file in many] == [*(f"generate-0{i}.flac" for i in (1, 2, 3)), "settings.json"]
    read = [[soundfile.read(file, dtype="int16")[0] for file in files[:-1]] for files in (few, many)]
    for one, other in zip(*read, strict=False):
        assert np.abs(one.astype(int) - other).max() <= 1  # rounding of batches
    assert settings["count"] == 2 and "clip" not in settings


def test_a_page_makes_so_many_clips_and_so_much_of_them(music):
    for options, message in (
        ({"count": 17}, "^Clips 17: out of range"),
        ({"count": 3, "seconds": 100}, "^3 clips of 100 s: are longer than 240 s together"),
        ({"format": "mp3"}, "^Format 'mp3': unknown"),
        ({"model": "nothing"}, "^model 'nothing': is not on this page"),
        ({"model": "music"}, "^model music: is not one of the tab Sound"),
    ):
        with pytest.raises(AppError, match=message) as error:
            request(music, **options)
        assert "\n" not in str(error.value)


def test_what_is_generated_has_a_watermark_unless_it_is_switched_off(tabs, answer):
    """Of long clips: a short one holds little of it. The settings of a file say so, too."""
    tab = tabs("music")["generate_music"]
    given = {"labels": ["rock"], "steps": 2, "seconds": 12.0}
    (marked,), settings = answer(tab, **given, watermark=True)
    (plain,), without = answer(tab, **given)
    assert settings["watermark"] is True and "watermark" not in without
    assert detect(marked, 22050).detected and not detect(plain, 22050).detected
    assert 0 < (marked - plain).abs().max() < 0.1


def test_a_file_has_its_settings_in_its_metadata(music, tmp_path):
    files, settings = music.predict(labels=["kick"], seed=3, count=2, steps=2, format="ogg", api_name="/generate")
    found = [read_metadata(file) for file in files[:-1]]
    assert [(one["command"], one["clip"], one["seed"], one["labels"], one["watermark"]) for one in found] == [
        ("audiodiff generate", number, 3, ["kick"], True) for number in (0, 1)
    ]
    assert json.loads(Path(files[-1]).read_text()) == settings


@pytest.mark.parametrize("format", ["wav", "flac", "ogg", "json"])
def test_settings_are_loaded_back_from_every_file(music_tabs, music, format):
    """The same request again, from what the file says: the same clip."""
    given = {"model": "drums", "labels": ["snare"], "seed": 5, "steps": 3, "seconds": "0.5", "format": "wav"}
    files, _ = music.predict(**given | ({} if format == "json" else {"format": format}), api_name="/generate")
    tab = music_tabs["generate"]
    settings = read_settings(files[1 if format == "json" else 0])
    offer = find_offer(settings, tab.catalog, tab.task, tab.offers)
    restored = tab.task.restore(offer, settings) | {"model": offer.name}
    assert offer.name == "drums" and restored["labels"] == ("snare",) and restored["seed"] == 5
    again, _ = music.predict(**restored, api_name="/generate")
    first, _ = music.predict(**given, api_name="/generate")
    assert Path(again[0]).read_bytes() == Path(first[0]).read_bytes()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "holds no settings"),
        ("{", "is no JSON"),
        ('{"command": "audiodiff say"}', "are of `audiodiff say`; load them in its own tab"),
        ('{"model_hash": "0123"}', "are of 0123, which is not in this tab"),
        ('{"model": "music"}', "are of music, which is not in this tab"),
        ('{"model": "drums", "count": 99}', "Clips 99: out of range"),
    ],
)
def test_settings_that_cannot_be_used_are_one_line(music_tabs, tmp_path, content, message):
    file = tmp_path / "settings.json"
    file.write_text(content)
    with pytest.raises(gr.Error, match=message) as error:
        music_tabs["generate"].load_file(str(file))
    assert "\n" not in str(error.value)


def test_a_recording_without_settings_is_one_line(music_tabs, recording):
    with pytest.raises(gr.Error, match=r"glide\.wav: has no settings in its metadata"):
        music_tabs["generate"].load_file(str(recording))


@pytest.fixture(scope="module")
def music_tabs(tabs):
    """The tabs of the drums, with their controls."""
    found = tabs("drums")
    with gr.Blocks():
        found["generate"].build(History())
    return found


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(
        st.sampled_from(["labels", "steps", "seed", "prompt", "adapters", "sampler", "seconds", "loop", "model"]),
        st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=5), st.lists, max_leaves=4),
    )
)
def test_any_settings_load_or_are_one_line(music_tabs, found):
    try:
        updates = music_tabs["generate"].load_settings({**found, "model": "drums"})
        assert len(updates) == len(music_tabs["generate"].names) + 2
    except gr.Error as error:
        assert "\n" not in str(error) and "Internal" not in str(error)


def test_another_model_of_the_tab_answers(music):
    clip, rate, settings = request(music, model="sounds", prompt="a kick drum", labels=[])
    assert settings["model"] == "sounds" and settings["prompt"] == "a kick drum" and len(clip) == rate // 2
    with pytest.raises(AppError, match=r"^Labels \['kick'\]: sounds has no such option"):
        request(music, model="sounds", labels=["kick"])


def test_what_forms_is_shown_and_audible_on_request():
    """A picture of the estimate at a step; with its sound, where that is requested; nothing more often than seldom."""
    audio, now = Audio(torch.zeros(800), 8000), [0.0]
    calls = []
    progress = Progress(1, 4, estimate=lambda: calls.append(1) or audio)
    shown = Preview(clock=lambda: now[0])(progress)["forming"]
    assert shown["picture"].startswith("data:image/jpeg;base64,") and (shown["done"], shown["total"]) == (1, 4)
    assert "audio" not in shown
    preview = Preview(audible=True, clock=lambda: now[0])
    assert preview(progress)["forming"]["audio"].startswith("data:audio/wav;base64,")
    assert preview(progress) is None  # at once again
    now[0] += 1
    assert preview(progress) and preview(Progress(4, 4, estimate=lambda: audio)) is None and len(calls) == 3


def test_the_estimate_of_the_last_step_is_the_clip(make_music):
    """DDIM ends on its last estimate of x0."""
    generator, seen = AudioGenerator(make_music(1)), []
    clip = generator.generate(
        steps=3, sampler="ddim", seed=4, peak_level=None, callback=lambda one: seen.append(one.estimate())
    )
    torch.testing.assert_close(seen[-1].samples, clip.samples)
    assert len(seen) == 3 and not torch.allclose(seen[0].samples, clip.samples)
