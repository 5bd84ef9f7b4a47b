"""`bench/backends.py`: every backend evaluates the same network."""

import backends
import pytest
import torch
from torch import nn

from audiodiff.nn.condition import Condition


class Gain(nn.Module):
    """A network that multiplies."""

    def __init__(self, gain: float):
        super().__init__()
        self.gain = gain

    def forward(self, x: torch.Tensor, log_snr: torch.Tensor, cond: Condition) -> torch.Tensor:
        return self.gain * x


def test_rows_state_errors_beside_the_packed_network(monkeypatch):
    arguments = torch.randn(1, 1, 64), torch.zeros(1), Condition()
    monkeypatch.setattr(backends, "inputs", lambda model, seconds: arguments)
    rows = backends.measure({"packed": Gain(1.0), "other": Gain(1.5)}, None, 0.5, 1, 3)
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert [row[:3] for row in cells] == [["0.5", "1", "packed"], ["0.5", "1", "other"]]
    assert float(cells[0][4]) == 1 and [row[5] for row in cells] == ["0e+00", "5e-01"]


@pytest.mark.slow
def test_backends_agree(tmp_path):
    found = backends.backends("speech-16k-fine", tmp_path, quick=True)
    assert {"packed", "plain", *backends.STORAGES} == found.keys()
    model = backends.VocoderModel.from_pretrained("speech-16k-fine")
    with torch.no_grad():
        for row in backends.measure(found, model, 0.5, 1, 1):
            assert float(row.split("|")[6]) < (0.05 if "int8" in row else 1e-4)
