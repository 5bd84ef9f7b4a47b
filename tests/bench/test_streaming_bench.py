"""The streaming bench measures what it says: whole clips, in rows for every length and every chunk."""

import pytest
import streaming
import torch


def test_a_clip_is_streamed_whole(monkeypatch):
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
    streamed, whole = streaming.memory(0.05, whole=False), streaming.memory(0.05, whole=True)
    assert streamed.minutes == 0.05 and streamed.seconds > 0 and streamed.megabytes >= 0
    rows = streaming.memory_table([streamed, streamed._replace(minutes=1.0)], [whole]).splitlines()
    assert len(rows) == 4 and {row.count("|") for row in rows} == {5}
    assert rows[-1].endswith("|  |")


def test_pieces_of_a_mel_are_the_mel():
    assert torch.equal(torch.cat(list(streaming.mels(0.05, 7)), -1), torch.cat(list(streaming.mels(0.05, 1000)), -1))


def test_every_chunk_has_its_row(monkeypatch):
    monkeypatch.setattr(streaming, "CONSISTENCY", 2)
    vocoder = streaming.small()
    mel = torch.cat(list(streaming.mels(0.1)), -1)
    rows = streaming.computation_table(vocoder, mel, (32, 64), rounds=1).splitlines()
    cells = [[float(cell) for cell in row.strip("|").split("|")] for row in rows[2:]]
    assert [row[0] for row in cells] == [32, 64]
    assert all(row[5] < 1e-5 for row in cells)
    reach, hop = vocoder.model.network.receptive_field, vocoder.spec.hop_length
    assert cells[0][3] == pytest.approx(1 + 2 * reach / (32 * hop), abs=0.01)
    halo = vocoder.stream([], streaming.STEPS, consistency=2).halo
    assert cells[1][2] == pytest.approx((64 * hop + halo) / 16000, abs=0.01)
