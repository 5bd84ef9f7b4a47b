"""A transcript on disk is written as the one in memory is, whatever its words are."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiodiff.pipelines.speech import Transcript
from audiodiff.pipelines.timed_text import TimedPhoneme, TimedWord
from audiodiff.pipelines.transcript_formats import json_pieces, record, srt_pieces, textgrid_pieces
from audiodiff.pipelines.transcript_spool import TranscriptSpool

TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=9), max_size=4)


def part(texts, seconds=1.7):
    edges = [seconds * place / max(len(texts), 1) for place in range(len(texts) + 1)]
    words = tuple(
        TimedWord(text, start, (start + end) / 2, text[:1])
        for text, start, end in zip(texts, edges, edges[1:], strict=False)
    )
    phonemes = (TimedPhoneme("", 0.0, 0.5), TimedPhoneme("ə", 0.5, seconds))
    sentences = (TimedWord(" ".join(texts), 0.0, seconds),)
    return Transcript(text="", seconds=seconds, words=words, phonemes=phonemes, sentences=sentences)


@settings(max_examples=30, deadline=None)
@given(st.lists(TEXTS, max_size=4), st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
def test_files_are_those_of_the_transcript_in_memory(texts, text):
    parts = [part(one) for one in texts]
    whole = Transcript.concatenate(parts, text)
    with TranscriptSpool(text) as spool:
        for one in parts:
            spool.add(one)
        assert (spool.text, spool.seconds) == (whole.text, whole.seconds)
        for name in ("words", "phonemes", "sentences"):
            assert tuple(getattr(spool, name)) == getattr(whole, name)
        assert "".join(json_pieces(spool)) == whole.to_json()
        assert "".join(srt_pieces(spool)) == whole.to_srt()
        assert "".join(textgrid_pieces(spool)) == whole.to_textgrid()


@given(st.lists(TEXTS, max_size=3))
def test_json_is_that_of_the_standard_library(texts):
    whole = Transcript.concatenate(map(part, texts), "text")
    named = {name: [record(one) for one in getattr(whole, name)] for name in ("sentences", "words", "phonemes")}
    content = {"text": "text", "seconds": round(whole.seconds, 4)} | named
    assert whole.to_json() == json.dumps(content, ensure_ascii=False, indent=1) + "\n"


def test_parts_are_on_disk_and_gone_in_the_end():
    with TranscriptSpool("a b") as spool:
        folder = Path(spool._folder.name)
        for _ in range(300):
            spool.add(part(["a", "b"]))
        assert len(spool.words) == 600 and TimedWord("a", 0.0, 0.425, "a") in spool.words
        assert sum(path.stat().st_size for path in folder.iterdir()) > 20_000
        iterators = [iter(spool.words), iter(spool.words)]  # each at its own place
        assert next(iterators[0]) == next(iterators[1])
        assert next(iterators[0]) == replace(next(iterators[1]))
    assert not folder.exists()


def test_an_error_leaves_no_files():
    with pytest.raises(RuntimeError), TranscriptSpool("") as spool:
        raise RuntimeError
    assert not Path(spool._folder.name).exists()
