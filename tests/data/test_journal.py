"""The journal: what was written is read, however it was cut off."""

from hypothesis import given, settings
from hypothesis import strategies as st

from audiodiff.data.journal import NAME, Journal

ENTRIES = st.dictionaries(
    st.text(min_size=1).filter(lambda text: text.isprintable()), st.lists(st.floats(0, 9), max_size=4), max_size=5
)


@settings(max_examples=40, deadline=None)
@given(ENTRIES, st.integers(0, 300), st.binary(max_size=8))
def test_a_journal_that_was_cut_off_keeps_its_whole_lines(tmp_path_factory, entries, cut, garbage):
    folder = tmp_path_factory.mktemp("j")
    journal = Journal(folder)
    for key, durations in entries.items():
        journal.add(key, tuple(durations), 3600.0, tuple(durations[:1]))
    path = folder / NAME
    content = path.read_bytes() if path.exists() else b""
    path.write_bytes(content[: max(0, len(content) - cut)] + garbage)
    again = Journal(folder)
    whole = content[: max(0, len(content) - cut)].count(b"\n")
    for key in list(entries)[:whole]:
        assert again.durations(key) == tuple(entries[key])
        assert again.pitch(key) == tuple(entries[key][:1])
    again.add("new", (0.5,), 0.0)
    assert Journal(folder).durations("new") == (0.5,)
    assert Journal(folder).core_hours >= whole - 1e-6
