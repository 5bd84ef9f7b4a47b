"""How many processes judge."""

import os

from audiodiff.evaluation import judging


def test_where_the_system_does_not_say_which_cores_are_free_all_are(monkeypatch):
    assert judging._cores() == len(os.sched_getaffinity(0))
    monkeypatch.delattr(os, "sched_getaffinity")
    assert judging._cores() == os.cpu_count()
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert judging._cores() == 1
