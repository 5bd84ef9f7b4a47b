"""Every layer that serves model types has an entry, or a stated None, for each of them."""

from importlib import import_module

import pytest

from audiodiff.models.registry import MODEL_TYPES

TABLES = [
    ("audiodiff.pipelines.registry", "PIPELINES"),
    ("audiodiff.evaluation.registry", "EVALUATIONS"),
    ("audiodiff.evaluation.registry", "BENCHMARKS"),
    ("audiodiff.rendering.registry", "RENDERERS"),
    ("audiodiff.export.model_card", "CARDS"),
    ("audiodiff.export.onnx", "DESCRIBED"),
    ("audiodiff.evaluation.compression", "COMPARISONS"),
    ("audiodiff.fine_tuning", "RECIPES"),
    ("audiodiff.training.examples", "EXAMPLES"),
    ("audiodiff.demo.tasks", "TASKS"),
]


@pytest.mark.parametrize(("module", "name"), TABLES)
def test_a_table_serves_every_model_type(module, name):
    assert getattr(import_module(module), name).keys() == MODEL_TYPES.keys()


def test_a_type_is_known_by_its_own_name():
    assert all(name == model.TYPE for name, model in MODEL_TYPES.items())
