"""A sampling call made fast: the network compiled, and on a GPU the whole call captured.

A sampler's loop holds no branch on the value of a tensor (`diffusion/sampler.py`): as long as its shapes stay, a call
runs the same kernels in the same order. On a GPU those of a small network take less time than launching them one by
one. A call is therefore recorded once as a CUDA graph and then replayed by a single launch: its inputs are copied to
where the recording reads them, its answer is copied from where it writes it. Noise that is added on the way is an input
like any other, drawn beforehand; nobody can watch the call from within; whether it stayed finite is read at its end.

A recording serves one sampler, number of calls, batch and length. So that a few of them serve all lengths, a batch is
lengthened to a bucket (`bucket`) and told where its clips end: the networks mask what lies beyond, and a clip comes out
as it would alone. The recordings used last are kept and share one pool of memory, which only one call uses at a time.

`torch.compile` joins what lies between the network's convolutions into few kernels. It is told that lengths vary, so
that one compilation serves all of them. On a CPU neither is worth its wait, so nothing is done there: launching costs
little, convolutions take more than four fifths of a call, and compiled it took 0.9 to 1.2 times as long on two cores
with AVX2 (`bench/gpu.py --device cpu` tells of another one).
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

# Buckets an octave of lengths, and their least distance in frames: a batch grows by less than an eighth, or by less
# than eight frames.
BUCKETS = 8
FEWEST = 8
# Calls before a recording: in the first, libraries choose their algorithms and the network is compiled.
WARM_UP = 2
KEPT = 8

Answer = tuple[Tensor, Tensor]
"""x0 (B, C, T), and (nfe,) whether the state was finite after each network call."""
Recorder = Callable[[Callable[[], Answer]], tuple[Callable[[], None], Answer]]
"""Runs a function of no arguments: what runs it again, and the tensors that are its answer then and after each run."""


def bucket(frames: int) -> int:
    """The length to which `frames` are lengthened: at least as many, and less than an eighth or than 8 frames more.

    Multiples of an eighth of the power of two below, or of 8.
    """
    step = max(FEWEST, 2 ** (frames.bit_length() - 1) // BUCKETS)
    return -(-frames // step) * step


class CompiledNetwork:
    """A network through `torch.compile`; as it was where that fails, with a warning of one line.

    Args:
        network: any network of a `Denoiser`.
        backend: of `torch.compile`. The default needs a C++ compiler, on a GPU also Triton.
    """

    def __init__(self, network: Callable[..., Tensor], backend: str = "inductor"):
        self.network, self.backend = network, backend
        self._compiled: Callable[..., Tensor] | None = torch.compile(network, dynamic=True, backend=backend)

    def __call__(self, x: Tensor, log_snr: Tensor, cond: Any = None) -> Tensor:
        """As the network."""
        if self._compiled is None:
            return self.network(x, log_snr, cond)
        try:
            return self._compiled(x, log_snr, cond)
        except torch._dynamo.exc.BackendCompilerFailed as error:
            reason, *_ = str(error.inner_exception).strip().partition("\n")
            warnings.warn(f"the network runs without being compiled ({reason}); is there a C++ compiler?", stacklevel=2)
            self._compiled = None
            return self.network(x, log_snr, cond)


def compiled_denoiser(denoiser: Denoiser) -> Denoiser:
    """The denoiser with its network compiled, and with a schedule that tells its numbers while a device is recorded."""
    schedule = denoiser.schedule
    if isinstance(schedule, nn.Module):
        # A learned one has its parameters beside the network's, where reading them would end the recording.
        schedule = copy.deepcopy(schedule).cpu()
    return Denoiser(CompiledNetwork(denoiser.network), schedule, denoiser.objective)


class CudaRecorder:
    """Records on a CUDA device; all recordings share one pool of memory, so only one may run at a time.

    Args:
        device: where the work runs.
    """

    def __init__(self, device: torch.device):
        self.device = device
        self.pool = torch.cuda.graph_pool_handle()

    def __call__(self, work: Callable[[], Answer]) -> tuple[Callable[[], None], Answer]:
        """See `Recorder`."""
        with torch.cuda.device(self.device):
            aside = torch.cuda.Stream()
            aside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(aside):
                for _ in range(WARM_UP):
                    work()
            torch.cuda.current_stream().wait_stream(aside)
            graph = torch.cuda.CUDAGraph()
            # Other threads may go on to allocate memory, which would spoil a capture that watches all of them.
            with torch.cuda.graph(graph, pool=self.pool, stream=aside, capture_error_mode="thread_local"):
                answer = work()
        return graph.replay, answer


class Recording:
    """One recorded call and the buffers that it reads.

    Args:
        call: answers (x1, condition, noise).
        record: what records.
        x1, condition, noise: the first inputs; those to come have their shapes.
    """

    def __init__(
        self,
        call: Callable[[Tensor, Condition, Noise], Answer],
        record: Recorder,
        x1: Tensor,
        condition: Condition,
        noise: Noise,
    ):
        self.x1 = x1.clone()
        self.condition = replace(condition, **{name: tensor.clone() for name, tensor in condition.tensors().items()})
        self.noise: dict[int, Tensor] = {}

        def drawn(step: int) -> Tensor:
            # The calls that warm up tell which steps add noise at all.
            if step not in self.noise:
                self.noise[step] = noise(step).clone()
            return self.noise[step]

        self._replay, (self._x0, self._finite) = record(lambda: call(self.x1, self.condition, drawn))

    def __call__(self, x1: Tensor, condition: Condition, noise: Noise) -> Answer:
        """The call on these inputs. The second tensor is overwritten by the next call."""
        self.x1.copy_(x1)
        given = condition.tensors()
        for name, buffer in self.condition.tensors().items():
            buffer.copy_(given[name])
        for step, buffer in self.noise.items():
            buffer.copy_(noise(step))
        self._replay()
        return self._x0.clone(), self._finite


class RecordedSampling:
    """Whole sampling calls, recorded when they first occur. Threads take turns.

    Args:
        denoiser: that all calls ask.
        context: makes the context in which the network runs, such as one of mixed precision.
        record: what records, such as a `CudaRecorder`.
        kept: how many recordings; of more, the one not used for longest is dropped.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        context: Callable[[], AbstractContextManager],
        record: Recorder,
        kept: int = KEPT,
    ):
        self.denoiser, self.context, self.record, self.kept = denoiser, context, record, kept
        self._recordings: OrderedDict[Hashable, Recording] = OrderedDict()
        self._lock = Lock()

    def __call__(self, name: str, sampler: Sampler, x1: Tensor, condition: Condition, noise: Noise) -> Tensor:
        """From x1 to x0, as the sampler does.

        Args:
            name: of the sampler: together with its number of calls it stands for its table.
            sampler: on a fixed grid.
            x1: (B, C, T) noise.
            condition: its frames (B, M, F), samples (B,) and signal, if it has one.
            noise: step -> noise like x1.

        Returns:
            (B, C, T).

        Raises:
            ValueError: the network answered NaN or infinity.
        """
        key = (name, sampler.nfe, x1.shape, getattr(condition.frames, "shape", None))
        with self._lock:
            recording = self._recordings.pop(key, None)
            if recording is None:
                while len(self._recordings) >= self.kept:
                    self._recordings.popitem(last=False)
                recording = Recording(self._call(sampler), self.record, x1, condition, noise)
            self._recordings[key] = recording
            x0, finite = recording(x1, condition, noise)
            refuse_not_finite(finite)
        return x0

    def _call(self, sampler: Sampler) -> Callable[[Tensor, Condition, Noise], Answer]:
        def call(x1: Tensor, condition: Condition, noise: Noise) -> Answer:
            # Entered anew for each recording: what a context keeps must not outlive the graph that reads it.
            with self.context():
                return sampler.integrate(self.denoiser, x1, condition, noise, None)

        return call
