import re

import numpy as np
import pytest
import soundfile
import typer

from audiodiff.cli.prepare import prepare
from audiodiff.data.manifest import Manifest
from audiodiff.errors import UserError


def test_prints_the_audit_and_where_the_manifest_is(tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    soundfile.write(tmp_path / "mine/a.wav", 0.1 * np.sin(np.arange(16000)), 16000)
    (tmp_path / "mine/b.wav").write_text("not audio")
    outputs = []
    for _ in range(2):
        with pytest.raises(typer.Exit) as ended:
            prepare([f"folder:{tmp_path / 'mine'}"], tmp_path / "out")
        assert ended.value.exit_code == 1
        outputs.append(capsys.readouterr())
        assert "error: mine/b: is not readable audio" in outputs[-1].err
    outputs = [output.out for output in outputs]
    assert outputs[0] == outputs[1]
    assert re.search(r"^mine: 0\.00 hours, 1 clips;", outputs[0])
    assert "unreadable: 1 " in outputs[0]
    assert outputs[0].endswith(f"1 clips in {tmp_path / 'out' / 'manifest.jsonl'}, 1 skipped\n")


def test_prints_how_many_lines_of_a_table_match(tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    soundfile.write(tmp_path / "mine/a.wav", 0.1 * np.sin(np.arange(16000)), 16000)
    (tmp_path / "mine/metadata.csv").write_text("a|what is said\n")
    prepare([f"folder:{tmp_path / 'mine'}"], tmp_path / "out")
    assert capsys.readouterr().out.startswith("metadata.csv: 1 of 1 lines match 1 of 1 recordings\nmine: ")


def test_captions_are_read_where_they_are_asked_for(tmp_path):
    (tmp_path / "mine").mkdir()
    soundfile.write(tmp_path / "mine/hh_closed.wav", 0.1 * np.sin(np.arange(16000)), 16000)
    prepare([f"music:{tmp_path / 'mine'}"], tmp_path / "out", captions=True)
    assert [clip.caption for clip in Manifest.load(tmp_path / "out").clips] == ["closed hi-hat"]
    (tmp_path / "mine/captions.csv").write_text("file,caption\nsnow.wav,snow\nhh_closed.wav,hat\n")
    with pytest.raises(UserError, match="line 2"):
        prepare([f"music:{tmp_path / 'mine'}"], tmp_path / "out")


def test_a_full_disk_is_one_line_and_the_same_command_goes_on(tmp_path, limit_files):
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 16000))
    (tmp_path / "mine").mkdir()
    soundfile.write(tmp_path / "mine/a.wav", noise[0, :8000], 16000)
    soundfile.write(tmp_path / "mine/b.wav", noise[1], 16000)
    refused = pytest.raises(UserError, match=r"b\.flac: cannot be written \(File too large\)")
    with limit_files(20_000), refused as error:
        prepare([f"folder:{tmp_path / 'mine'}"], tmp_path / "out")
    assert "\n" not in str(error.value)
    assert not list((tmp_path / "out").rglob("b.flac")) and not list((tmp_path / "out").rglob(".*"))
    prepare([f"folder:{tmp_path / 'mine'}"], tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").rglob("*.flac")) == ["a.flac", "b.flac"]
