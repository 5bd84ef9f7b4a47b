"""Exported models without the exporter, which takes half a minute: their graph is a placeholder."""

import pytest
import torch

from audiodiff.models import checkpoint
from audiodiff.models.registry import MODEL_TYPES
from audiodiff.nn.condition import Condition


def placeholder(model):
    """A graph with the inputs of the model's, whose prediction is a convolution of the noisy signal."""
    from onnx import helper

    from audiodiff.export import graph

    kinds = {torch.float32: 1, torch.int64: 7, torch.bool: 9}
    values = []
    for name, value in graph.example(model, 1, 1).items():
        shape = ["batch", *value.shape[1:]]
        shape = [*shape[:-1], None] if value.ndim > 1 and name != "global_embedding" else shape
        values.append(helper.make_tensor_value_info(name, kinds[value.dtype], shape))
    channels = model.network.frontend.channels
    weight = helper.make_tensor("network.weight", 1, [channels, channels, 1], [0.5] * channels**2)
    node = helper.make_node("Conv", ["x", "network.weight"], [graph.OUTPUT], "convolution")
    output = helper.make_tensor_value_info(graph.OUTPUT, 1, ["batch", channels, None])
    # As large as the network: a config that asks for more weights than the graph has bytes is refused.
    numbers = sum(parameter.numel() for parameter in model.denoiser.network.parameters())
    filling = helper.make_tensor("filling", 3, [numbers], bytes(numbers), raw=True)
    built = helper.make_graph([node], "network", values, [output], [weight, filling])
    return helper.make_model(built, opset_imports=[helper.make_opsetid("", graph.OPSET)], ir_version=10)


def export_parts(model):
    """What a folder of a vocoder exported with a placeholder has: config without hashes, graph, and other weights."""
    from safetensors.torch import save

    from audiodiff.models import onnx_export

    config = {
        "format": onnx_export.FORMAT,
        "version": onnx_export.VERSION,
        "type": "vocoder",
        "model": {name: checkpoint.describe(value) for name, value in model.arguments().items()},
        "training": {},
        "graph": {"multiple_of": 1, "inputs": {}, "output": "y"},
    }
    arrays = save({name: weight.contiguous() for name, weight in model.part_weights().items()})
    return config, placeholder(model).SerializeToString(), arrays


def torch_session(model, original):
    """A class in place of `onnxruntime.InferenceSession`, which evaluates the model's torch network."""

    class Session:
        def __init__(self, content, options, providers):
            self.inputs = original(content, options, providers=providers).get_inputs()

        def get_inputs(self):
            return self.inputs

        def run(self, _, feeds):
            assert feeds.keys() == {value.name for value in self.inputs}
            inputs = {name: torch.from_numpy(value) for name, value in feeds.items()}
            x, log_snr = inputs.pop("x"), inputs.pop("log_snr")
            assert x.shape[-1] % model.network.grid == 0
            with torch.inference_mode():
                return [model.denoiser.network(x, log_snr, Condition(**inputs)).numpy()]

    return Session


@pytest.fixture
def exported(tmp_path, monkeypatch):
    """`exported(model, dtype)`: its export folder, whose graph is evaluated by the model's torch network."""
    import onnxruntime

    from audiodiff.export import graph
    from audiodiff.export.onnx import export_onnx

    original = onnxruntime.InferenceSession
    monkeypatch.setattr(graph, "export_graph", placeholder)

    def export(model, dtype="float32"):
        model.save_pretrained(tmp_path / "model", training={"steps": 7})
        monkeypatch.setattr(onnxruntime, "InferenceSession", original)
        folder = export_onnx(tmp_path / "model", tmp_path / "export", dtype, overwrite=True)
        found = checkpoint.load(tmp_path / "model")
        same = MODEL_TYPES[found.type].from_checkpoint(found, folder)
        monkeypatch.setattr(onnxruntime, "InferenceSession", torch_session(same, original))
        return folder

    return export
