"""Which types of models are evaluated without the extra `metrics`."""

import pytest

from audiodiff.errors import UserError
from audiodiff.evaluation import registry
from audiodiff.evaluation.held_out import Settings


class Reached(Exception):
    pass


def test_a_generator_needs_no_extra_and_a_vocoder_does(monkeypatch, tmp_path):
    def missing(extra):
        raise UserError(f"[{extra}]", "is not installed", "install it")

    def evaluated(*_):
        raise Reached

    monkeypatch.setattr(registry, "require", missing)
    for kind, run in registry.EVALUATIONS.items():
        monkeypatch.setitem(registry.EVALUATIONS, kind, run and evaluated)
    with pytest.raises(Reached):
        registry.evaluate("drums", tmp_path, tmp_path / "report", Settings())
    with pytest.raises(UserError, match="metrics"):
        registry.evaluate("speech-24k", tmp_path, tmp_path / "report", Settings())
