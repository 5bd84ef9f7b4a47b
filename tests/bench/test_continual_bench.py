"""Subjects taught one after the other: what each stage starts from, replays, and is measured with."""

from argparse import Namespace
from types import SimpleNamespace

import continual
import pytest

from audiodiff.models.audio_model import AudioModel

NAMES = ("steps", "drums", "screams")


@pytest.fixture
def stages(monkeypatch, tmp_path):
    """Runs a method without training; what each stage was started with, and rows of what was measured with what."""

    def run(method: str) -> tuple[list[dict], list[dict]]:
        started: list[dict] = []
        base = SimpleNamespace(name="base", requires_grad_=lambda _: base)

        def stage(words, manifest, folder, start, minutes):
            started.append({"words": words, "data": manifest, "start": start, "minutes": minutes})
            return folder / ("adapter" if "adapter=lora" in words else "model")

        def tuned(folder):
            model = SimpleNamespace(name=str(folder), requires_grad_=lambda _: model)
            return model if str(folder) != "sounds" else base

        monkeypatch.setattr(continual, "stage", stage)
        monkeypatch.setattr(continual, "joined", lambda manifests, folder: SimpleNamespace(root="+".join(manifests)))
        monkeypatch.setattr(AudioModel, "from_pretrained", staticmethod(tuned))
        monkeypatch.setattr(continual.adapter, "load", str)
        monkeypatch.setattr(continual, "AppliedAdapter", lambda folder: folder)
        monkeypatch.setattr(continual, "apply", lambda model, found: SimpleNamespace(name=f"{model.name} {found[0]}"))
        monkeypatch.setattr(continual, "loss", lambda model, manifest, base: (model.name, manifest, base))
        chosen = Namespace(base="sounds", out=tmp_path, minutes=0.5)
        return started, continual.run(method, {name: name for name in NAMES}, "known", chosen)

    return run


def test_all_weights_go_on_from_the_stage_before(stages, tmp_path):
    started, rows = stages("all weights")
    folders = [str(tmp_path / "all_weights" / str(number) / "model") for number in range(3)]
    assert [one["start"] for one in started] == ["sounds", *folders[:2]] and [one["data"] for one in started] == [
        *NAMES
    ]
    for row, folder in zip(rows, folders, strict=True):
        assert row == {key: (folder, name, "sounds") for key, name in zip(row, ("known", *NAMES), strict=True)}
        assert list(row) == [continual.KNOWN, *NAMES]


def test_a_stage_replays_what_came_before_it(stages):
    started, _ = stages("all weights, replay")
    replayed = [[word for word in one["words"] if "replay" in word] for one in started]
    assert replayed == [
        ["data.replay=known:0.5"],
        ["data.replay=known+steps:0.5"],
        ["data.replay=known+steps+drums:0.5"],
    ]


def test_an_adapter_is_used_for_its_subject_alone(stages, tmp_path):
    started, rows = stages("an adapter each")
    assert {one["start"] for one in started} == {"sounds"}
    own = {name: f"base {tmp_path / 'an_adapter_each' / str(number) / 'adapter'}" for number, name in enumerate(NAMES)}
    for number, row in enumerate(rows):
        learned = NAMES[: number + 1]
        assert row[continual.KNOWN][0] == "base"
        assert [row[name][0] for name in NAMES] == [own[name] if name in learned else "base" for name in NAMES]


def test_the_table_has_a_line_for_each_stage():
    base = {continual.KNOWN: 0.1, "steps": 0.2, "drums": 0.3}
    rows = [{name: value / 2 for name, value in base.items()}, {name: value / 4 for name, value in base.items()}]
    assert continual.table({"base": base, "all weights": rows}).splitlines() == [
        "| | what the base knew | steps | drums |",
        "|---|--:|--:|--:|",
        "| base | 0.1000 | 0.2000 | 0.3000 |",
        "| all weights, after steps | 0.0500 | 0.1000 | 0.1500 |",
        "| all weights, after drums | 0.0250 | 0.0500 | 0.0750 |",
    ]
    with pytest.raises(ValueError):
        continual.table({"base": base, "all weights": rows[:1]})
