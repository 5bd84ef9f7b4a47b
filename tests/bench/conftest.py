import sys
from pathlib import Path

import pytest
import torch

# bench/ is a folder of scripts, which import each other as such.
sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
