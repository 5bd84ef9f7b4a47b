"""The bench of mel specs: noise gets the mel that it is projected to, and every spec has its row."""

import mel_spec as bench
import pytest
import torch

from audiodiff.audio.mel import PRESETS, MelSpectrogram


def test_consistent_noise_comes_closer_to_the_mel():
    spec = PRESETS["speech_16k_fine"]
    time = torch.arange(16 * spec.hop_length) / spec.sample_rate
    recording = 0.1 * torch.sin(2 * torch.pi * 200 * time) + 0.01 * torch.sin(2 * torch.pi * 1500 * time)
    mel = MelSpectrogram(spec)(recording[None])
    none, some, many = bench.consistent_noise(recording, spec, (0, 4, 32), seed=1)
    assert none.shape == some.shape == recording.shape
    errors = [(MelSpectrogram(spec)(made[None]) - mel).abs().mean().item() for made in (none, some, many)]
    assert errors[2] < errors[1] < errors[0] and errors[2] < 0.5 * errors[0]


@pytest.mark.parametrize("name", ["speech_16k", "speech_16k_fine"])
def test_a_row_says_what_the_mel_costs(name, monkeypatch):
    for metric in ("pesq_wb", "stoi", "dnsmos_overall"):
        monkeypatch.setattr(bench, metric, lambda reference, made, rate: float(len(reference) == len(made)))
    cells = bench.row(name, bench.SPECS[name], [torch.randn(5000)], [3]).split("|")
    assert cells[1].strip() == name and cells[5].strip() == {"speech_16k": "5,000", "speech_16k_fine": "10,000"}[name]
    assert cells[6].strip() == "1.00, 1.000, 1.00"
