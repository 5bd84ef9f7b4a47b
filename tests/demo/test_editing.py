"""The tab that edits, called by its API: the edit of the Python API, and mistakes in one line."""

import numpy as np
import pytest
import soundfile
import torch
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from audiodiff.audio.io import Audio
from audiodiff.demo.controls import MAX_SECONDS
from audiodiff.demo.region_picker import COLUMNS, EMPTY, outline, show


@pytest.fixture(scope="module")
def page(editor_url):
    return Client(editor_url, verbose=False)


def request(page, recording, **options):
    """(samples, sample rate, settings) of an edit."""
    clips = {name: handle_file(options.pop(name)) for name in ("style_from", "morph_with") if name in options}
    given = {"recording": handle_file(recording), "steps": 2, "watermark": False} | options | clips
    files, settings = page.predict(**given, api_name="/edit")
    return *soundfile.read(files[0], dtype="int16", always_2d=True), settings


def test_a_region_changes_and_the_rest_stays(page, recording):
    before, rate = soundfile.read(recording, dtype="int16")
    after, made_at, settings = request(page, recording, regions="0.2:0.4, 0.6:0.7", labels=["kick"])
    assert made_at == rate and len(after) == len(before) and settings["regions"] == ["0.2:0.4", "0.6:0.7"]
    changed = np.abs(after[:, 0].astype(int) - before) > 0
    expected = np.zeros(len(before), bool)
    for start, stop in ((0.2, 0.4), (0.6, 0.7)):
        expected[round(start * rate) : round(stop * rate)] = True
    assert not changed[~expected].any() and changed[expected].mean() > 0.8
    assert settings["labels"] == ["kick"] and settings["guidance_scale"] == 1


def test_other_edits_arrive(page, recording):
    count = soundfile.info(str(recording)).frames
    assert len(request(page, recording, extend_left=0.1, extend_right=0.2)[0]) == count + round(0.3 * 22050)
    assert request(page, recording, from_labels=["kick"], labels=["snare"])[2]["from_labels"] == ["kick"]
    assert request(page, recording, morph_with=recording, morph=0.5)[2]["morph"] == 0.5
    assert request(page, recording, style_from=recording)[2]["noise_level"] == 0.5
    assert request(page, recording, noise_level="0.25")[2]["noise_level"] == 0.25
    assert request(page, recording, regions="0.2:0.8", band="500:1500")[2]["band"] == "500:1500"


def test_variations_are_the_same_in_any_number(page, recording):
    given = {"recording": handle_file(recording), "regions": "0.2:0.4", "steps": 2, "seed": 3}
    one, three = (
        [soundfile.read(file)[0] for file in page.predict(**given, count=count, api_name="/edit")[0][:-1]]
        for count in (1, 3)
    )
    assert len(three) == 3 and np.abs(three[0] - one[0]).max() < 2 / 32767  # rounding of batches
    assert np.abs(three[1] - three[0]).max() > 1e-2


def test_a_new_recording_has_no_region(recording):
    assert show(None) == (EMPTY, "")
    drawn, regions = show(str(recording))
    assert regions == drawn["regions"] == "" and drawn["seconds"] == 1


def test_a_visitor_extends_by_no_more_than_a_recording_may_have(tabs):
    options = tabs("drums")["edit"].options
    assert {options[name].maximum for name in ("extend_left", "extend_right", "context")} == {MAX_SECONDS}


def test_regions_are_found_again_in_settings(tabs, answer, recording):
    tab = tabs("drums")["edit"]
    _, settings = answer(tab, recording=str(recording), regions=" 0.1:0.2,, 0.7:", steps=2, band="500:")
    restored = tab.task.restore(tab.offers[0], settings)
    assert (restored["regions"], restored["band"]) == ("0.1:0.2, 0.7:", "500:")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "the edit: changes nothing"),
        ({"regions": "5:6"}, "region 5:6: starts after the end"),
        ({"regions": "-1:0.5"}, "region -1:0.5: begins below 0 s"),
        ({"regions": "0.5:9"}, "region 0.5:9: ends after the recording"),
        ({"regions": "0.4:0.2"}, "region 0.4:0.2: ends before it starts"),
        ({"extend_left": 1e6}, "Extend left 1e"),
        ({"noise_level": 0.5, "steps": 101}, "Steps 101"),
        ({"noise_level": "much"}, "Noise level 'much': expected a number"),
        ({"noise_level": "0"}, "Noise level 0: out of range"),
    ],
)
def test_mistakes_are_one_line(page, recording, options, message):
    with pytest.raises(AppError, match=rf"^{message}[^\n]*$"):
        request(page, recording, **options)


def test_a_silent_recording_is_one_line(page, tmp_path):
    soundfile.write(tmp_path / "still.wav", np.zeros(22050), 22050)
    with pytest.raises(AppError, match=r"^[^\n]*is silent[^\n]*$"):
        request(page, tmp_path / "still.wav", regions="0.1:0.2")


def test_a_missing_recording_is_said(page):
    with pytest.raises(AppError, match="recording: is missing"):
        page.predict(recording=None, regions="0:1", api_name="/edit")


@pytest.mark.parametrize("samples", [1, 7, COLUMNS, 22050])
def test_an_outline_encloses_every_sample(samples):
    ramp = torch.linspace(-2, 0.5, samples)
    drawn = outline(Audio(torch.stack([ramp, ramp.flip(0)]), 22050))
    assert drawn["seconds"] == round(samples / 22050, 6) and len(drawn["channels"]) == 2
    (lows, highs), (flipped, _) = drawn["channels"]
    assert len(lows) == len(highs) == min(samples, COLUMNS) and flipped == pytest.approx(lows[::-1], abs=0.03)
    assert lows[0] == -1 and all(low <= high for low, high in zip(lows, highs, strict=True))
    assert highs[-1] == pytest.approx(max(float(ramp[-1]), -1), abs=1e-3)
