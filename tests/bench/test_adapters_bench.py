"""Reports of adapters, and the recordings that they are about."""

import json
from types import SimpleNamespace

import adapters
import numpy as np
import pytest
import soundfile
import torch

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


def test_figures_of_the_recordings_themselves_are_known():
    """Of equal sets the distances are 0, and similarity is the mean of all cosines."""
    rng, rate = np.random.default_rng(0), 16000
    clips = [rng.standard_normal((1, rate // 2)).astype(np.float32) * level for level in (0.05, 0.1, 0.2)]
    angles = torch.tensor([0.0, 0.3, 1.0])
    found = {clip.tobytes(): torch.stack([angle.cos(), angle.sin()]) for clip, angle in zip(clips, angles, strict=True)}
    model = SimpleNamespace(embed_audio=lambda clip, _: 3 * found[clip.numpy().tobytes()][None])
    figures = adapters.measure(clips, clips, clips[:1], rate, SimpleNamespace(model=model))
    assert figures["similarity"] == pytest.approx(float((angles[:, None] - angles).cos().mean()), abs=1e-5)
    assert figures["frechet"] == pytest.approx(0, abs=1e-3) and figures["variety"] > figures["nearest"] > 0
    assert adapters.measure(clips[:2], clips, clips[:2], rate, SimpleNamespace(model=model))["nearest"] == 0


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("new word", {"adapter=word", 'adapter.word="<my-sound>"', 'data.caption="<my-sound>"'}),
        ("hypernetwork and LoRA", {"adapter=lora", "adapter.init_from={out}/hypernetwork", 'data.caption="a sound"'}),
        ("DreamBooth", {"data.replay=base:0.5", 'data.caption="zvk sound"'}),
    ],
)
def test_a_way_trains_with_its_caption_for_its_time_and_its_size_is_counted(method, words, monkeypatch, tmp_path):
    given = []

    def run(composed, folder):
        given.extend(composed)
        name = "adapter" if any(word.startswith("adapter=") for word in composed) else "model"
        (folder / name).mkdir(parents=True)
        (folder / name / f"{name}.safetensors").write_bytes(b"12345")
        record = {"training": {"steps": 7, "forgetting": {"before": 1.0, "after": 1.5}}}
        (folder / name / {"adapter": "adapter.json", "model": "config.json"}[name]).write_text(json.dumps(record))

    monkeypatch.setattr(adapters.config, "compose", list)
    monkeypatch.setattr(adapters.train, "run", run)
    exported, figures = adapters.adapt(method, SimpleNamespace(root="clips"), tmp_path, "sounds", 0.5)
    expected = {word.format(out=tmp_path) for word in words}
    assert expected | {"trainer.max_time={seconds: 30}", "data.path=clips", "init_from=sounds"} <= set(given)
    assert exported.parent == tmp_path / method.replace(" ", "_")
    assert (figures["bytes"], figures["steps"], figures["base_loss"]) == (5, 7, 1.5)
