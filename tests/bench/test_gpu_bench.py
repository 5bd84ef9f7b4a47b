"""The GPU benchmark end to end, on the CPU and without compilation."""

import json
import sys

import gpu
import pytest
import torch

from audiodiff.pipelines import compiled


@pytest.fixture
def not_compiled(monkeypatch):
    monkeypatch.setattr(compiled, "CompiledNetwork", lambda network: network)


def test_runs_on_cpu_and_writes_its_own_files(not_compiled, monkeypatch, tmp_path, capsys):
    options = ["--seconds", "0.2", "--batches", "1", "2", "--steps", "2", "--rounds", "1", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--device", "cpu", *options])
    gpu.main()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["gpu_cpu.json", "gpu_cpu.md"]
    assert "Speed of sampling on cpu" in (tmp_path / "gpu_cpu.md").read_text()
    record = json.loads((tmp_path / "gpu_cpu.json").read_text())
    assert record["environment"]["device"] == "cpu" and list(record["rates"]) == ["float32"]
    found = [(row["batch"], row["mode"]) for row in record["rows"]]
    assert found == [(batch, mode) for batch in (1, 2) for mode in ("eager", "compiled")]
    for row in record["rows"]:
        assert row["real_time_factor"] > 0 and row["of_the_bound"] > 0 and row["launches"] is None
        assert row["difference"] == 0
    assert "TFLOP/s" in capsys.readouterr().out


@torch.inference_mode()
def test_flop_count_matches_the_convolutions(not_compiled):
    setting = gpu.Setting(torch.device("cpu"), seconds=0.2, batches=(1,), steps=2, rounds=1)
    denoiser = gpu.build(setting.device)
    calls = gpu.modes(denoiser, gpu.precise("float32", setting.device), setting, batch=3)
    output = calls["eager"]()
    assert output.shape == (3, 1, 12 * 256) and output.abs().max() > 0
    with gpu.FlopCounterMode(display=False) as counter:
        calls["eager"]()
    weights = sum(p.numel() for name, p in denoiser.network.named_parameters() if p.ndim == 3)
    # Each weight of a convolution works once a frame: 15 of them, padded to 16, or half as many at the bottom.
    assert 2 * 3 * 8 * 2 * weights < counter.get_total_flops() < 2 * 3 * 16 * 2 * weights
