"""What is trained on: minutes of clips, and none that are alike."""

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


def test_the_first_of_clips_that_are_alike_is_kept(prepared):
    assert names(without_duplicates(split(prepared))) == "abcf"


def test_held_out_clips_are_kept_and_training_clips_like_them_left_out(prepared):
    assert names(without_duplicates(split(prepared, d="validation", e="test"))) == "cdef"
    assert names(without_duplicates(split(prepared, a="test", d="validation"))) == "abcdf"


def test_training_takes_the_audit_at_its_word(prepared):
    split(prepared)
    common = {"corpora": "", "from_start": True, "channels": 1}
    assert names(AudioData(str(prepared), RATE, RATE, 2, **common).manifest()) == "abcdef"
    assert names(AudioData(str(prepared), RATE, RATE, 2, unique=True, **common).manifest()) == "abcf"


def test_a_missing_or_old_audit_is_one_line_that_says_how_to_make_it(prepared):
    content = json.loads((prepared / NAME).read_text())
    del content["pairs"]
    (prepared / NAME).write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"audit\.json: is missing, or not of this manifest.*audiodiff prepare"):
        without_duplicates(Manifest.load(prepared))
    root = prepared.parent / "mine"
    prepare([f"folder:{root}"], prepared, captions=True)
    assert len(without_duplicates(Manifest.load(prepared))) < 6
