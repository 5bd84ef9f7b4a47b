"""Kinds of guidance beside each other: rows, scores and costs on small models."""

import json

import numpy as np
import pytest
import torch
from guidance import PLAIN, Scorers, costs, generate, parse, score_recordings, stored_rows, variants, write_table
from tiny_models import make_audio_text

from audiodiff.data.manifest import Clip
from audiodiff.errors import UserError
from audiodiff.metrics.distribution import Axes
from audiodiff.pipelines.audio_generator import AudioGenerator

TARGETS = [Clip(f"{number}", "x.flac", 0.2, 8000, label=name) for number, name in enumerate(("kick", "snare"))]


@pytest.fixture
def scene(make_music, make_classifier, tmp_path):
    generator = AudioGenerator(make_music(1))
    make_classifier(("kick", "snare")).save_pretrained(tmp_path / "classifier")
    make_music(1).save_pretrained(tmp_path / "early")
    words = ["--data", "x", "--classifier", str(tmp_path / "classifier"), "--autoguidance", str(tmp_path / "early")]
    options = parse([*words, "--clips", "12", "--steps", "2", "--rounds", "1", "--scales", "2", "--intervals=-4:4"])
    return generator, options, Scorers(make_classifier(("kick", "snare")), make_audio_text(), ["kick", "snare"])


def test_rows_are_scored_and_compared(scene):
    generator, options, scorers = scene
    rows = variants(options, prompted=False)
    names = {PLAIN, "no condition", "classifier-free 2", "classifier-free 2, log-SNR -4:4", "classifier 4"}
    assert names | {"no condition, classifier 1", "autoguidance 1.5"} <= rows.keys()
    options.guide_interval = "-4:4"
    unconditional = [row for name, row in variants(options, prompted=False).items() if name.startswith("no condition")]
    assert len(unconditional) == 3 and {row["guidance_interval"] for row in unconditional} == {"all"}  # at every step
    rows = {name: rows[name] for name in (PLAIN, "classifier-free 2", "classifier 4", "autoguidance 2")}
    results = {name: generate(generator, own, TARGETS, scorers, options) for name, own in rows.items()}
    for row in results.values():
        assert [len(row[key]) for key in ("embeddings", "accuracy", "similarity", "own caption")] == [12] * 4
        assert set(row["accuracy"]) <= {0.0, 1.0} and max(map(abs, row["similarity"])) <= 1
    again = generate(generator, rows[PLAIN], TARGETS, scorers, options)
    assert again == results[PLAIN]
    ratio = costs(generator, rows, TARGETS[0], options)
    assert ratio.keys() == rows.keys() and ratio[PLAIN] == 1 and all(value > 0 for value in ratio.values())
    clips = list(np.random.default_rng(0).standard_normal((12, 1, 1600)).astype(np.float32))
    recordings = score_recordings(scorers, clips, TARGETS * 6, 8000)
    table = write_table(results, ratio, Axes.of(np.array(recordings["embeddings"]), 2), recordings).splitlines()
    assert len(table) == 2 + len(rows) + 1 and table[2].startswith(f"| {PLAIN} |") and "held-out" in table[-1]
    assert len({line.count("|") for line in table}) == 1


def test_rows_of_other_settings_are_refused(tmp_path):
    work = tmp_path / "rows.json"
    assert stored_rows(work, {"clips": 1}) == {}
    work.write_text(json.dumps({"settings": {"clips": 1}, "rows": {PLAIN: {}}}))
    assert stored_rows(work, {"clips": 1}) == {PLAIN: {}}
    with pytest.raises(UserError, match="other settings"):
        stored_rows(work, {"clips": 2})


def test_a_scorer_counts_its_own_class(scene, make_classifier):
    _, _, scorers = scene
    clips = torch.randn(6, 1, 1600, generator=torch.Generator().manual_seed(0))
    best = make_classifier(("kick", "snare")).classify(clips).argmax(1)
    found = scorers(clips, 8000, "snare", "snare")
    assert found["accuracy"] == (best == 1).double().tolist()
