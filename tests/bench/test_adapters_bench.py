"""Reports of adapters, and the recordings that they are about."""

import adapters
import numpy as np
import soundfile

from audiodiff.data.manifest import Manifest
from audiodiff.data.preparation import prepare


def test_a_report_has_the_figures_of_any_row_and_blanks_for_others():
    table = adapters.format_table({"base": {"similarity": 0.5, "bytes": 13596916}, "LoRA": {"forgetting": -0.1}})
    assert table.splitlines() == [
        "| | similarity | bytes | forgetting |",
        "|---|--:|--:|--:|",
        "| base | 0.500 | 13,596,916 |  |",
        "| LoRA |  |  | -10.0% |",
    ]


def test_twelve_recordings_of_a_word_are_trained_on_and_all_others_held_out(tmp_path):
    for number in range(30):
        noise = np.random.default_rng(number).standard_normal(4000) * 0.1
        path = tmp_path / "mine" / f"{('kick', 'snare')[number % 15 == 0]} {number:02d}.wav"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, noise, 8000)
    prepare([f"folder:{tmp_path / 'mine'}"], tmp_path / "data", captions=True)
    found = adapters.subset(tmp_path / "data", "kick", tmp_path / "subset", "zvk sound")
    splits = [clip.split for clip in found.clips]
    assert splits.count("train") == 12 and len(splits) == 28 and "validation" in splits
    assert {clip.caption for clip in Manifest.load(tmp_path / "subset").clips} == {"zvk sound"}
