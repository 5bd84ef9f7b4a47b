"""One torch thread for every test process and for what it starts.

OpenMP threads spin while they wait: beside another busy process, a test process with two threads takes
several times as long as with one thread each. Set before torch is loaded; a value that is already set wins.
"""

import os

import pytest

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")


@pytest.fixture
def limit_files():
    """`limit_files(size)`: from now on writing more than so many bytes to a file fails; `limit_files()`: no longer."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size=before[0]: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
