"""How many processes metric."""

import os

from audiodiff.evaluation import scoring


def test_where_the_system_does_not_say_which_cores_are_free_all_are(monkeypatch):
    assert scoring._cores() == len(os.sched_getaffinity(0))
    monkeypatch.delattr(os, "sched_getaffinity")
    assert scoring._cores() == os.cpu_count()
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert scoring._cores() == 1
