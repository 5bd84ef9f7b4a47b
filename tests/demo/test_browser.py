"""The page as a visitor meets it, in headless Chromium."""

import io
import shutil
import time
from urllib.request import urlopen

import numpy as np
import pytest
import soundfile

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not (shutil.which("chromium") and shutil.which("chromedriver")), reason="needs chromium and chromedriver"
    ),
]
SECONDS = 30


@pytest.fixture
def page(browser, url):
    browser.get(url)
    wait(browser, lambda _: browser.find_elements("css selector", "#resynthesize"))
    return browser


def wait(browser, condition):
    from selenium.common.exceptions import StaleElementReferenceException
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(browser, SECONDS, 0.2, [StaleElementReferenceException]).until(condition)


def upload(page, selector, *files):
    """Give files to the input inside `selector` once the page shows it."""
    field = wait(page, lambda _: page.find_elements("css selector", f"{selector} input[type=file]"))[0]
    field.send_keys("\n".join(map(str, files)))


def click(page, text):
    wait(page, lambda _: [b for b in page.find_elements("css selector", "button") if text == b.text])[0].click()


def offered(page, selector):
    """The file that the player inside `selector` offers for download, once it has drawn its waveform: samples, rate."""
    wait(page, lambda _: page.find_element("css selector", f"{selector} #duration").text == "0:01")
    link = page.find_element("css selector", f"{selector} a[download]").get_attribute("href")
    with urlopen(link) as answer:
        return soundfile.read(io.BytesIO(answer.read()))


def test_a_recording_is_uploaded_seen_and_heard(page, recording, model_folder):
    wait(page, lambda _: str(model_folder) in page.find_element("css selector", "body").text)
    upload(page, "#recording", recording)
    wait(page, lambda _: page.find_elements("css selector", "#mel img"))
    click(page, "Resynthesize")
    wait(page, lambda _: page.find_elements("css selector", "#result #duration"))
    made, rate = offered(page, "#result")
    original, _ = offered(page, "#original")
    assert (rate, len(made), len(original)) == (16000, 16000, 16000)
    assert 0.5 < np.std(made) / np.std(original) < 2
    assert "recommended" in page.find_element("css selector", "#settings").text
    severe = [line["message"] for line in page.get_log("browser") if line["level"] == "SEVERE"]
    assert not [message for message in severe if "manifest.json" not in message and "favicon" not in message]


def test_the_other_tab_has_its_own_button(page):
    click(page, "Saved mel")
    click(page, "Resynthesize the mel")
    wait(page, lambda _: "upload one mel and its spec" in page.find_element("css selector", "body").text)


def test_what_is_wrong_is_said_on_the_page(page, tmp_path):
    text = tmp_path / "notes.wav"
    text.write_text("no sound")
    upload(page, "#recording", text)
    wait(page, lambda _: "notes.wav: is " in page.find_element("css selector", "body").text)


def test_a_cleared_number_is_said_on_the_page(page, recording):
    from selenium.webdriver.common.keys import Keys

    upload(page, "#recording", recording)
    wait(page, lambda _: page.find_elements("css selector", "#mel img"))
    seed = wait(page, lambda _: page.find_elements("css selector", "input[aria-label=Seed]"))[0]
    seed.send_keys(Keys.CONTROL + "a", Keys.DELETE)
    click(page, "Resynthesize")
    wait(page, lambda _: "Seed: is empty" in page.find_element("css selector", "body").text)


def test_cancel_stops_the_sampler(browser, music_url, slow_network):
    browser.get(music_url)
    wait(browser, lambda _: browser.find_elements("css selector", "#generate"))
    click(browser, "Generate")
    wait(browser, lambda _: len(slow_network) > 1)
    click(browser, "Cancel")
    time.sleep(1)
    stopped = len(slow_network)
    assert stopped < 8
    time.sleep(0.5)
    assert len(slow_network) == stopped
    click(browser, "Generate")
    wait(browser, lambda _: browser.find_elements("css selector", "#result #duration"))


def test_leaving_stops_the_sampler(browser, music_url, slow_network):
    browser.get(music_url)
    wait(browser, lambda _: browser.find_elements("css selector", "#generate"))
    click(browser, "Generate")
    wait(browser, lambda _: len(slow_network) > 1)
    browser.get("about:blank")
    time.sleep(1)
    stopped = len(slow_network)
    time.sleep(0.5)
    assert len(slow_network) == stopped < 8


def test_music_is_chosen_made_and_heard(browser, music_url, tmp_path):
    browser.get(music_url)
    wait(browser, lambda _: browser.find_elements("css selector", "#generate"))
    wait(browser, lambda _: [b for b in browser.find_elements("css selector", "label") if b.text == "kick"])[0].click()
    click(browser, "Generate")
    wait(browser, lambda _: browser.find_elements("css selector", "#result #duration"))
    made, rate = offered(browser, "#result")
    assert (rate, len(made)) == (22050, 22050) and 0.85 < np.abs(made).max() < 0.95
    assert "kick" in browser.find_element("css selector", "#settings").text
    assert browser.find_elements("css selector", "#spectrum img")
    browser.save_screenshot(str(tmp_path / "music.png"))


def test_the_scale_of_an_adapter_is_set(browser, adapted_url, tmp_path):
    from audiodiff.pipelines.audio_generator import AudioGenerator

    url, root = adapted_url
    browser.get(url)
    wait(browser, lambda _: browser.find_elements("css selector", "#generate"))
    number = browser.find_element("css selector", "input[type=number][aria-label*='my-drum']")
    assert number.get_attribute("value") == "0.5"
    browser.execute_script("arguments[0].scrollIntoView()", number)
    number.clear()
    number.send_keys("1.25\t")
    click(browser, "Generate")
    link = wait(browser, lambda _: browser.find_elements("css selector", "#result a[download]"))[0]
    with urlopen(link.get_attribute("href")) as answer:
        made, _ = soundfile.read(io.BytesIO(answer.read()))
    expected = AudioGenerator.from_pretrained(root / "model").generate(adapters=[f"{root / 'my-drum'}:1.25"])
    assert np.abs(made - expected.samples.numpy().ravel()).max() < 2 / 32767
    assert "1.25" in browser.find_element("css selector", "#settings").text
    browser.save_screenshot(str(tmp_path / "adapters.png"))


def test_a_text_is_written_spoken_and_seen(browser, voice_url, tmp_path):
    browser.get(voice_url)
    field = wait(browser, lambda _: browser.find_elements("css selector", "#text textarea"))[0]
    field.clear()
    field.send_keys("Hello there, [pause 0.5] hello.")
    click(browser, "Speak")
    wait(browser, lambda _: browser.find_elements("css selector", "#result #duration"))
    wait(browser, lambda _: browser.find_elements("css selector", "#times img"))
    assert browser.find_elements("css selector", "#mel img")
    browser.save_screenshot(str(tmp_path / "speech.png"))


def test_a_region_is_dragged_on_the_waveform_and_edited(browser, editor_url, recording, tmp_path):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    browser.get(editor_url)
    wait(browser, lambda _: [tab for tab in browser.find_elements("css selector", "button[role=tab]") if tab.text])
    click(browser, "Edit a recording")
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
    browser.save_screenshot(str(tmp_path / "editor.png"))
    browser.find_element("css selector", "#edit").click()
    wait(browser, lambda _: browser.find_elements("css selector", "#edit-result #duration"))
    edited, rate = offered(browser, "#edit-result")
    original = soundfile.read(recording)[0]
    assert rate == 22050 and len(edited) == len(original)
    differs = np.abs(np.atleast_2d(edited.T)[0] - original) > 1e-3
    changed = slice(round(start * rate), round(stop * rate))
    assert differs[changed].mean() > 0.5
    differs[changed] = False
    assert not differs.any()
