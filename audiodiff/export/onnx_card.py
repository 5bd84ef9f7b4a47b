"""The README of an exported model: how to run it, the graph's interface, and a table of size, error and time."""

import statistics
import time
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from audiodiff.diffusion.clips import combine
from audiodiff.export import graph
from audiodiff.models.diffusion_model import DiffusionModel
from audiodiff.models.onnx_export import ARRAYS, CONFIG, GRAPH
from audiodiff.models.onnx_network import OnnxNetwork
from audiodiff.nn.condition import Condition

SECONDS = (1, 3, 10)
_REPEATS = 5
_RUN = """```bash
pip install numpy onnxruntime
python run.py mel.npy out.wav
```

`run.py` turns a log-mel of this model into audio, with NumPy and ONNX Runtime alone: for a seed the same sound as
`audiodiff.Vocoder`. `python run.py --help` lists its options. The mel is an array (bands, frames) in the spec under
`mel_spec` of `export.json`.
"""


def card(model: DiffusionModel, config: Mapping[str, Any], graphs: Mapping[str, bytes]) -> str:
    """The README of an export.

    Args:
        model: the model, with its torch network.
        config: of `export.json`.
        graphs: ONNX files by how their weights are stored.
    """
    source, dtype = config["checkpoint"], config["dtype"]
    inputs = [
        f"| `{name}` | {_shape(shape)} | {graph.INPUTS[name]} |" for name, shape in config["graph"]["inputs"].items()
    ]
    return "\n".join(
        [
            f"# {source['name']} as ONNX",
            "",
            f"A model of type {config['type']}, exported by `audiodiff export`, weights in {dtype}. Checkpoint "
            f"{source['hash'][:12]}. Its training, data and licenses are under `training` in `{CONFIG}`.",
            "",
            *(["## Run", "", _RUN, *_settings(config["runner"]["settings"])] if "runner" in config else []),
            "In Python with audiodiff, the same pipeline as of the checkpoint:",
            "",
            "```python",
            f'pipeline = audiodiff.{_PIPELINES[config["type"]]}.from_pretrained("THIS_FOLDER", backend="onnx")',
            "```",
            "",
            "## Graph",
            "",
            f"`{GRAPH}` is one evaluation of the network, front end included, for any batch and any length that is a "
            f"multiple of {config['graph']['multiple_of']} samples; `samples` masks what a clip is filled up with. Its "
            f"output is `{graph.OUTPUT}`, like `x`. `{ARRAYS}` holds the weights of the model's other parts.",
            "",
            "| input | shape | meaning |",
            "|---|---|---|",
            *inputs,
            "",
            "## Size, error and time",
            "",
            *measure(model, graphs, dtype, config["positions_per_second"]),
            "",
        ]
    )


_PIPELINES = {
    "vocoder": "Vocoder",
    "audio": "AudioGenerator",
    "acoustic": "SpeechSynthesizer",
    "upsampler": "Upsampler",
    "restorer": "Restorer",
}


def _settings(settings: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The named settings of a vocoder that has several, in words."""
    if len(settings) == 1:
        return []
    words = [
        f"`{name}` ({one['steps']} step{'s' * (one['steps'] > 1)} of {one['sampler']}, mel consistency "
        f"{one['iterations']})"
        for name, one in settings.items()
    ]
    return [f"`--setting NAME` takes one of {', '.join(words)}; the first is the default.", ""]


def _shape(shape: list[Any]) -> str:
    return " x ".join(map(str, shape))


def measure(model: DiffusionModel, graphs: Mapping[str, bytes], chosen: str, rate: float) -> list[str]:
    """The table: each way of storing the weights beside the torch network."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        multiple = graph.multiple_of(model.network)
        networks = {name: OnnxNetwork(content, model.network, multiple) for name, content in graphs.items()}
        lengths = [max(1, round(seconds * rate / multiple)) for seconds in SECONDS]
        times = [_times(model, networks, blocks) for blocks in lengths]
        errors = {name: _error(model, network, lengths[1]) for name, network in networks.items()}
    finally:
        torch.set_num_threads(threads)
    numbers = sum(parameter.numel() for parameter in model.denoiser.network.parameters())  # type: ignore[operator]
    rows = {"torch": (4 * numbers, "")} | {name: (len(content), errors[name]) for name, content in graphs.items()}
    table = [
        "| weights | MB | error of a sample, of its peak | CPU ms an evaluation: "
        + " | ".join(f"{seconds} s" for seconds in SECONDS)
        + " |",
        "|---|--:|--:|--:|" + "--:|" * (len(SECONDS) - 1),
    ]
    for name, (size, error) in rows.items():
        label = (
            "float32, PyTorch" if name == "torch" else f"{name}, ONNX" + (" (this folder)" if name == chosen else "")
        )
        cells = [f"{1e3 * measured[name]:.1f}" for measured in times]
        table.append(f"| {label} | {size / 1e6:.1f} | {error} | {' | '.join(cells)} |")
    note = (
        f"Medians of {_REPEATS} interleaved evaluations, process time of one thread, batch of 1, on random input. The "
        f"error is the largest difference from PyTorch's after {model.default_steps} steps from the same noise, with "
        "random conditions, as a share of the peak: an upper bound, as rounding grows with every step."
    )
    return [*table, "", note]


def _times(model: DiffusionModel, networks: Mapping[str, OnnxNetwork], blocks: int) -> dict[str, float]:
    """Median seconds of an evaluation of each network."""
    x, log_snr, condition = _inputs(model, blocks)
    measured: dict[str, list[float]] = {name: [] for name in ("torch", *networks)}
    with torch.inference_mode():
        for _ in range(_REPEATS + 1):  # the first warms up
            for name in measured:
                network = networks.get(name, model.denoiser.network)
                start = time.process_time()
                network(x, log_snr, condition)
                measured[name].append(time.process_time() - start)
    return {name: statistics.median(values[1:]) for name, values in measured.items()}


def _inputs(model: DiffusionModel, blocks: int) -> tuple[Tensor, Tensor, Condition]:
    inputs = graph.example(model, 1, blocks)
    return inputs.pop("x"), inputs.pop("log_snr"), Condition(**inputs)


def _error(model: DiffusionModel, network: OnnxNetwork, blocks: int) -> str:
    """Largest difference of samples from the same noise."""
    x1, _, condition = _inputs(model, blocks)
    sampler = model.sampler_for(model.default_steps, "ddim")
    with torch.inference_mode():
        exact = sampler(model.denoiser, sampler.noise_scale(model.denoiser) * x1, condition)
        original = model.denoiser.network
        try:
            model.denoiser.network = network
            other = sampler(model.denoiser, sampler.noise_scale(model.denoiser) * x1, condition)
        finally:
            model.denoiser.network = original
    difference = combine((1.0, -1.0), (other, exact)).abs().max() / exact.abs().max()
    return f"{float(difference):.1e}"
