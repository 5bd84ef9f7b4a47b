"""The low-latency bench measures what it says: seams where there are some, and a row for every look-ahead."""

import low_latency as bench
import pytest
import torch
from tiny_vocoders import SPEC, build, make_mel


def test_a_click_at_every_border_shows():
    noise = torch.randn(20000, generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.avg_pool1d(noise[None, None], 9, 1, 4)[0, 0]
    assert bench.seam(smooth, 512) == pytest.approx(1, abs=0.5)
    clicked = smooth + (torch.arange(20000) // 512 % 2) * 1.0
    assert bench.seam(clicked, 512) > 3


def test_every_mode_has_its_row():
    vocoder, mel = build(source=True), make_mel(60)
    rows = {}
    for look_ahead in (None, 0.02, 0.1):
        samples, work = bench.streamed(vocoder, mel, 0, 1, look_ahead)
        assert samples.shape == (60 * SPEC.hop_length,) and len(work) > 0 and min(work) > 0
        rows[look_ahead] = bench.Row([3.0, 2.0], [0.9, 0.8], [1.0, 1.1], [1.0, 2.0], [work, work])
    lines = bench.table(rows, vocoder).splitlines()
    assert len(lines) == 5 and len({line.count("|") for line in lines}) == 1
    assert "+0.00 (+0.00 to +0.00)" in lines[3] and "| 20 | 52 |" in lines[3]
