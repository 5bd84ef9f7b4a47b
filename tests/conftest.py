"""One torch thread for every test process and for what it starts.

OpenMP threads spin while they wait: beside another busy process, a test process with two threads takes
several times as long as with one thread each. Set before torch is loaded; a value that is already set wins.
"""

import os

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
