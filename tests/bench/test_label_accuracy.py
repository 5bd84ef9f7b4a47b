"""Nouns of generated clips: which captions are chosen, and how hits are counted."""

import numpy as np
import pytest
import torch
from label_accuracy import LabelScorer, accuracy, choose, main

from audiodiff.data.manifest import Clip, Manifest

CLASSES = ("kick", "snare", "bell")


def clip(name: str, caption: str, split: str = "test", synthetic: bool = False) -> Clip:
    return Clip(name, f"{name}.wav", 0.2, 8000, split=split, caption=caption, synthetic=synthetic)


def manifest(tmp_path, *clips: Clip) -> Manifest:
    return Manifest(clips, tmp_path)


def test_captions_have_one_class_and_are_held_out_and_different(tmp_path):
    found = choose(
        manifest(
            tmp_path,
            clip("a", "loud kick"),
            clip("b", "loud kick"),
            clip("c", "kick and snare"),
            clip("d", "snare", "train"),
            clip("e", "rain"),
            clip("f", "bell", "validation"),
        ),
        CLASSES,
        8,
    )
    assert {name: [one.caption for one in clips] for name, clips in found.items()} == {
        "kick": ["loud kick"],
        "bell": ["bell"],
    }


def test_recordings_come_before_rendered_clips_and_the_number_is_limited(tmp_path):
    rendered = [clip(f"r{number}", f"kick {number}", synthetic=True) for number in range(9)]
    found = choose(manifest(tmp_path, *rendered, clip("z", "an old kick")), CLASSES, 3)
    assert len(found["kick"]) == 3 and found["kick"][0].id == "z"


def test_classes_have_equal_weight():
    hits = {"kick": [np.ones(4)] * 9, "snare": [np.zeros(4)]}
    assert accuracy(hits).mean == pytest.approx(0.5)
    assert accuracy(hits, ["snare"]).mean == 0
    assert accuracy({"kick": [np.array([1.0, 0.0])]}).mean == 0.5


def test_hits_are_those_of_the_classifier_among_the_classes_with_captions(make_classifier):
    classifier = make_classifier(CLASSES)
    clips = torch.randn(5, 4, 1, 1600, generator=torch.Generator().manual_seed(0))
    targets = {"snare": [clip("a", "snare"), clip("b", "old snare")], "bell": [clip(name, name) for name in "cde"]}
    found = LabelScorer(classifier, targets).score(iter(clips))
    assert {name: len(hits) for name, hits in found.items()} == {"snare": 2, "bell": 3}
    best = classifier.classify(clips.flatten(0, 1))[:, 1:].argmax(1).unflatten(0, (5, 4))
    assert np.array_equal(np.stack(found["snare"]), (best[:2] == 0).double().numpy())
    assert np.array_equal(np.stack(found["bell"]), (best[2:] == 1).double().numpy())
    assert set(np.concatenate([*found["snare"], *found["bell"]])) == {0.0, 1.0}


def test_clips_with_one_class_are_written_as_a_second_manifest(tmp_path):
    every = manifest(tmp_path, clip("a", "loud kick", "train"), clip("b", "kick and snare"), clip("c", "rain"))
    every.save()
    main(["--select", "nouns.jsonl", "--classes", *CLASSES, "--data", str(tmp_path)])
    assert [one.id for one in Manifest.load(tmp_path / "nouns.jsonl").clips] == ["a"]
    assert len(Manifest.load(tmp_path).clips) == 3
