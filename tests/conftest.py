"""One torch thread per test process and its subprocesses.

OpenMP threads spin while they wait: beside another busy process, a test process with two threads takes several times as
long as with one. Set before torch is loaded; a value in the environment is kept.
"""

import os
from contextlib import contextmanager

import pytest

pytest_plugins = ["tiny_models", "exported_models", "headless"]

# No test asks a hub on the network; tests of one have their own.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")


@pytest.fixture
def limit_files():
    """`with limit_files(size)`: writing more than `size` bytes to a file fails.

    A context manager, since pytest writes its own report before fixtures are torn down.
    """
    resource = pytest.importorskip("resource")

    @contextmanager
    def limited(size: int):
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limited


@pytest.fixture
def packed_products():
    """`packed_products(function)`: how many products with packed weights a call computes."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    if not torch.backends.mkldnn.is_available():
        pytest.skip("this PyTorch packs no weights")

    class Count(TorchDispatchMode):
        found = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            self.found += func is torch.ops.mkldnn._linear_pointwise.default
            return func(*args, **kwargs or {})

    def count(function) -> int:
        with Count() as mode:
            function()
        return mode.found

    return count
