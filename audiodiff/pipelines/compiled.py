"""Fast sampling: the network through `torch.compile`, and on a GPU the whole call as a CUDA graph.

A sampler's loop has no branch on tensor values (`diffusion/samplers/sampler.py`): for given shapes a call runs the same
kernels in the same order. On a GPU the kernels of a small network take less time than launching them one by one. So a
call is captured once as a CUDA graph and then replayed by a single launch: inputs are copied to the graph's buffers,
the output is copied from them. Noise that the sampler adds is an input like any other, drawn in advance. There are no
callbacks during a call; whether the state stayed finite is read at its end.

A graph is for one sampler, number of steps, batch size and length. To cover all lengths with few graphs, a batch is
padded to a bucket (`bucket`) and masked: the networks ignore the padding, so a clip is the same as on its own. The most
recently used graphs are kept and share one memory pool, which one call uses at a time.

`torch.compile` fuses the operations between the network's convolutions. It compiles for dynamic lengths, once. On a CPU
neither is worth its cost, so nothing is done there: launching is cheap, and convolutions take four fifths of a call,
whose packed weights run at the rate of matrix products. The compiled network took 1.3 to 1.9 times as long, with frozen
weights 1.15 to 1.45 times; ONNX Runtime 0.8 times as long for a second and as long for ten (`bench/backends.py`).
"""

import copy
import warnings
from collections import OrderedDict
from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager
from dataclasses import replace
from threading import Lock
from typing import Any

import torch
from torch import Tensor, nn

from audiodiff.diffusion.denoiser import Denoiser
from audiodiff.diffusion.samplers.sampler import Noise, Sampler, refuse_not_finite
from audiodiff.nn.condition import Condition

# Buckets per octave of lengths, and their minimum distance in frames: padding is less than an eighth, or less than
# eight frames.
BUCKETS = 8
MIN_DISTANCE = 8
# Calls before a capture: in the first, libraries choose their algorithms and the network is compiled.
WARM_UP = 2
MAX_GRAPHS = 8

Output = tuple[Tensor, Tensor]
"""x0 (B, C, T), and (nfe,) whether the state was finite after each step."""
Recorder = Callable[[Callable[[], Output]], tuple[Callable[[], None], Output]]
"""Captures a function without arguments; returns a function that replays it, and its output tensors."""


def bucket(frames: int) -> int:
    """The length to pad `frames` to: the next multiple of 8, or of an eighth of the power of two below."""
    step = max(MIN_DISTANCE, 2 ** (frames.bit_length() - 1) // BUCKETS)
    return -(-frames // step) * step


class CompiledNetwork:
    """A network through `torch.compile`; falls back to the network itself, with a warning, if that fails.

    Args:
        network: network of a `Denoiser`.
        backend: backend of `torch.compile`. The default needs a C++ compiler, on a GPU also Triton.
    """

    def __init__(self, network: Callable[..., Tensor], backend: str = "inductor"):
        self.network, self.backend = network, backend
        self._compiled: Callable[..., Tensor] | None = torch.compile(network, dynamic=True, backend=backend)

    def __call__(self, x: Tensor, log_snr: Tensor, cond: Any = None) -> Tensor:
        """Evaluate the network."""
        if self._compiled is None:
            return self.network(x, log_snr, cond)
        try:
            return self._compiled(x, log_snr, cond)
        except torch._dynamo.exc.BackendCompilerFailed as error:
            reason, *_ = str(error.inner_exception).strip().partition("\n")
            warnings.warn(
                f"torch.compile failed, using the plain network ({reason}); install a C++ compiler", stacklevel=2
            )
            self._compiled = None
            return self.network(x, log_snr, cond)


def compiled_denoiser(denoiser: Denoiser) -> Denoiser:
    """The denoiser with a compiled network, and with a schedule that can be evaluated during a capture."""
    schedule = denoiser.schedule
    if isinstance(schedule, nn.Module):
        # Reading the parameters of a learned schedule from the device would end the capture.
        schedule = copy.deepcopy(schedule).cpu()
    return Denoiser(CompiledNetwork(denoiser.network), schedule, denoiser.objective)


class CudaRecorder:
    """Captures CUDA graphs; all share one memory pool, so only one may run at a time.

    Args:
        device: the CUDA device.
    """

    def __init__(self, device: torch.device):
        self.device = device
        self.pool = torch.cuda.graph_pool_handle()

    def __call__(self, work: Callable[[], Output]) -> tuple[Callable[[], None], Output]:
        """See `Recorder`."""
        with torch.cuda.device(self.device):
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(WARM_UP):
                    work()
            torch.cuda.current_stream().wait_stream(stream)
            graph = torch.cuda.CUDAGraph()
            # Other threads may allocate memory, which would break a global capture.
            with torch.cuda.graph(graph, pool=self.pool, stream=stream, capture_error_mode="thread_local"):
                output = work()
        return graph.replay, output


class Recording:
    """One captured call and its input buffers.

    Args:
        call: function of x1, condition and noise.
        record: captures it.
        x1, condition, noise: the first inputs; later ones have the same shapes.
    """

    def __init__(
        self,
        call: Callable[[Tensor, Condition, Noise], Output],
        record: Recorder,
        x1: Tensor,
        condition: Condition,
        noise: Noise,
    ):
        self.x1 = x1.clone()
        self.condition = replace(condition, **{name: tensor.clone() for name, tensor in condition.tensors().items()})
        self.noise: dict[int, Tensor] = {}

        def buffered_noise(step: int) -> Tensor:
            # The warm-up calls show which steps add noise.
            if step not in self.noise:
                self.noise[step] = noise(step).clone()
            return self.noise[step]

        self._replay, (self._x0, self._finite) = record(lambda: call(self.x1, self.condition, buffered_noise))

    def __call__(self, x1: Tensor, condition: Condition, noise: Noise) -> Output:
        """Replay the call with new inputs. The second tensor is overwritten by the next call."""
        self.x1.copy_(x1)
        tensors = condition.tensors()
        for name, buffer in self.condition.tensors().items():
            buffer.copy_(tensors[name])
        for step, buffer in self.noise.items():
            buffer.copy_(noise(step))
        self._replay()
        return self._x0.clone(), self._finite


class RecordedSampling:
    """Sampling calls, captured on first use and replayed afterwards. Threads take turns.

    Args:
        denoiser: the denoiser of all calls.
        context: returns the context in which the network runs, such as autocast.
        record: captures calls, such as a `CudaRecorder`.
        max_graphs: number of graphs to keep; the least recently used ones are dropped.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        context: Callable[[], AbstractContextManager],
        record: Recorder,
        max_graphs: int = MAX_GRAPHS,
    ):
        self.denoiser, self.context, self.record, self.max_graphs = denoiser, context, record, max_graphs
        self._recordings: OrderedDict[Hashable, Recording] = OrderedDict()
        self._lock = Lock()

    def __call__(self, name: str, sampler: Sampler, x1: Tensor, condition: Condition, noise: Noise) -> Tensor:
        """Sample x0 from x1.

        Args:
            name: name of the sampler; with its number of steps it identifies the table.
            sampler: a sampler on a fixed grid.
            x1: (B, C, T) noise.
            condition: condition with frames (B, M, F) and samples (B,), and maybe a signal.
            noise: step -> noise like x1.

        Returns:
            (B, C, T).

        Raises:
            ValueError: the network returned NaN or infinity.
        """
        key = (name, sampler.nfe, x1.shape, getattr(condition.frames, "shape", None))
        with self._lock:
            recording = self._recordings.pop(key, None)
            if recording is None:
                while len(self._recordings) >= self.max_graphs:
                    self._recordings.popitem(last=False)
                recording = Recording(self._call(sampler), self.record, x1, condition, noise)
            self._recordings[key] = recording
            x0, finite = recording(x1, condition, noise)
            refuse_not_finite(finite)
        return x0

    def _call(self, sampler: Sampler) -> Callable[[Tensor, Condition, Noise], Output]:
        def call(x1: Tensor, condition: Condition, noise: Noise) -> Output:
            # A new context for each capture: its caches must not outlive the graph that reads them.
            with self.context():
                return sampler.integrate(self.denoiser, x1, condition, noise, None)

        return call
