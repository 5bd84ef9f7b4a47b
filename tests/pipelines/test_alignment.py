"""A manifest's second pass: durations, pitch and scores, resumable, stated durations kept."""

import json
from dataclasses import replace

import pytest
import torch
from spoken import RATE, speak, words
from typer.testing import CliRunner

from audiodiff.audio.io import Audio, write
from audiodiff.cli import build
from audiodiff.data.audit import audit, poorly_aligned
from audiodiff.data.manifest import Clip, Manifest
from audiodiff.errors import UserError
from audiodiff.pipelines import alignment


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder with a manifest of eight spoken clips."""
    folder = tmp_path_factory.mktemp("data")
    clips = []
    for seed in range(8):
        audio, _ = speak(words(seed), seed)
        write(folder / f"{seed}.flac", Audio(audio, RATE))
        clips.append(Clip(f"spoken/{seed}", f"{seed}.flac", len(audio) / RATE, RATE, phonemes=words(seed)))
    Manifest(tuple(clips), folder).save()
    return folder


def run(*words) -> str:
    result = CliRunner().invoke(build(), ["align", *map(str, words)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


@pytest.fixture
def copy(data, tmp_path):
    manifest = Manifest.load(data)
    clips = [replace(clip, path=str(data / clip.path)) for clip in manifest.clips]
    Manifest(tuple(clips), tmp_path).save()
    return tmp_path


def test_the_verb_trains_aligns_and_resumes(copy):
    assert "8 clips aligned, 0 with stated durations, 0 without" in run(copy)
    aligned = Manifest.load(copy)
    for clip in aligned.clips:
        assert len(clip.durations) == len(clip.pitch) == len(clip.phonemes) + 2
        assert sum(clip.durations) == pytest.approx(clip.seconds, abs=1e-3) and clip.alignment_score < 0
    weights, text = (copy / "aligner" / "model.safetensors").read_bytes(), (copy / "manifest.jsonl").read_text()
    lost = tuple(replace(one, durations=(), pitch=(), alignment_score=0.0) for one in aligned.clips[:3])
    replace(aligned, clips=lost + aligned.clips[3:]).save()
    run(copy)  # the clips that are missing, by the same aligner
    assert (copy / "manifest.jsonl").read_text() == text
    assert (copy / "aligner" / "model.safetensors").read_bytes() == weights
    other = copy / "other"
    Manifest(tuple(replace(one, durations=(), pitch=(), alignment_score=0.0) for one in aligned.clips), copy).save()
    (copy / "aligner").rename(other)
    run(copy, "--model", other)
    assert (copy / "manifest.jsonl").read_text() == text and not (copy / "aligner").exists()


def test_stated_durations_are_kept(copy):
    manifest = Manifest.load(copy)
    first = manifest.clips[0]
    count = len(first.phonemes) + 2
    stated = replace(first, durations=(first.seconds / count,) * count)
    replace(manifest, clips=(stated, *manifest.clips[1:])).save()
    assert "7 clips aligned, 1 with stated durations" in run(copy)
    assert Manifest.load(copy).clips[0] == stated
    run(copy, "--train")
    assert Manifest.load(copy).clips[0] == stated


def test_clips_that_cannot_be_aligned_are_listed_and_the_others_done(copy):
    run(copy)
    manifest = Manifest.load(copy)
    blank = {"durations": (), "pitch": (), "alignment_score": 0.0}
    changed = [replace(one, **blank) for one in manifest.clips[:5]]
    changed[0] = replace(changed[0], phonemes="aXs")
    changed[1] = replace(changed[1], path="absent.flac")
    changed[2] = replace(changed[2], phonemes="asmi" * 200)
    changed[3] = replace(changed[3], seconds=100.0)
    replace(manifest, clips=(*changed, *manifest.clips[5:])).save()
    output = run(copy)
    assert "symbol 'X'" in output and "absent.flac" in output and "cut it into sentences" in output
    clips = Manifest.load(copy).clips
    assert [bool(clip.durations) for clip in clips[:5]] == [False, False, False, False, True]
    assert clips[2].alignment_score == -100 and ("spoken/2", "alignment score") in [
        (name, problem[:15]) for name, problem in poorly_aligned(clips)
    ]
    assert audit(replace(Manifest.load(copy), clips=clips[4:])).findings["text"] == []


def test_a_wrong_text_is_found():
    clips = [Clip(f"a/{k}", "x", 1.0, 8000, alignment_score=-1 - k / 100) for k in range(20)]
    wrong = Clip("a/x", "x", 1.0, 8000, alignment_score=-2.5)
    other = Clip("b/x", "x", 1.0, 8000, alignment_score=-2.5)
    assert [name for name, _ in poorly_aligned([*clips, wrong, other])] == ["a/x"]


def test_texts_get_phonemes(copy):
    clips = (Clip("a/0", "x", 1.0, 8000, text="one"), Clip("a/1", "x", 1.0, 8000, text="!", language="ru"))
    reported = []

    def phonemize(text: str, language: str) -> str:
        if text == "!":
            raise UserError(text, "has nothing to pronounce")
        return f"{language}:{text}"

    found = alignment.add_phonemes(
        Manifest(clips, copy), phonemize, "en-us", lambda clip, error: reported.append(clip.id)
    )
    assert [(clip.phonemes, clip.language) for clip in found.clips] == [("en-us:one", "en-us"), ("", "ru")]
    assert reported == ["a/1"]


def test_data_without_texts_is_one_line(copy):
    manifest = Manifest.load(copy)
    replace(manifest, clips=tuple(replace(clip, phonemes="") for clip in manifest.clips)).save()
    with pytest.raises(UserError, match="no clip with a text"):
        run(copy)


@pytest.mark.parametrize("score", [0.5, "low", float("nan"), -1e12])
def test_a_score_that_cannot_be(copy, score):
    lines = (copy / "manifest.jsonl").read_text().split("\n")
    lines[1] = json.dumps(json.loads(lines[1]) | {"alignment_score": score})
    (copy / "manifest.jsonl").write_text("\n".join(lines))
    with pytest.raises(UserError, match="alignment_score"):
        Manifest.load(copy)


def test_silence_has_a_score(copy):
    run(copy)
    clip = replace(Manifest.load(copy).clips[0], durations=(), pitch=(), alignment_score=0.0)
    write(copy / "silence.flac", Audio(torch.zeros(clip.samples), RATE))
    manifest = Manifest((replace(clip, path="silence.flac"),), copy)
    from audiodiff.models.aligner import Aligner

    (found,) = alignment.align_clips(manifest, manifest.clips, Aligner.from_pretrained(copy / "aligner"), print)
    assert found.alignment_score < 0 and not any(found.pitch)
