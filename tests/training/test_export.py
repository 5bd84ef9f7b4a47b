"""Exports that a run keeps."""

import json
from types import SimpleNamespace

import pytest
from lightning.pytorch.callbacks import Timer

from audiodiff.data.corpora.tones import write_tones
from audiodiff.training.datamodule import ManifestData
from audiodiff.training.export import CardText, export


@pytest.fixture
def exported(tmp_path, make_training, monkeypatch):
    """`exported(step, minutes, draws)`: export a run of the last setting; the steps of the exports that it has kept."""
    data = ManifestData(write_tones(tmp_path / "tones", clips=6, seconds=0.5).root, 16000, 16000, 2)
    data.setup("fit")
    module, timer = make_training(), Timer(duration="00:12:00:00")

    def run(step: int, minutes: float, draws: int = 0) -> list[int]:
        monkeypatch.setattr(timer, "time_elapsed", lambda: 60 * minutes)
        module.next_draw = draws
        trainer = SimpleNamespace(datamodule=data, callbacks=[timer], global_step=step)
        export(trainer, module, tmp_path / "run", CardText("audio-to-audio", "A vocoder", ""), history=60)
        return [int(folder.name.removeprefix("step_")) for folder in sorted((tmp_path / "run/history").glob("*"))]

    return run


def test_an_export_is_kept_for_every_hour_of_training_whatever_interrupts_it(exported):
    kept = [exported(step, minutes) for step, minutes in ((1, 0), (2, 59), (3, 61), (4, 70), (5, 119), (6, 122))]
    assert kept == [[], [], [3], [3], [3], [3, 6]]


def test_the_record_has_the_audio_that_was_seen(exported, tmp_path):
    exported(3, 60, draws=7200)
    record = json.loads((tmp_path / "run/history/step_000000003/config.json").read_text())["training"]
    assert record["audio_hours"] == 2.0 and record["data"] == str(tmp_path / "tones")
