"""The page as a visitor meets it, in headless Chromium."""

import io
import json
import shutil
import subprocess
import time
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import pytest
import soundfile
from gradio_client import Client

from audiodiff.audio.metadata import read_metadata

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not (shutil.which("chromium") and shutil.which("chromedriver")), reason="needs chromium and chromedriver"
    ),
]
SECONDS = 30
TABS = ("Speak", "Sound", "Music", "Edit", "Restore", "Upsample", "Resynthesize", "Compare", "Models", "History")


def wait(browser, condition):
    from selenium.common.exceptions import StaleElementReferenceException
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(browser, SECONDS, 0.2, [StaleElementReferenceException]).until(condition)


def find(browser, selector):
    """The first element of a selector, once it is there."""
    return wait(browser, lambda _: browser.find_elements("css selector", selector))[0]


def visit(browser, url, tab=None):
    browser.get(url)
    find(browser, ".list .hint")  # which a script writes
    time.sleep(0.5)
    if tab is not None:
        choose(browser, tab)


def choose(browser, tab):
    """Open a tab; on a narrow page the last ones are in a menu."""

    def pressed(_):
        for one in browser.find_elements("css selector", "button[role=tab], .overflow-dropdown button"):
            if text_of(one) == tab:
                browser.execute_script("arguments[0].click()", one)
                return True
        for menu in browser.find_elements("css selector", ".overflow-menu > button"):
            if menu.is_displayed():
                browser.execute_script("arguments[0].click()", menu)  # opens it, or closes one without the tab
        return False

    wait(browser, pressed)


def text_of(element):
    return element.get_attribute("textContent").strip()


def press(browser, selector):
    element = find(browser, selector)
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
    browser.execute_script("arguments[0].click()", element)


def enter(browser, selector, text):
    """Replace what a field holds."""
    from selenium.webdriver.common.keys import Keys

    field = find(browser, selector)
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", field)
    for keys in (Keys.CONTROL + "a", text or Keys.DELETE, Keys.TAB):  # control is held until the end of a call
        field.send_keys(keys)


def upload(browser, selector, *files):
    """Give files to the input inside `selector` once the page shows it."""
    find(browser, f"{selector} input[type=file]").send_keys("\n".join(map(str, files)))


def clips(browser, endpoint):
    """The finished clips of a tab."""
    return browser.find_elements("css selector", f"#{endpoint}-clips .clip:not(.forming)")


def made(browser, endpoint, count=1):
    """The clips of a tab, once there are so many and they stay."""
    wait(browser, lambda _: len(clips(browser, endpoint)) == count)
    time.sleep(0.5)
    return clips(browser, endpoint)


def played(browser, endpoint, number=0):
    """Play a clip of a tab to its end: its seconds, and the file that it offers: content, samples, rate."""

    def play(_):  # a click on the picture plays from there
        picture = clips(browser, endpoint)[number].find_element("css selector", ".picture")
        browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", picture)
        picture.click()
        return True

    def ended(_):
        player = clips(browser, endpoint)[number].find_element("css selector", "audio")
        return browser.execute_script("return arguments[0].ended && arguments[0].duration", player)

    wait(browser, play)
    seconds = wait(browser, ended)
    link = clips(browser, endpoint)[number].find_element("css selector", "a[download]").get_attribute("href")
    with urlopen(link) as answer:
        content = answer.read()
    return seconds, content, *soundfile.read(io.BytesIO(content))


def body(browser):
    return browser.find_element("css selector", "body").text


@pytest.fixture(scope="module")
def axe():
    """The script of axe-core, where npm has installed it (`npm install --global axe-core`)."""
    npm = shutil.which("npm")
    root = npm and subprocess.run([npm, "root", "--global"], capture_output=True, text=True, check=True).stdout.strip()
    script = Path(root or ".") / "axe-core" / "axe.min.js"
    if not script.is_file():
        pytest.skip("needs axe-core of npm")
    return script.read_text(encoding="utf-8")


def test_a_recording_is_uploaded_seen_and_heard(browser, url, recording):
    visit(browser, url, "Resynthesize")
    upload(browser, "#resynthesize-recording", recording)
    find(browser, "#resynthesize-recording #waveform")
    press(browser, "#resynthesize-run")
    original, result = made(browser, "resynthesize", 2)
    seconds, _, samples, rate = played(browser, "resynthesize", 1)
    assert (rate, len(samples)) == (16000, 16000) and seconds == pytest.approx(1, abs=0.05)
    assert not original.find_elements("css selector", "a[download]")
    given = soundfile.read(recording)[0]
    assert 0.5 < np.std(samples) / np.std(given) < 2
    assert result.find_element("css selector", "img").get_attribute("alt").startswith("Waveform and spectrogram of")
    severe = [line["message"] for line in browser.get_log("browser") if line["level"] == "SEVERE"]
    assert not [message for message in severe if "manifest.json" not in message and "favicon" not in message]


def test_an_error_is_a_sentence_that_stays(browser, url, tmp_path):
    text = tmp_path / "notes.wav"
    text.write_text("no sound")
    visit(browser, url, "Resynthesize")
    press(browser, "#resynthesize-run")
    alert = find(browser, "#resynthesize-clips [role=alert]")
    assert alert.text == "recording: is missing; upload a file or record one"
    enter(browser, "#resynthesize-seed input", "")
    press(browser, "#resynthesize-lock input")
    press(browser, "#resynthesize-run")
    wait(browser, lambda _: "Seed: is empty" in find(browser, "#resynthesize-clips [role=alert]").text)


def steps_until_still(began):
    """How many evaluations of a very slow network began until none did for the time of two of them."""
    while time.monotonic() < began[-1] + 2.5:
        time.sleep(0.1)
    return len(began)


def test_cancel_stops_the_sampler_and_frees_the_queue(browser, music_url, very_slow_network):
    visit(browser, music_url)
    press(browser, "#generate-run")
    wait(browser, lambda _: very_slow_network)
    press(browser, "#generate-cancel")
    stopped = steps_until_still(very_slow_network)
    press(browser, "#generate-run")
    wait(browser, lambda _: clips(browser, "generate"))
    assert stopped < len(very_slow_network) - stopped  # those of the whole request that follows


def test_leaving_stops_the_sampler(browser, music_url, very_slow_network):
    visit(browser, music_url)
    press(browser, "#generate-run")
    wait(browser, lambda _: very_slow_network)
    browser.get("about:blank")
    assert steps_until_still(very_slow_network) < 8


def test_what_forms_is_seen_and_heard(browser, music_url, slow_network):
    visit(browser, music_url)
    press(browser, "#generate-preview_sound input")
    press(browser, "#generate-run")
    find(browser, "#generate-clips .forming img")
    find(browser, "#generate-clips .forming audio")
    wait(browser, lambda _: clips(browser, "generate"))
    assert not browser.find_elements("css selector", "#generate-clips .forming")


def test_a_sound_is_made_heard_and_the_same_as_by_the_api(browser, music_url, tmp_path):
    """Also its settings, which come back from the file itself."""
    visit(browser, music_url)
    find(browser, "#generate-labels")
    press(browser, "#generate-labels label:first-of-type input")
    press(browser, "#generate-run")
    made(browser, "generate")
    seconds, content, samples, rate = played(browser, "generate")
    assert (rate, len(samples)) == (22050, 22050) and 0.8 < np.abs(samples).max() <= 1
    assert seconds == pytest.approx(1, abs=0.05)
    seed = find(browser, "#generate-seed input").get_attribute("value")
    assert seed != "0"  # it is not locked
    file = tmp_path / "clip.wav"
    file.write_bytes(content)
    metadata = read_metadata(file)
    assert metadata["seed"] == int(seed) and metadata["labels"] == ["kick"]
    files, _ = Client(music_url, verbose=False).predict(labels=["kick"], seed=int(seed), api_name="/generate")
    assert Path(files[0]).read_bytes() == content

    visit(browser, music_url)
    for accordion in browser.find_elements("css selector", "button.label-wrap"):
        if accordion.is_displayed() and "Load settings" in accordion.text:
            browser.execute_script("arguments[0].click()", accordion)
    upload(browser, "#generate-load", file)
    wait(browser, lambda _: find(browser, "#generate-seed input").get_attribute("value") == seed)
    assert find(browser, "#generate-labels label:first-of-type input").is_selected()


def test_a_locked_seed_stays_and_the_dice_draw_another(browser, music_url):
    visit(browser, music_url)
    enter(browser, "#generate-seed input", "7")
    press(browser, "#generate-lock input")
    press(browser, "#generate-run")
    wait(browser, lambda _: clips(browser, "generate"))
    assert find(browser, "#generate-seed input").get_attribute("value") == "7"
    press(browser, "#generate-dice")
    wait(browser, lambda _: find(browser, "#generate-seed input").get_attribute("value") != "7")


def test_the_history_lists_what_was_made_and_gives_its_settings_back(browser, music_url):
    visit(browser, music_url)
    enter(browser, "#generate-count input[type=number]", "3")
    press(browser, "#generate-run")
    made(browser, "generate", 3)
    seed = find(browser, "#generate-seed input").get_attribute("value")
    press(browser, "#generate-dice")
    enter(browser, "#generate-count input[type=number]", "1")
    choose(browser, "History")
    wait(browser, lambda _: len(browser.find_elements("css selector", "#history .entry audio")) == 3)
    link = find(browser, "#history a[download]").get_attribute("href")
    with urlopen(link) as answer:
        assert json.load(answer)["seed"] == int(seed)
    press(browser, "#history .again")
    field = "#generate-seed input"
    wait(browser, lambda _: find(browser, field).is_displayed() and find(browser, field).get_attribute("value") == seed)
    assert find(browser, "#generate-count input[type=number]").get_attribute("value") == "3"


def test_on_a_phone_a_recording_is_restored_and_the_history_leads_back(browser, music_url):
    """The tab is one in another, and its button is in a menu."""
    size = {"width": 390, "height": 1000, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    visit(browser, music_url, "Restore")
    example = wait(
        browser, lambda _: [one for one in browser.find_elements("css selector", "#tab-restore td") if one.text]
    )
    browser.execute_script("arguments[0].click()", example[0])
    find(browser, "#restore-waveform .wave")
    press(browser, "#restore-run")
    _, restored = made(browser, "restore", 2)
    assert restored.find_element("css selector", "a[download]").get_attribute("download") == "restore.flac"
    choose(browser, "History")
    press(browser, "#history .again")
    wait(browser, lambda _: find(browser, "#restore-run").is_displayed())
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_another_model_has_its_own_controls(browser, music_url):
    visit(browser, music_url)
    assert find(browser, "#generate-labels").is_displayed()
    find(browser, "#generate-model input").click()
    options = wait(browser, lambda _: browser.find_elements("css selector", "[role=option]"))
    next(option for option in options if "sounds" in option.text).click()
    labels = "#generate-labels"
    wait(browser, lambda _: not any(one.is_displayed() for one in browser.find_elements("css selector", labels)))
    enter(browser, "#generate-prompt textarea, #generate-prompt input", "a kick drum")
    press(browser, "#generate-run")
    wait(browser, lambda _: clips(browser, "generate"))


def test_the_scale_of_an_adapter_is_set(browser, adapted_url):
    from audiodiff.pipelines.audio_generator import AudioGenerator

    url, root = adapted_url
    visit(browser, url)
    number = find(browser, "#generate-adapter_my_drum input[type=number]")
    assert number.get_attribute("value") == "0.5"
    enter(browser, "#generate-adapter_my_drum input[type=number]", "1.25")
    press(browser, "#generate-lock input")
    press(browser, "#generate-watermark input")
    press(browser, "#generate-run")
    made(browser, "generate")
    found = played(browser, "generate")[2]
    expected = AudioGenerator.from_pretrained(root / "model").generate(adapters=[f"{root / 'my-drum'}:1.25"])
    assert np.abs(found - expected.samples.numpy().ravel()).max() < 2 / 32767


def test_a_text_is_written_spoken_and_its_words_are_heard(browser, voice_url):
    visit(browser, voice_url)
    enter(browser, "#say-text textarea", "Hello there, [pause 0.5] hello.")
    press(browser, "#say-run")
    (clip,) = made(browser, "say")
    words = clip.find_elements("css selector", ".mark")
    assert [word.text for word in words] == ["Hello", "there", "hello"]
    browser.execute_script("arguments[0].click()", words[2])
    player = clip.find_element("css selector", "audio")
    wait(browser, lambda _: browser.execute_script("return arguments[0].currentTime", player) > 0.5)


def test_one_seed_is_compared_over_steps(browser, music_url):
    visit(browser, music_url, "Compare")
    enter(browser, "#compare-steps textarea, #compare-steps input", "2, 3")
    press(browser, "#compare-run")
    titles = [clip.find_element("css selector", "figcaption").text for clip in made(browser, "compare", 2)]
    assert titles[0].startswith("own sampler, 2 steps: ") and titles[1].startswith("own sampler, 3 steps: ")


def test_the_spread_over_seeds_is_seen_and_its_settings_load_back(browser, music_url):
    visit(browser, music_url, "Compare")
    enter(browser, "#compare-steps textarea, #compare-steps input", "2")
    enter(browser, "#compare-seeds input[type=number]", "3")
    press(browser, "#compare-run")
    (clip,) = made(browser, "compare")
    assert "dB over 3 seeds" in clip.find_element("css selector", "figcaption").text
    picture = clip.find_element("css selector", ".spread")
    wait(browser, lambda _: browser.execute_script("return arguments[0].naturalWidth", picture) > 300)
    enter(browser, "#compare-steps textarea, #compare-steps input", "5")
    choose(browser, "History")
    press(browser, "#history .again")
    steps = "#compare-steps textarea, #compare-steps input"
    wait(browser, lambda _: find(browser, steps).is_displayed() and find(browser, steps).get_attribute("value") == "2")


def test_the_models_and_their_cards_are_shown(browser, music_url):
    visit(browser, music_url, "Models")
    wait(browser, lambda _: "Known limitations" in body(browser))
    table = find(browser, "#models-table").text
    assert all(name in table for name in ("drums", "voice-en", "CC0"))


@pytest.mark.slow
def test_nothing_is_wider_than_the_window_and_axe_finds_nothing_serious(browser, music_url, axe):
    """Every tab, at the widths of a desk, a tablet and a phone, in light and dark colors."""
    found = set()
    for width, theme in ((1300, "light"), (768, "dark"), (390, "light")):
        size = {"width": width, "height": 1200, "deviceScaleFactor": 1, "mobile": width < 700}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        visit(browser, f"{music_url}?__theme={theme}")
        browser.execute_script(axe)
        for tab in TABS:
            choose(browser, tab)
            time.sleep(0.5)
            wide, inner = browser.execute_script("return [document.documentElement.scrollWidth, window.innerWidth]")
            if wide > inner:
                found.add((f"{wide} pixels of {width}", tab, theme, ""))
            report = browser.execute_async_script(
                "const done = arguments[arguments.length - 1];"
                "axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa']}).then(done)"
            )
            for one in report["violations"]:
                if one["impact"] in ("serious", "critical"):
                    found |= {(one["id"], tab, theme, node["html"][:160]) for node in one["nodes"]}
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert not found, "\n".join(map(str, sorted(found)))


def test_nothing_is_requested_from_another_host(browser, music_url):
    visit(browser, music_url)
    for tab in TABS:
        choose(browser, tab)
        time.sleep(0.2)
    press(browser, "#generate-run")
    wait(browser, lambda _: clips(browser, "generate"))
    loaded = browser.execute_script("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    linked = browser.execute_script(
        "return [...document.querySelectorAll('link[href], script[src], img[src]')].map((one) => one.href || one.src)"
    )
    others = [one for one in (*loaded, *linked) if not one.startswith((music_url, "data:", "blob:"))]
    assert len(loaded) > 10 and not others


def test_a_region_is_dragged_on_the_waveform_and_edited(browser, editor_url, recording):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    visit(browser, editor_url, "Edit")
    upload(browser, "#edit-recording", recording)
    wait(browser, lambda _: browser.find_elements("css selector", "#edit-waveform .wave"))

    def drag(origin, start, stop):  # pixels from the middle of an element
        actions = ActionChains(browser).move_to_element_with_offset(origin, start, 0).click_and_hold()
        actions.move_by_offset((stop - start) // 2, 0).move_by_offset(stop - start - (stop - start) // 2, 0)
        actions.release().perform()

    def regions():
        boxes = "#edit-regions textarea, #edit-regions input"
        text = browser.find_element("css selector", boxes).get_attribute("value")
        return [tuple(float(end) for end in one.split(":")) for one in text.split(",") if one.strip()]

    svg = browser.find_element("css selector", "#edit-waveform svg")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", svg)
    width = svg.size["width"]  # of the one second that the recording has
    drag(svg, round(-0.4 * width), round(-0.2 * width))
    wait(browser, lambda _: regions() == [pytest.approx((0.1, 0.3), abs=0.02)])
    drag(svg, round(0.3 * width), round(0.1 * width))  # from right to left, another one
    wait(browser, lambda _: len(regions()) == 2 and regions()[1] == pytest.approx((0.6, 0.8), abs=0.02))
    drag(svg, round(-0.3 * width), round(-0.25 * width))  # the first one as a whole
    wait(browser, lambda _: regions()[0] == pytest.approx((0.15, 0.35), abs=0.02))
    handles = browser.find_elements("css selector", "#edit-waveform [role=slider]")
    assert [handle.get_attribute("aria-label") for handle in handles][2:] == [
        "Region 2 starts at",
        "Region 2 ends at",
    ]
    browser.execute_script("arguments[0].focus()", handles[3])
    browser.switch_to.active_element.send_keys(Keys.END)
    wait(browser, lambda _: regions()[1][1] == 1)
    browser.switch_to.active_element.send_keys(Keys.DELETE)
    wait(browser, lambda _: len(regions()) == 1)
    ((start, stop),) = regions()
    field = browser.find_element("css selector", "#edit-regions textarea, #edit-regions input")
    field.send_keys(", 0.9:0.91")  # shorter than what is dragged
    wait(browser, lambda _: len(browser.find_elements("css selector", "#edit-waveform .region")) == 2)
    drag(svg, 0, round(0.1 * width))
    wait(browser, lambda _: len(regions()) == 3 and regions()[2] == (0.9, 0.91))
    field.clear()
    field.send_keys(f"{start:g}:{stop:g}")
    wait(browser, lambda _: len(browser.find_elements("css selector", "#edit-waveform .region")) == 1)
    press(browser, "#edit-watermark input")
    press(browser, "#edit-run")
    made(browser, "edit")
    _, _, edited, rate = played(browser, "edit")
    original = soundfile.read(recording)[0]
    assert rate == 22050 and len(edited) == len(original)
    differs = np.abs(np.atleast_2d(edited.T)[0] - original) > 1e-3
    changed = slice(round(start * rate), round(stop * rate))
    assert differs[changed].mean() > 0.5
    differs[changed] = False
    assert not differs.any()
