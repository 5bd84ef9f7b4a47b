"""One torch thread for every test process and for what it starts.

OpenMP threads spin while they wait: beside another busy process, a test process with two threads takes
several times as long as with one thread each. Set before torch is loaded; a value that is already set wins.
"""

import os
from contextlib import contextmanager

import pytest

pytest_plugins = ["tiny_models"]

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")


@pytest.fixture
def limit_files():
    """`with limit_files(size)`: writing more than so many bytes to a file fails.

    A block, and not the rest of the test: pytest writes its own report before fixtures are torn down.
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
