"""The page on provenance: its commands and its Python run, in an empty folder."""

import re
import shlex
from pathlib import Path

import soundfile
from typer.testing import CliRunner

from audiodiff.audio.metadata import read_metadata
from audiodiff.cli import build

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "provenance.md").read_text(encoding="utf-8")


def test_a_spoken_file_states_its_settings_and_its_watermark_is_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made, loaded = (
        block.splitlines() for block in re.findall(r"^```bash\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)[:2]
    )
    for command in (made[0], *loaded, made[1]):
        result = CliRunner().invoke(build(), shlex.split(command)[1:])
        assert result.exit_code == 0, result.exception
    assert "its metadata state one" in result.output and "(voice-en)" in result.output
    assert read_metadata("speech.flac")["text"] == "The file is ready."
    clip, again, higher = (soundfile.read(f"{name}.flac")[0] for name in ("speech", "again", "higher"))
    assert (clip == again).all() and (len(higher) != len(clip) or (higher != clip).any())


def test_the_python_of_the_page_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"^```python\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
    exec(compile(block, "provenance.md", "exec"), {})
    metadata, marked, plain = capsys.readouterr().out.splitlines()
    assert metadata == "{'software': 'audiodiff in my app', 'seed': 3}"
    assert marked.startswith("found (p-value ") and plain.startswith("not found (p-value ")


def test_the_reports_take_the_options_of_the_page():
    bias, uncertainty = re.findall(r"^audiodiff (report .*)$", TEXT, re.MULTILINE)
    for command, error in ((bias, "speakers.csv: cannot be read"), (uncertainty, "hibari")):
        result = CliRunner().invoke(build(), shlex.split(command))
        assert "No such option" not in result.output and error in str(result.exception)
