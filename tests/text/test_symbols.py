"""Symbol tables: one id per character, unknown ones named with their place."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiodiff.errors import UserError
from audiodiff.text.russian import LABELS, RUSSIAN, from_labels
from audiodiff.text.symbols import ENGLISH, SymbolTable, symbol_table


@pytest.mark.parametrize("table", [ENGLISH, RUSSIAN])
def test_symbols_and_ids_are_one_to_one(table):
    ids = table.encode(table.symbols)
    assert ids == list(range(2, len(table)))
    assert table.decode([table.BOUNDARY, *ids, table.BOUNDARY, table.PADDING]) == table.symbols
    assert symbol_table(table.name) is table


@given(st.text(ENGLISH.symbols))
def test_decode_inverts_encode(phonemes):
    assert ENGLISH.decode(ENGLISH.encode(phonemes)) == phonemes


def test_an_unknown_symbol_is_named_with_its_place():
    with pytest.raises(UserError, match=r"symbol 3, 'ß' \(U\+00DF\).*english"):
        ENGLISH.encode("hˈß")
    assert ENGLISH.unknown("aßaŁß") == ["ß", "Ł"]


@pytest.mark.parametrize("symbols", ["", "aba"])
def test_bad_tables_are_refused(symbols):
    with pytest.raises(UserError, match="distinct"):
        SymbolTable("bad", 1, symbols)


def test_ids_outside_of_the_table_are_refused():
    with pytest.raises(UserError, match="must be from 0"):
        ENGLISH.decode([len(ENGLISH)])


def test_unknown_tables_are_refused():
    with pytest.raises(UserError, match="did you mean english"):
        symbol_table("englisch")


def test_every_label_of_festvox_ru_is_one_symbol():
    assert len(set(LABELS.values())) == len(LABELS) == 50
    assert from_labels(["pau", "p", "a", "dd", "uu"]) == " paDú"
    with pytest.raises(UserError, match="'qq'"):
        from_labels(["qq"])
