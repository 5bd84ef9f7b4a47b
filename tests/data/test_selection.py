"""Selection of training clips: without duplicates and near-duplicates."""

import json
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from audiodiff.data.audit import NAME, Audit
from audiodiff.data.manifest import Manifest
from audiodiff.data.preparation import prepare
from audiodiff.data.selection import without_duplicates
from audiodiff.errors import UserError
from audiodiff.training.datamodule import AudioData

RATE = 16000


@pytest.fixture
def prepared(tmp_path):
    """Six captioned bursts of noise: d is a at half the level, e is b sample by sample."""
    root = tmp_path / "mine"
    root.mkdir()
    bursts = [np.random.default_rng(number).standard_normal(RATE).clip(-4, 4) * 0.1 for number in range(4)]
    for name, burst in zip("abcdef", (*bursts[:3], 0.5 * bursts[0], bursts[1], bursts[3]), strict=True):
        soundfile.write(root / f"snare {name}.wav", burst, RATE)
    prepare([f"folder:{root}"], tmp_path / "data", captions=True)
    return tmp_path / "data"


def split(folder, **splits):
    """The manifest with these splits, the others trained on, and its audit."""
    manifest = Manifest.load(folder)
    clips = (replace(clip, split=splits.get(clip.id[-1], "train")) for clip in manifest.clips)
    found = replace(manifest, clips=tuple(clips))
    found.save()
    audit = Audit.load(folder)
    replace(audit, manifest_hash=found.content_hash()).save(folder)
    return found


def names(manifest):
    return "".join(sorted(clip.id[-1] for clip in manifest.clips))


def one_without_duplicates(manifest):
    (found,) = without_duplicates([manifest])
    return found


def test_of_similar_training_clips_the_first_stays(prepared):
    assert names(one_without_duplicates(split(prepared))) == "abcf"


def test_held_out_clips_stay_and_training_clips_that_are_similar_are_left_out(prepared):
    assert names(one_without_duplicates(split(prepared, d="validation", e="test"))) == "cdef"
    assert names(one_without_duplicates(split(prepared, a="test", d="validation"))) == "abcdf"


def similar(folder, manifest, *pairs):
    """State in the audit that these pairs of clips are near-duplicates, and no others."""
    ids = {clip.id[-1]: clip.id for clip in manifest.clips}
    replace(Audit.load(folder), similar=[(ids[one], ids[other]) for one, other in pairs]).save(folder)
    return manifest


def test_no_training_clip_is_similar_to_any_held_out_clip(prepared):
    # d is most similar to a, less to the held-out clips b and f.
    manifest = similar(prepared, split(prepared, b="test", f="validation"), "da", "db", "fd")
    assert names(one_without_duplicates(manifest)) == "abcf"
    everything = similar(prepared, split(prepared, f="test"), "fa", "fb", "fc", "fd", "fe")
    assert names(one_without_duplicates(everything)) == "f"


def test_a_clip_that_is_similar_only_to_one_that_is_left_out_stays(prepared):
    manifest = similar(prepared, split(prepared), "ca", "dc")
    assert names(one_without_duplicates(manifest)) == "abdf"  # e has the samples of b


def test_copies_of_a_held_out_clip_are_left_out_wherever_it_stands(prepared):
    root = prepared.parent / "mine"
    for name in "xyz":
        soundfile.write(root / f"snare {name}.wav", soundfile.read(root / "snare b.wav")[0], RATE)
    prepare([f"folder:{root}"], prepared, captions=True)
    for held_out in "bey":
        assert names(one_without_duplicates(split(prepared, **{held_out: "test"}))) == "".join(sorted(f"acf{held_out}"))


def test_unique_data_has_no_duplicates(prepared):
    split(prepared)
    common = {"corpora": "", "from_start": True, "channels": 1}
    assert names(AudioData(str(prepared), RATE, RATE, 2, **common).manifest()) == "abcdef"
    assert names(AudioData(str(prepared), RATE, RATE, 2, unique=True, **common).manifest()) == "abcf"


def test_a_missing_or_outdated_audit_is_an_error_that_names_the_command(prepared):
    content = json.loads((prepared / NAME).read_text())
    content["pairs"] = content.pop("similar")
    (prepared / NAME).write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"audit\.json: is missing, outdated or of another manifest.*audiodiff prepare"):
        one_without_duplicates(Manifest.load(prepared))
    root = prepared.parent / "mine"
    prepare([f"folder:{root}"], prepared, captions=True)
    assert len(one_without_duplicates(Manifest.load(prepared))) < 6


def test_folders_are_compared_with_each_other(prepared, tmp_path):
    root = tmp_path / "others"
    root.mkdir()
    for name, of, gain in (("u", "c", 0.3), ("v", "f", 0.5)):
        soundfile.write(
            root / f"snare {name}.wav", gain * soundfile.read(tmp_path / "mine" / f"snare {of}.wav")[0], RATE
        )
    soundfile.write(root / "snare w.wav", np.random.default_rng(9).standard_normal(RATE).clip(-4, 4) * 0.1, RATE)
    prepare([f"folder:{root}"], tmp_path / "more", captions=True)
    first, second = split(prepared), split(tmp_path / "more", u="test")
    assert list(map(names, without_duplicates([first, second]))) == ["abf", "uw"]  # c is like the held-out u
    assert list(map(names, without_duplicates([second, first]))) == ["uvw", "ab"]  # of v and f the first stays
    common = {"corpora": "", "from_start": True, "channels": 1}
    paths = [str(prepared), str(tmp_path / "more")]
    assert names(AudioData(paths, RATE, RATE, 2, unique=True, **common).manifest()) == "abfuw"
