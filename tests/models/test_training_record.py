"""What a checkpoint records of its training, in files of any version."""

import pytest

from audiodiff.models.training_record import CODEC, STARTED_FROM, data_licenses, training_stages, with_adapters

CARD = "## Data\n\n| corpus | licence |\n| --- | --- |\n| a | GPL-2 |\n"


def test_stages_are_in_the_order_of_training():
    codec = {"steps": 2, STARTED_FROM: {"steps": 1}}
    training = {"steps": 4, CODEC: codec, STARTED_FROM: {"steps": 3, CODEC: codec}}
    assert [(part, record["steps"]) for part, record in training_stages(training)] == [
        *((CODEC, 1), (CODEC, 2)),
        *(("", 3), ("", 4)),
    ]
    assert training_stages({}) == []


@pytest.mark.parametrize("key", ["licenses", "licences"])
def test_licenses_are_those_of_all_stages(key):
    training = {key: ["MIT", "CC0"], CODEC: {key: ["GPL-2"]}, STARTED_FROM: {key: ["CC0"]}}
    assert data_licenses(training, CARD) == ("CC0", "GPL-2", "MIT")


def test_a_merged_model_has_the_licenses_of_all_stages_of_its_adapters():
    adapter = {"licences": ["MIT"], STARTED_FROM: {"licenses": ["CC0"]}}
    assert with_adapters({"licenses": ["GPL-2"]}, [adapter])["licenses"] == ["CC0", "GPL-2", "MIT"]


def test_a_license_that_two_corpora_spell_differently_is_listed_once():
    training = {"licenses": ["Apache 2.0 (the model's)"], STARTED_FROM: {"licenses": ["Apache-2.0 (the model's)"]}}
    assert data_licenses(training) == ("Apache-2.0 (the model's)",)


def test_the_card_is_read_where_the_record_has_none():
    assert data_licenses({"steps": 3}, CARD) == ("GPL-2",)
    assert data_licenses({}) == ()
