import importlib.util
import shutil

import pytest

from audiodiff.data.audit import Audit
from audiodiff.data.corpora import synthetic
from audiodiff.data.preparation import prepare
from audiodiff.errors import UserError


def times(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_sentences_are_many_and_different():
    lines = synthetic.sentences()
    assert len(lines) >= 60
    assert len(set(lines)) == len(lines)
    assert all(20 < len(line) < 100 and line[0].isupper() and line[-1] in ".?!" for line in lines)
    assert len(set(synthetic.texts(len(lines) ** 2))) == len(lines) ** 2
    assert synthetic.texts(150)[:100] == synthetic.texts(100)
    for wrong in (0, -1, len(lines) ** 2 + 1):
        with pytest.raises(UserError, match="--clips"):
            synthetic.texts(wrong)


@pytest.mark.skipif(importlib.util.find_spec("hibari") is None, reason="hibari-tts is not installed")
def test_hibari_is_marked_synthetic_everywhere_and_reproducible(tmp_path):
    manifest = prepare(["hibari"], tmp_path / "a", clips=3)
    assert [clip.text for clip in manifest.clips] == synthetic.sentences()[:3]
    for clip in manifest.clips:
        assert clip.synthetic
        assert "synthetic" in clip.speaker
        assert "synthetic" in clip.license
        assert "synthetic" in clip.source
        assert 1 < clip.seconds < 15
    assert "SYNTHETIC" in str(Audit.load(tmp_path / "a"))
    shutil.rmtree(tmp_path / "a/hibari")
    assert prepare(["hibari"], tmp_path / "a", clips=3) == manifest
    kept = times(tmp_path / "a/hibari")
    more = prepare(["hibari"], tmp_path / "a", clips=4)
    assert [clip.id for clip in more.clips][:3] == [clip.id for clip in manifest.clips]
    assert {path: when for path, when in times(tmp_path / "a/hibari").items() if path.suffix == ".flac"}.items() >= {
        path: when for path, when in kept.items() if path.suffix == ".flac"
    }.items()
