"""Loaded models are shared, and dropped by memory; the page is built without holding any."""

import threading

import pytest
from gradio_client import Client

from audiodiff.demo.catalog import Catalog
from audiodiff.demo.model_store import ModelStore, size
from audiodiff.demo.models_tab import COLUMNS, ModelsTab, card_text
from audiodiff.demo.tasks import KINDS
from audiodiff.errors import UserError


@pytest.fixture(scope="module")
def catalog(runs):
    return Catalog.find(KINDS, runs=runs)


def test_a_page_holds_no_weights(catalog):
    assert all(weight.is_meta for offer in catalog.offers for weight in offer.model.parameters())
    assert all(offer.parameters > 1000 for offer in catalog.offers)


def test_a_model_is_loaded_once_for_all_requests(catalog):
    store, found = ModelStore(catalog), []
    threads = [threading.Thread(target=lambda: found.append(store.load(catalog["drums"]))) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(found) == 8 and len(set(map(id, found))) == 1 and store.names == ["drums"]


def test_the_one_used_least_recently_is_dropped_first(catalog):
    names = ["drums", "speech-24k", "speech-16k-fine"]
    sizes = [size(ModelStore(catalog).load(catalog[name])) for name in names]
    store = ModelStore(catalog, budget=sum(sizes) - 1)
    for name in ("drums", "speech-24k", "drums"):
        store.load(catalog[name])
    assert store.names == ["speech-24k", "drums"]
    store.load(catalog["speech-16k-fine"])
    assert store.names == ["drums", "speech-16k-fine"]
    tight = ModelStore(catalog, budget=1)
    for name in names:
        tight.load(catalog[name])
        assert tight.names == [name]  # a model that is too large is there alone


def test_the_vocoder_of_a_voice_counts(catalog):
    voice = ModelStore(catalog).load(catalog["voice-en"])
    weights = sum(one.numel() * 4 for one in voice.model.parameters())
    vocoder = sum(one.numel() * 4 for one in voice.vocoder.model.parameters())
    assert size(voice) >= weights + vocoder


def test_the_table_says_what_is_there_and_what_is_loaded(catalog):
    store = ModelStore(catalog)
    tab = ModelsTab(catalog, store)
    store.load(catalog["drums"])
    rows = {row[0]: row for row in tab.rows()}
    assert rows["drums"][1:] == ["audio", "4.0 M", "22.05 kHz", rows["drums"][4], "yes"]
    assert "CC0" in rows["drums"][4] and rows["voice-en"][5] == "no"
    assert rows[catalog.offers[0].name][4] == "not stated"


def test_a_card_has_no_front_matter_and_no_pictures(catalog):
    text = card_text(catalog["speech-24k"])
    assert text.startswith("# ") and "![" not in text and "<!--" not in text
    assert "**Terms of the training data**: " in card_text(catalog["drums"])
    assert card_text(catalog.offers[0]).startswith("# ")


@pytest.mark.parametrize("name", ["drum", "", None, 3, ["drums"], "../drums"])
def test_only_models_of_the_page_are_found(catalog, name):
    with pytest.raises(UserError, match="is not on this page") as error:
        catalog[name]
    assert "\n" not in str(error.value)


def test_the_models_are_a_table_for_visitors_and_rows_for_programs(music_url):
    page = Client(music_url, verbose=False)
    found = page.predict(api_name="/models")
    assert found["headers"] == COLUMNS and "drums" in [row[0] for row in found["data"]]
    catalog = Catalog.find(KINDS, "drums", runs="none")
    lines = ModelsTab(catalog, ModelStore(catalog)).table().splitlines()
    assert len(lines) == 2 + len(catalog.offers) and {line.count("|") for line in lines} == {1 + len(COLUMNS)}
    assert page.predict("drums", api_name="/card").startswith("# drums")
