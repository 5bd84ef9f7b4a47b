"""What licenses ask for, read from the statements of all corpora that we know and from cards of shipped models."""

from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiodiff.data.licenses import Terms, card_licenses, license_names, license_terms, spdx

NOTICE, SHARE_ALIKE = Terms(attribution=True), Terms(attribution=True, share_alike=True)
GPL, UNKNOWN = Terms(attribution=True, copyleft=True), Terms(unknown=True)

KNOWN = {
    # Debian's corpora and those with a layout of their own
    "BSD-like (2005 Nickolay V. Shmyrev)": NOTICE,
    "CC-BY-3.0 (2010, Maxim)": NOTICE,
    "CC-BY-4.0": NOTICE,
    "CC-BY-SA-3.0 (2003-2010, Allison Smith)": SHARE_ALIKE,
    "CC-BY-SA-3.0-us (Luc Tunguay)": SHARE_ALIKE,
    "CC0 (2005 Zajo)": Terms(),
    "CC0 (soundcloud.com/audiophobdubstep)": Terms(),
    "CC0-1.0": Terms(),
    "GPL-2": GPL,
    "GPL-2 (Emiliano Grilli (Emillo) <emillo@emillo.net>)": GPL,
    "GPL-2+ with composition exception (2006, Marcos Guglielmetti <marcospcmusica@gmail.com>)": GPL,
    "MIT (2016 Samuel Aaron <samaaron@gmail.com>)": NOTICE,
    "Apache-2.0 (the model's; synthetic speech)": NOTICE,
    "public domain": Terms(),
    "not stated": UNKNOWN,
    "see the copyright file": UNKNOWN,
    "": UNKNOWN,
    # of scores, as recorded by version 0.1
    "chorales of J. S. Bach (died 1750); encodings as music21's corpus/license.txt says; soundfont GPL-2": GPL
    | UNKNOWN,
    # other spellings, and licenses of corpora that people bring
    "Creative Commons Attribution-ShareAlike 4.0": SHARE_ALIKE,
    "Creative Commons Zero": Terms(),
    "cc by-nc 4.0": Terms(attribution=True, noncommercial=True),
    "CC-BY-NC-SA-4.0": Terms(attribution=True, share_alike=True, noncommercial=True),
    "CC BY-NC-ND 4.0": Terms(attribution=True, noncommercial=True, no_derivatives=True),
    "GNU General Public License, version 3": GPL,
    "LGPL-2.1-or-later": GPL,
    "GPL-2 or CC-BY-SA-3.0": GPL | SHARE_ALIKE,
    "ODbL-1.0": SHARE_ALIKE,
    "All rights reserved": UNKNOWN,
    "MITRE's own terms": UNKNOWN,
}


@pytest.mark.parametrize("statement", KNOWN)
def test_license_terms_of_one_statement(statement):
    assert license_terms(statement) == KNOWN[statement]


@given(st.lists(st.sampled_from(list(KNOWN)), min_size=1))
def test_license_terms_of_several_are_those_of_each(statements):
    together = license_terms(*statements)
    for name in ("attribution", "share_alike", "copyleft", "noncommercial", "no_derivatives", "unknown"):
        assert getattr(together, name) == any(getattr(KNOWN[statement], name) for statement in statements)
    assert license_terms("; ".join(statements)) == together
    assert together.restricted == (together | NOTICE != NOTICE)


def test_license_terms_without_a_statement_are_unknown():
    assert license_terms() == UNKNOWN


@given(st.text())
def test_any_text_is_read(text):
    assert license_terms(text).names or license_names(text)
    card_licenses(text)


def test_terms_in_words():
    assert str(Terms()) == "none"
    assert str(GPL | SHARE_ALIKE | UNKNOWN) == "attribution, share-alike, copyleft (GPL), unknown"


def test_license_names_leave_holders_out():
    assert license_names("GPL-2 (A (B; C))", "CC0 (2005); GPL-2", "") == ("CC0", "GPL-2")


@pytest.mark.parametrize(
    ("name", "terms"),
    [("drums", GPL | SHARE_ALIKE), ("music", GPL | SHARE_ALIKE), ("speech-16k", GPL | SHARE_ALIKE)],
)
def test_cards_of_shipped_models_tell_their_terms(name, terms):
    card = (resources.files("audiodiff") / "pretrained" / name / "README.md").read_text(encoding="utf-8")
    assert license_terms(*card_licenses(card)) == terms


@pytest.mark.parametrize("word", ["licences", "licenses"])
def test_card_of_an_exported_model(word):
    assert card_licenses(f"# A model\n\nData {word}: CC0 (a); GPL-2\n") == ("CC0 (a); GPL-2",)


def test_card_without_licenses():
    assert card_licenses("# A model\n\n| a | b |\n| --- | --- |\n| c | d |\n") == ()


@pytest.mark.parametrize(
    "name", ["Apache 2.0", "Apache License 2.0", "Apache License, Version 2.0", "apache-2", "Apache v2"]
)
def test_spellings_of_one_license_are_one(name):
    assert spdx(f"{name} (the model's)") == "Apache-2.0 (the model's)"
    assert license_names(f"{name} (the model's)", "Apache-2.0 (hexgrad); MIT License", "MIT") == ("Apache-2.0", "MIT")


@pytest.mark.parametrize("name", [*KNOWN, "Apache-2.0-like", "Apache-1.1", "Apache 2.0.1"])
def test_other_names_stay_as_they_are_written(name):
    assert spdx(name) == name
