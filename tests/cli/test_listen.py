"""`audiodiff listen` on what models make, vocoders beside recordings and music, from the folders to the result page."""

import csv
import json
import shutil
from itertools import combinations

import pytest
import torch
from tiny_models import sound

from audiodiff.audio import io
from audiodiff.evaluation.listening_answers import COLUMNS

CLIPS = 2


@pytest.fixture
def vocoders(command, model_folder, tmp_path):
    """Folders of recordings, and of two settings of a vocoder."""
    for seed in range(CLIPS):
        io.write(tmp_path / "recordings" / f"clip{seed}.wav", sound(4000, seed=seed))
    for name, iterations in (("alone", 0), ("projected", 8)):
        words = ("--model", model_folder, "--out", tmp_path / name, "--steps", 2, "--consistency", iterations)
        assert command("render", tmp_path / "recordings", *words)[0] == 0
    return [tmp_path / name for name in ("recordings", "alone", "projected")]


@pytest.fixture
def music(command, make_music, tmp_path):
    """Folders of what one stereo model generated with few steps and with more."""
    make_music(channels=2).save_pretrained(tmp_path / "model")
    for name, steps in (("few", 1), ("more", 3)):
        words = ("--model", tmp_path / "model", "--out", tmp_path / name, "--count", CLIPS, "--steps", steps)
        assert command("generate", *words, "--device", "cpu")[0] == 0
    return [tmp_path / name for name in ("few", "more")]


def score(command, kit, choose, tmp_path):
    """The rows of results after one listener's answers: `choose(trial) -> (x, preference)`."""
    key = json.loads((kit / "key.json").read_text())
    with (tmp_path / "answers.csv").open("w", newline="") as file:
        rows = ([key["kit"], "ann", trial["id"], *choose(trial), "1"] for trial in key["trials"])
        csv.writer(file).writerows([COLUMNS, *rows])
    status, out, _ = command("listen", "--out", kit, "--answers", tmp_path / "answers.csv")
    assert status == 0 and (kit / "result.html").exists()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in out if line.startswith("| ")][2:]


def test_vocoders_and_recordings_are_compared_and_identified(command, vocoders, tmp_path):
    status, out, _ = command("listen", *vocoders, "--out", tmp_path / "kit")
    assert status == 0 and out[0].startswith(f"{3 * CLIPS} trials")
    trials = json.loads((tmp_path / "kit/key.json").read_text())["trials"]
    for trial in trials:
        a, b, x = (io.read(tmp_path / "kit/page/audio" / name).samples for name in trial["files"])
        same, other = (a, b) if trial["x"] == "a" else (b, a)
        assert len(a) == len(b) == len(x) and (x - same).abs().max() < 1e-4 < (x - other).abs().max()

    def choose(trial):  # hears the recording, likes projected better than alone
        best = min((trial["a"], trial["b"]), key=["recordings", "projected", "alone"].index)
        return trial["x"], "a" if trial["a"] == best else "b"

    rows = score(command, tmp_path / "kit", choose, tmp_path)
    assert [row[0] for row in rows] == [f"{a} – {b}" for a, b in combinations(("alone", "projected", "recordings"), 2)]
    assert all(row[1].startswith(f"{CLIPS} of {CLIPS} (100 %, ") for row in rows)
    assert all(row[2].startswith(f"0 of {CLIPS} (0 %, ") for row in rows)


def test_music_is_compared_in_stereo_at_its_own_rate_without_an_x(command, music, tmp_path):
    kit = tmp_path / "kit"
    assert command("listen", *music, "--out", kit, "--preference")[0] == 0
    trials = json.loads((kit / "key.json").read_text())["trials"]
    assert len(trials) == CLIPS
    for trial in trials:
        a, b = (io.read(kit / "page/audio" / name, channels=2) for name in trial["files"])
        made = io.read(tmp_path / trial["a"] / f"{trial['clip']}.wav", channels=2)
        assert a.sample_rate == b.sample_rate == made.sample_rate
        # The same sound at another level, with its two channels as they were.
        assert torch.corrcoef(torch.stack([a.samples.flatten(), made.samples.flatten()]))[0, 1] > 0.999
        assert (a.samples[0] - a.samples[1]).abs().max() > 0.01
    (row,) = score(command, kit, lambda trial: ("", "a" if trial["a"] == "more" else "b"), tmp_path)
    assert row[0] == "few – more" and row[1] == "–" and row[2].startswith(f"0 of {CLIPS}")


@pytest.mark.browser
@pytest.mark.skipif(not (shutil.which("chromium") and shutil.which("chromedriver")), reason="needs chromium")
def test_a_listener_plays_music_and_prefers(browser, command, music, tmp_path):
    from selenium.webdriver.support.ui import WebDriverWait

    kit = tmp_path / "kit"
    assert command("listen", *music, "--out", kit, "--preference", "--title", "Which piece?")[0] == 0
    browser.get((kit / "page" / "index.html").as_uri())
    assert browser.title == "Which piece?" and not browser.find_element("id", "identify").is_displayed()
    assert [button.text[0] for button in browser.find_elements("css selector", "#players button")] == ["A", "B"]
    lengths = "return players.map(player => player.duration)"
    WebDriverWait(browser, 20).until(lambda page: all(page.execute_script(lengths)))
    first, second = browser.execute_script(lengths)
    assert first == second > 0
    body = browser.find_element("css selector", "body")
    body.send_keys("x", "1")  # keys of a test with an X
    assert browser.execute_script("return current") is None
    body.send_keys("b")
    WebDriverWait(browser, 10).until(lambda page: page.execute_script("return current") == 1)
    for trial, key in zip(range(CLIPS), "34", strict=True):
        assert f"trial {trial + 1} of {CLIPS}" in browser.find_element("id", "count").text
        body.send_keys(key)
        browser.find_element("id", "next").click() if trial + 1 < CLIPS else None
    assert browser.find_element("id", "done").is_displayed()
    (tmp_path / "a.csv").write_text(browser.execute_script("return csv()"), newline="")
    status, out, _ = command("listen", "--out", kit, "--answers", tmp_path / "a.csv")
    assert status == 0 and any(f"of {CLIPS} (" in line for line in out)
