"""The number of scoring processes."""

import os

from audiodiff.evaluation import scoring


def test_all_cores_are_used_without_affinity(monkeypatch):
    assert scoring._cores() == len(os.sched_getaffinity(0))
    monkeypatch.delattr(os, "sched_getaffinity")
    assert scoring._cores() == os.cpu_count()
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert scoring._cores() == 1
