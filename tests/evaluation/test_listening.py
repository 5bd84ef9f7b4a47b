"""The listening test: nothing in it identifies a system, and its answers are counted for the right one."""

import csv
import hashlib
import json
import re
import shutil
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from audiodiff.audio import io
from audiodiff.errors import UserError
from audiodiff.evaluation.listening_answers import COLUMNS, Share, read_key, score, write_results
from audiodiff.evaluation.listening_kit import find_systems, match, plan, write_kit

RATE, CLIPS = 8000, 4


@pytest.fixture
def systems(tmp_path):
    """Two folders with clips of the same names; one is louder, longer and has another rate."""
    for k, name in enumerate(("ours", "theirs")):
        for clip in range(CLIPS):
            rate = RATE * (1 + k)
            samples = torch.randn(rate // 4 + 100 * k, generator=torch.Generator().manual_seed(clip)) * (
                0.05 + 0.05 * k
            )
            io.write(tmp_path / name / "deep" / f"secret{clip}.wav", io.Audio(samples, rate))
    return [str(tmp_path / "ours"), f"other={tmp_path / 'theirs'}"]


def answer(kit, path, rows, listener="ann"):
    """Write rows (trial, x, preference) as the page does."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        writer.writerows([COLUMNS, *([kit, listener, trial, x, preference, "2.5"] for trial, x, preference in rows)])
    return path


def test_the_page_reveals_nothing(systems, tmp_path):
    out = tmp_path / "kit"
    trials = write_kit(systems, out, seed=3)
    page = (out / "page" / "index.html").read_text()
    assert not re.search("ours|other|theirs|secret|deep", page)
    files = sorted((out / "page" / "audio").iterdir())
    assert {file.name for file in files} == {name for trial in trials for name in trial.files}
    assert len(files) == 3 * len(trials) == 3 * CLIPS
    assert len({hashlib.sha256(file.read_bytes()).hexdigest() for file in files}) == len(files)
    for trial in trials:
        read = [io.read(out / "page" / "audio" / name, channels=2) for name in trial.files]
        assert len({(out / "page" / "audio" / name).stat().st_size for name in trial.files}) == 1
        assert {audio.sample_rate for audio in read} == {2 * RATE}
        a, b, x = (audio.samples for audio in read)
        assert a.square().mean() == pytest.approx(b.square().mean().item(), rel=0.05)
        same, different = (a, b) if trial.x == "a" else (b, a)
        assert 0 < (x - same).abs().max() <= 2 * 2**-15
        assert (x - different).abs().max() > 0.01


def test_the_page_lists_the_trials_in_the_order_of_the_seed(systems, tmp_path):
    trials = write_kit(systems, tmp_path / "kit", seed=3, title="A <b>")
    page = (tmp_path / "kit" / "page" / "index.html").read_text()
    data = json.loads(re.search(r"^const data = (.*);$", page, re.MULTILINE)[1])
    assert data["title"] == "A <b>" and "A <b>" not in page
    assert data["trials"] == [{"id": trial.id, "files": list(trial.files)} for trial in trials]
    again = write_kit(systems, tmp_path / "again", seed=3)
    order = [[(t.clip, t.a, t.x) for t in found] for found in (trials, again)]
    assert order[0] == order[1] and trials[0].files != again[0].files
    assert order[0] != [(t.clip, t.a, t.x) for t in write_kit(systems, tmp_path / "other", seed=4)]


@given(clips=st.integers(1, 40), systems=st.integers(2, 4), seed=st.integers(0, 2**31), limit=st.integers(1, 60))
def test_every_plan_is_balanced(clips, systems, seed, limit):
    names = [f"c{k}" for k in range(clips)], [f"s{k}" for k in range(systems)]
    trials = plan(*names, seed, limit, identify=True)
    pairs = systems * (systems - 1) // 2
    assert len(trials) == min(limit, clips * pairs)
    assert len({(t.clip, *sorted((t.a, t.b))) for t in trials}) == len(trials)
    counts = Counter(tuple(sorted((t.a, t.b))) for t in trials)
    assert max(counts.values()) - min([counts[pair] for pair in counts] + [0] * (len(counts) < pairs)) <= 1
    for pair in counts:
        own = [t for t in trials if {t.a, t.b} == set(pair)]
        for first in (sum(t.a == pair[0] for t in own), sum(t.x == "a" for t in own)):
            assert abs(2 * first - len(own)) <= 2


def test_preference_alone_has_no_x(systems, tmp_path):
    trials = write_kit(systems, tmp_path / "kit", identify=False, limit=3)
    assert len(trials) == 3 and all(trial.x == "" and len(trial.files) == 2 for trial in trials)


def test_silence_stays_silent():
    tone = torch.ones(2, 100)
    silent, loud = match([torch.zeros(2, 50), tone])
    assert not silent.any() and silent.shape == loud.shape == (2, 100) and loud.max() == pytest.approx(0.95)


def test_answers_are_counted_for_the_right_system(systems, tmp_path):
    out = tmp_path / "kit"
    trials = write_kit(systems, out)
    kit, known = read_key(out)
    assert list(known.values()) == trials
    best = [(t.id, t.x, "a" if t.a == "ours" else "b") for t in trials]
    wrong = [(t.id, "b" if t.x == "a" else "a", "same") for t in trials[:3]]
    paths = [answer(kit, tmp_path / "a.csv", best), answer(kit, tmp_path / "b.csv", wrong, "bob")]
    (result,), listeners = score(out, paths)
    assert (listeners, result.first, result.second, result.ties) == (2, "other", "ours", 3)
    assert (result.identified.hits, result.identified.count) == (4, 7)
    assert (result.preferred.hits, result.preferred.count) == (0, 4)
    assert "4 of 7 (57 %, 18 to 90 %)" in write_results(out, paths)
    assert "0 of 4" in (out / "result.html").read_text() and "0 of 4" in (out / "result.md").read_text()


def test_intervals_are_clopper_and_pearsons():
    share = Share.of(15, 20, "greater")
    assert (share.low, share.high) == pytest.approx((0.5090, 0.9134), abs=1e-4)
    assert share.p == pytest.approx(0.0207, abs=1e-4)
    assert str(Share.of(0, 0, "greater")) == "–"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a,b\n1,2\n", "a.csv: has no column kit, listener"),
        ("{head}", "answers: there are none"),
        ("{head}other,ann,{trial},a,a,1\n", "line 2: is an answer to another test"),
        ("{head}{kit},ann,{trial},a,a,1\n{kit},ann,nothing,a,a,1\n", "line 3: trial 'nothing' is not in the key"),
        ("{head}{kit},ann,{trial},c,a,1\n", "x 'c' is none of a, b"),
        ("{head}{kit},ann,{trial},a,\n", "preference '' is none of a, b, same"),
        ("{head}" + 2 * "{kit},ann,{trial},a,a,1\n", "ann answers a trial twice"),
        ("\0\ud800", "a.csv: "),
    ],
)
def test_bad_answers_are_one_line(systems, tmp_path, content, words):
    trial = write_kit(systems, tmp_path / "kit")[0]
    kit, _ = read_key(tmp_path / "kit")
    text = content.replace("{head}", ",".join(COLUMNS) + "\n").replace("{kit}", kit).replace("{trial}", trial.id)
    (tmp_path / "a.csv").write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(UserError) as error:
        score(tmp_path / "kit", [tmp_path / "a.csv"])
    assert words in str(error.value) and "\n" not in str(error.value)


def test_bad_kits_are_one_line(systems, tmp_path):
    for folders, words in (
        (systems[:1], "at least two"),
        ([*systems, str(tmp_path / "none")], "none: is not a folder"),
        ([systems[0], systems[0]], "another system is named ours"),
    ):
        with pytest.raises(UserError, match=words):
            find_systems(folders)
    with pytest.raises(UserError, match="limit 0"):
        write_kit(systems, tmp_path / "kit", limit=0)
    write_kit(systems, tmp_path / "kit", limit=1)
    with pytest.raises(UserError, match="choose another --out"):
        write_kit(systems, tmp_path / "kit")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no clip in common"):
        write_kit([systems[0], str(tmp_path / "empty")], tmp_path / "other")
    (tmp_path / "kit" / "key.json").write_text("{}")
    with pytest.raises(UserError, match="is not the key"):
        read_key(tmp_path / "kit")


@pytest.mark.browser
@pytest.mark.skipif(not (shutil.which("chromium") and shutil.which("chromedriver")), reason="needs chromium")
def test_a_listener_answers_by_keyboard_and_reloads(browser, systems, tmp_path):
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import WebDriverWait

    out = tmp_path / "kit"
    trials = write_kit(systems, out, limit=3)
    browser.get((out / "page" / "index.html").as_uri())
    browser.find_element("id", "listener").send_keys('ann, "b"')
    body = browser.find_element("css selector", "body")
    browser.execute_script("document.activeElement.blur()")
    body.send_keys("x")
    WebDriverWait(browser, 10).until(lambda page: page.execute_script("return current") == 2)
    assert not browser.find_element("id", "next").is_enabled()
    body.send_keys("1", "5", Keys.ENTER, "2", "3", Keys.ENTER, Keys.ENTER)
    assert "trial 3 of 3, 2 answered" in browser.find_element("id", "count").text
    browser.refresh()
    assert "trial 3 of 3, 2 answered" in browser.find_element("id", "count").text
    browser.find_element("css selector", "[data-x=b]").click()
    browser.find_element("css selector", "[data-preference=b]").click()
    assert browser.find_element("id", "done").is_displayed()
    (tmp_path / "a.csv").write_text(browser.execute_script("return csv()"), newline="")
    (result,), listeners = score(out, [tmp_path / "a.csv"])
    assert listeners == 1 and result.ties == 1 and result.preferred.count == 2
    right = [trial.x == x for trial, x in zip(trials, "abb", strict=True)]
    assert (result.identified.hits, result.identified.count) == (sum(right), 3)
