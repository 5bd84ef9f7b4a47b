"""The front matter of model cards, and of those that are shipped."""

from pathlib import Path

import pytest

from audiodiff.export.model_card import CARDS, metadata
from audiodiff.models import checkpoint
from audiodiff.models.registry import MODEL_TYPES
from audiodiff.models.training_record import data_licenses

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("licenses", "lines"),
    [
        (["CC0", "MIT (someone)"], []),
        (["GPL-2 (someone)"], ["license: other", 'license_name: "GPL-2"', "tags: [gpl]"]),
        (["CC-BY-SA-3.0", "MIT"], ["license: other", 'license_name: "CC-BY-SA-3.0; MIT"', "tags: [share-alike]"]),
        ([], ["license: other", "tags: [unknown-license]"]),
    ],
)
def test_the_metadata_names_terms_beyond_attribution(licenses, lines):
    head = ["---", "library_name: audiodiff", "pipeline_tag: audio-to-audio"]
    assert metadata("audio-to-audio", licenses).split("\n") == [*head, *lines, "---"]


def test_every_model_type_has_a_card_or_says_that_it_has_none():
    assert CARDS.keys() == MODEL_TYPES.keys()


@pytest.mark.parametrize("name", checkpoint.shipped())
def test_a_shipped_models_card_names_its_licenses(name):
    folder = checkpoint.locate(name)
    found, card = checkpoint.load(folder), (folder / "README.md").read_text(encoding="utf-8")
    licenses = data_licenses(found.training, card)
    assert card.startswith(metadata(CARDS[found.type][0], licenses) + "\n") and "tags: [share-alike, gpl]" in card
