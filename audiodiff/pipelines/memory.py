"""Memory for a batch: refuse what cannot fit before it is begun.

Where memory is promised that is not there, as on Linux, a process that uses it is killed and says nothing. So the
memory that an evaluation of the network takes at least is compared with what is free. It is counted as the spectra that
are held at once: the features of the noisy signal and its prediction, each with a copy. Measured peaks of `speech-16k`
are 1.3 to 1.5 times this number.
"""

import math
from pathlib import Path
from typing import Any

import torch

from audiodiff.errors import UserError

_GROUP = Path("/sys/fs/cgroup")
_MEMORY = Path("/proc/meminfo")


class DoesNotFit(UserError):
    """A batch that takes more memory than is free."""


def check(network: Any, clips: int, samples: int, sample_rate: float, device: torch.device) -> None:
    """Check that a batch fits in the memory that is free.

    Args:
        network: a `Network`, or an exported one.
        clips: of the batch.
        samples: positions of the network's input, of each clip.
        sample_rate: positions per second.
        device: where it runs.

    Raises:
        DoesNotFit: it cannot; says how much is needed and free, and how many clips fit.
    """
    available, one = free(device), needed(network, samples)
    if available is None or clips * one <= available:
        return
    fitting = available // one
    fix = f"take at most {fitting} at a time (--batch-size {fitting})" if fitting else "use shorter clips"
    lengths = f"{clips} clip{'s' * (clips > 1)} of {samples / sample_rate:.0f} s"
    problem = f"takes at least {clips * one / 1e9:.1f} GB of memory, {available / 1e9:.1f} GB are free"
    raise DoesNotFit(f"a batch of {lengths}", problem, fix)


def needed(network: Any, samples: int) -> int:
    """Bytes that one evaluation of a clip takes at least."""
    network = getattr(network, "architecture", network)
    front = network.frontend
    return 4 * 2 * int(front.frames(samples)) * (front.in_features + network.num_outputs * front.out_features)


def free(device: torch.device) -> int | None:
    """Bytes of memory that are free on a device; None if that is not known."""
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    if device.type != "cpu":
        return None
    known = [found for found in (_available(), _granted()) if found is not None]
    return min(known, default=None)


def _available() -> int | None:
    """What Linux can give without swapping."""
    try:
        lines = _MEMORY.read_text(encoding="utf-8").splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, IndexError, StopIteration):
        return None


def _granted() -> int | None:
    """What is left of the limit of a container (control groups, version 2), of which caches can be dropped."""
    try:
        limit = float((_GROUP / "memory.max").read_text().strip().replace("max", "inf"))
        statistics = dict(line.split() for line in (_GROUP / "memory.stat").read_text().splitlines())
        caches = sum(int(statistics.get(name, 0)) for name in ("active_file", "inactive_file"))
        used = int((_GROUP / "memory.current").read_text()) - caches
        return None if math.isinf(limit) else max(0, int(limit) - used)
    except (OSError, ValueError):
        return None
