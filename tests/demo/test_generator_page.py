"""The page of a model of music, asked as a program asks it."""

import numpy as np
import pytest
import soundfile
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from audiodiff.demo.generator_page import AFTER, LIKE, NOTHING


@pytest.fixture(scope="module")
def music(music_url):
    return Client(music_url, verbose=False)


def ask(music, labels=(), seconds=0.5, seed=0, loop=False, clip=None, use=NOTHING):
    given = handle_file(clip) if clip else None
    _, path, told = music.predict(list(labels), 0, 2.0, seconds, 2, seed, loop, given, use, 0.3, api_name="/generate")
    return *soundfile.read(path, dtype="int16", always_2d=True), told


def test_a_clip_is_made_as_it_was_asked_for(music):
    made, rate, told = ask(music, ["kick"], seconds=0.5)
    assert made.shape == (11025, 1) and rate == 22050 and abs(int(np.abs(made).max()) - 0.9 * 32767) < 2
    assert (told["labels"], told["steps"], told["seed"], told["guidance"]) == (["kick"], 2, 0, 2.0)
    assert np.array_equal(ask(music, ["kick"], seconds=0.5)[0], made)
    assert not np.array_equal(ask(music, ["kick"], seconds=0.5, seed=1)[0], made)
    assert ask(music, seconds=0.5)[2]["guidance"] == 1.0


def test_a_clip_is_gone_on_with_and_varied(music, recording):
    given = soundfile.info(str(recording))
    assert len(ask(music, clip=recording, use=AFTER)[0]) == given.frames + 11025
    assert len(ask(music, clip=recording, use=LIKE)[0]) == given.frames
    assert len(ask(music, loop=True, seconds=0.5)[0]) == 11025


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seconds": 1e6}, "Seconds: 1000000.0 is out of range; enter a number from 0.5 to 120"),
        ({"use": AFTER}, "the clip: is missing"),
    ],
)
def test_mistakes_are_one_line(music, options, message):
    with pytest.raises(AppError, match=message):
        ask(music, **options)
