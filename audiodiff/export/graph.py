"""The network of a diffusion model as an ONNX graph, for any batch and length.

The graph is one evaluation of the network, front end included: what a `Denoiser` calls. Its inputs are those that the
network takes (`INPUTS`), its output is `prediction` (B, C', T). T is a multiple of `multiple_of`, the grid on which all
levels of the U-Net have whole frames; shorter clips are filled up, and `samples` says where each ends.
"""

import contextlib
import copy
import io
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from audiodiff.diffusion.bridge import Bridge
from audiodiff.errors import UserError, first_line
from audiodiff.export.real_stft import RealStft
from audiodiff.extras import load_module
from audiodiff.models.diffusion_model import DiffusionModel
from audiodiff.nn.condition import Condition
from audiodiff.nn.frontends.frontend import Frontend, StftFrontend
from audiodiff.nn.network import Network

OPSET = 18
OUTPUT = "prediction"
# What each input of a graph is; the letters are sizes: B clips, T samples of C channels, S signals, M bands, F frames.
INPUTS = {
    "x": "noisy signal, of unit variance (B, C, T)",
    "log_snr": "noise level of each clip, log(alpha² / sigma²) within ±20 (B,)",
    "samples": "valid samples of each clip, int64; what lies beyond is masked (B,)",
    "frames": "conditioning frames; clips hold their last one (B, M, F)",
    "signal": "conditioning signals (B, S, T)",
    "tokens": "tokens for cross-attention (B, N, D)",
    "token_mask": "whether each token is valid (B, N)",
    "global_embedding": "embedding added to that of the noise level; zeros are unconditional (B, E)",
}


def multiple_of(network: Network) -> int:
    """What the graph's T is a multiple of, in samples."""
    return network.grid


def export_graph(model: DiffusionModel) -> Any:
    """The model's network as an `onnx.ModelProto`, in float32.

    Raises:
        UserError: the extra `onnx` is not installed, or the network has an operation or input that cannot be exported.
    """
    if getattr(model, "input_consistency", 0):
        problem = "projects the state before each evaluation, which is not part of a graph"
        raise UserError("input_consistency", problem, "use the torch model")
    graph, inputs = _Evaluation(model.denoiser.network), example(model, clips=2, blocks=3)
    load_module("onnxscript")
    try:
        with _quietly():
            program = torch.onnx.export(
                graph,
                kwargs=inputs,
                dynamic_shapes=_dynamic_shapes(model.network, inputs),
                opset_version=OPSET,
                custom_translation_table={torch.ops.aten.hypot.default: _hypot},
                output_names=[OUTPUT],
                dynamo=True,
                verbose=False,
            )
    except (torch.onnx.errors.OnnxExporterError, RuntimeError) as error:
        reason = first_line(error.__cause__ or error)[:200]
        raise UserError("network", f"cannot be exported ({reason})", "use the torch model") from error
    assert program is not None
    return _stripped(program.model_proto)


def weight_names(model: DiffusionModel) -> set[str]:
    """Names in the graph of the network's weights, as opposed to its constants."""
    return {f"network.{name}" for name, _ in model.denoiser.network.named_parameters()}  # type: ignore[operator]


def example(model: DiffusionModel, clips: int, blocks: int) -> dict[str, Tensor]:
    """Random inputs of a graph, of `clips` clips of `blocks` times `multiple_of` samples."""
    network, random = model.network, torch.Generator().manual_seed(0)
    length = blocks * multiple_of(network)

    def normal(*shape: int) -> Tensor:
        return torch.randn(clips, *shape, generator=random)

    inputs = {
        "x": normal(network.frontend.channels, length),
        "log_snr": normal(),
        "samples": torch.full((clips,), length, dtype=torch.int64),
    }
    if network.condition:
        inputs["frames"] = normal(network.condition, length // network.condition_hop)
    if network.frontend.signals:
        inputs["signal"] = normal(network.frontend.signals, length)
    if network.token_channels:
        inputs["tokens"] = normal(7, network.token_channels)
        inputs["token_mask"] = torch.ones(clips, 7, dtype=torch.bool)
    if any(part.embedding for part in (*model.built_in, *model.conditioners)):
        inputs["global_embedding"] = normal(network.embedding)
    return inputs


class _Evaluation(nn.Module):
    """A denoiser's network as a function of tensors, with its front end in real arithmetic."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = copy.deepcopy(network).cpu().eval()
        inner: Any = self.network.network if isinstance(self.network, Bridge) else self.network
        front = inner.frontend
        inner.frontend = RealStft(front) if isinstance(front, StftFrontend) else _WholeStrides(front)

    def forward(
        self,
        x: Tensor,
        log_snr: Tensor,
        samples: Tensor,
        frames: Tensor | None = None,
        signal: Tensor | None = None,
        tokens: Tensor | None = None,
        token_mask: Tensor | None = None,
        global_embedding: Tensor | None = None,
    ) -> Tensor:
        """The network's prediction."""
        return self.network(x, log_snr, Condition(frames, samples, signal, tokens, token_mask, global_embedding))


class _WholeStrides(nn.Module):
    """A front end that states the number of frames to decode, which the exporter cannot derive from a slice."""

    def __init__(self, frontend: Frontend):
        super().__init__()
        self.frontend, self.signals, self.channels = frontend, frontend.signals, frontend.channels
        self.stride, self.offset = frontend.stride, frontend.offset

    def frames(self, samples: Any) -> Any:
        return self.frontend.frames(samples)

    def encode(self, x: Tensor, frames: int | None = None) -> tuple[Tensor, Tensor]:
        return self.frontend.encode(x, frames)

    def decode(self, output: Tensor, state: Tensor, samples: int) -> Tensor:
        frames = self.frontend.frames(samples)
        torch._check(output.shape[-1] >= frames)
        return self.frontend.decode(output[..., :frames], state, samples)


def _hypot(x: Any, y: Any) -> Any:
    """`torch.hypot`, which the exporter does not know."""
    operators = load_module("onnxscript").opset18
    return operators.Sqrt(operators.Add(operators.Mul(x, x), operators.Mul(y, y)))


def _dynamic_shapes(network: Network, inputs: dict[str, Tensor]) -> dict[str, dict[int, Any]]:
    """Which sizes of the inputs vary: the batch, the length in multiples of the grid, and the number of tokens."""
    batch, blocks, tokens = (torch.export.Dim(name) for name in ("batch", "blocks", "tokens"))
    grid = multiple_of(network)
    length = grid * blocks
    further = {
        "x": {2: length},
        "signal": {2: length},
        "frames": {2: (grid // network.condition_hop) * blocks},
        "tokens": {1: tokens},
        "token_mask": {1: tokens},
    }
    return {name: {0: batch, **further.get(name, {})} for name in inputs}


def _stripped(proto: Any) -> Any:
    """Without the exporter's notes, which hold file paths, and without shapes, which later passes would contradict."""
    parts = [proto, proto.graph, *proto.graph.node, *proto.graph.initializer, *proto.graph.input, *proto.graph.output]
    for part in parts:
        part.doc_string = ""
        del part.metadata_props[:]
    del proto.graph.value_info[:]
    return proto


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Without the exporter's progress report, and its warnings for developers."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(action="ignore"), contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)
