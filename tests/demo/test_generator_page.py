"""The page of an audio generator, called by its API."""

import numpy as np
import pytest
import soundfile
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError


@pytest.fixture(scope="module")
def music(music_url):
    return Client(music_url, verbose=False)


def request(music, **options):
    """(samples, sample rate, settings) of a clip."""
    clips = {name: handle_file(options.pop(name)) for name in ("continue_from", "init_audio") if name in options}
    _, path, settings = music.predict(**{"seconds": 0.5, "steps": 2} | options | clips, api_name="/generate")
    return *soundfile.read(path, dtype="int16", always_2d=True), settings


def test_options_reach_the_clip(music):
    clip, rate, settings = request(music, labels=["kick"], guidance_scale=2.0)
    assert clip.shape == (11025, 1) and rate == 22050 and abs(int(np.abs(clip).max()) - 0.9 * 32767) < 2
    assert (settings["labels"], settings["steps"], settings["seed"]) == (["kick"], 2, 0)
    assert settings["guidance_scale"] == 2.0
    assert np.array_equal(request(music, labels=["kick"], guidance_scale=2.0)[0], clip)
    assert not np.array_equal(request(music, labels=["kick"], guidance_scale=2.0, seed=1)[0], clip)
    assert request(music, guidance_scale=2.0)[2]["guidance_scale"] == 1.0  # without a condition


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
