"""The network of a denoiser, evaluated by ONNX Runtime on the CPU."""

from typing import Any

import torch
from torch import Tensor, nn

from audiodiff.errors import UserError, first_line
from audiodiff.extras import load_module
from audiodiff.nn.condition import Condition
from audiodiff.nn.frontends.frontend import Frontend
from audiodiff.nn.network import Network

_INPUTS = {"x", "log_snr", "samples", "frames", "signal", "global_embedding", "tokens", "token_mask"}


class OnnxNetwork(nn.Module):
    """`network(x, log_snr, cond)` of a `Denoiser`, by an exported graph.

    The graph takes signals of whole multiples of a number of samples: clips are filled up to it, and masked.

    Args:
        graph: bytes of the ONNX file.
        architecture: the network that was exported, whose weights are not needed.
        multiple_of: samples.

    Raises:
        UserError: onnxruntime is not installed, or the graph is damaged. In a call: it cannot be evaluated, or
            memory does not suffice.
    """

    def __init__(self, graph: bytes, architecture: Network, multiple_of: int):
        super().__init__()
        runtime = load_module("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3  # errors: warnings are for developers
        try:
            self.session = runtime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
            self.inputs = {value.name for value in self.session.get_inputs()}  # whose names may be no text
        except Exception as error:  # of many types, which share no base class
            raise UserError("network.onnx", f"cannot be loaded ({first_line(error)})", "export it again") from error
        if not self.inputs <= _INPUTS:
            unknown = ", ".join(sorted(map(repr, self.inputs - _INPUTS)))
            raise UserError("network.onnx", f"has inputs that no network has ({unknown:.60})", "export it again")
        self.multiple_of = multiple_of
        self._architecture = (architecture,)  # not a submodule: it has no weights

    @property
    def architecture(self) -> Network:
        """The network that was exported, without weights."""
        return self._architecture[0]

    @property
    def frontend(self) -> Frontend:
        """The exported network's front end."""
        return self.architecture.frontend

    @property
    def receptive_field(self) -> int | None:
        """As of `Network`."""
        return self.architecture.receptive_field

    @property
    def grid(self) -> int:
        """As of `Network`."""
        return self.architecture.grid

    def forward(self, x: Tensor, log_snr: Tensor, cond: Condition | None = None) -> Tensor:
        """Evaluate; arguments as of `Network`."""
        cond, length = cond or Condition(), x.shape[-1]
        padding = -length % self.multiple_of
        values: dict[str, Tensor | None] = {"x": _fill(x, padding), "log_snr": log_snr}
        values["samples"] = torch.full((len(x),), length) if cond.samples is None else cond.samples
        if cond.frames is not None:
            hop = self.architecture.condition_hop
            needed = max(0, (length + padding) // hop - cond.frames.shape[-1])
            frames = nn.functional.pad(cond.frames, (0, needed), mode="replicate")
            values["frames"] = frames[..., : (length + padding) // hop]
        values["signal"] = None if cond.signal is None else _fill(cond.signal, padding)
        values["global_embedding"] = cond.global_embedding
        values["tokens"], values["token_mask"] = cond.tokens, cond.valid_tokens()
        given = {name: value for name, value in values.items() if value is not None and name in self.inputs}
        return torch.from_numpy(self._run(self._complete(given, len(x))))[..., :length]

    def _complete(self, given: dict[str, Tensor], clips: int) -> dict[str, Tensor]:
        """With null values of optional conditions that the graph takes: no valid token, an embedding of zeros."""
        missing = self.inputs - given.keys()
        if "global_embedding" in missing:
            given["global_embedding"] = torch.zeros(clips, self.architecture.embedding)
        if "tokens" in missing:
            given["tokens"] = torch.zeros(clips, 1, self.architecture.token_channels)
            given["token_mask"] = torch.zeros(clips, 1, dtype=torch.bool)
        return given

    def _run(self, values: dict[str, Tensor]) -> Any:
        kinds = {"samples": torch.int64, "token_mask": torch.bool}
        feeds = {name: value.to(kinds.get(name, torch.float32)).numpy() for name, value in values.items()}
        try:
            (output,) = self.session.run(None, feeds)
        except Exception as error:  # of many types, which share no base class
            if "alloc" not in str(error):
                problem = f"cannot be evaluated ({first_line(error)})"
                raise UserError("network.onnx", problem, "export it again") from error
            raise UserError("the batch", "does not fit in memory", "use fewer or shorter clips") from error
        return output


def _fill(x: Tensor, padding: int) -> Tensor:
    return nn.functional.pad(x, (0, padding)) if padding else x
