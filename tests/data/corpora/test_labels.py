"""Phone labels: silences at the ends are the ends, everything adds up to the recording."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiodiff.data.corpora.labels import read_labels, russian_phonemes
from audiodiff.errors import UserError
from audiodiff.text.russian import LABELS, RUSSIAN


@given(
    st.lists(st.tuples(st.floats(0, 0.5), st.sampled_from(["pau", "pau", *LABELS])), max_size=30),
    st.floats(-0.3, 0.3),
)
def test_durations_add_up_to_the_recording(parts, rest):
    labels, end = [], 0.0
    for duration, label in parts:
        end += duration
        labels.append((end, label))
    seconds = max(end + rest, 0.1)
    phonemes, durations = russian_phonemes(labels, seconds)
    assert len(durations) == len(phonemes) + 2 and min(durations) >= 0
    assert sum(durations) == pytest.approx(seconds, abs=1e-4)
    assert not phonemes.startswith(" ") and not phonemes.endswith(" ") and "  " not in phonemes
    assert len(phonemes.replace(" ", "")) == sum(label != "pau" for _, label in parts)
    assert not RUSSIAN.unknown(phonemes)


def test_a_label_file(tmp_path):
    path = tmp_path / "a.lab"
    path.write_text("separator ;\n#\n0.3 125 pau\n0.4 125 k\n0.5 125 pau\n0.6 125 pau\n0.7 125 aa\n0.9 125 pau\n")
    phonemes, durations = russian_phonemes(read_labels(path), 1.0)
    assert phonemes == "k á" and durations == pytest.approx((0.3, 0.1, 0.2, 0.1, 0.3))


@pytest.mark.parametrize("line", ["0.5 125", "x 125 k", "0.1 125 k", "nan 125 k"])
def test_a_malformed_line_is_named(tmp_path, line):
    path = tmp_path / "a.lab"
    path.write_text(f"#\n0.3 125 pau\n{line}\n")
    with pytest.raises(UserError, match=r"a\.lab, line 3"):
        read_labels(path)
