"""The bench of vocoders' speed: what is timed, how it is summarized, and a peer that is not installed."""

import math
import time

import pytest
import vocoder_speed
from tiny_models import make_model
from vocoder_speed import System, comparisons, measure, ours, peers, table

from audiodiff.models.setting import Setting


def sleeping(name: str, steps: int, pace: float, peer: bool = False) -> System:
    """A system of so many seconds of work for a second of audio; busy, as CPU time is measured."""

    def synthesize(seconds: float):
        def work():
            end = time.process_time() + pace * seconds
            while time.process_time() < end:
                pass

        return work

    return System(name, steps, 16000, 2_000_000, synthesize, peer=peer)


def test_systems_take_turns_and_speeds_are_times_real_time(monkeypatch):
    own, other = sleeping("mine", 1, 0.02), sleeping("Vocos", 1, 0.04, peer=True)
    measure([own, other], [1], [0.1, 0.2], rounds=3)
    assert all(len(work) == 3 for system in (own, other) for work in system.work.values())
    assert own.speed(1, 0.1) == pytest.approx(50, rel=0.2) and other.speed(1, 0.2) == pytest.approx(25, rel=0.2)
    assert math.isnan(own.speed(2, 0.1))
    (line,) = comparisons([own, other], [1], [0.1, 0.2])
    assert line.startswith("- mine / Vocos, 1 thread: ")
    assert 1.5 < float(line.split(": ")[1].split()[0]) < 2.5
    rows = table([own, other], [1, 2], [0.1, 0.2]).splitlines()
    assert len(rows) == 6 and rows[4].endswith("| 2 | – | – |")
    monkeypatch.setattr(vocoder_speed, "BUDGET", 0.003)
    slow = sleeping("slow", 1, 0.1)
    measure([slow], [1], [0.1], rounds=3)
    assert len(slow.work[1, 0.1]) == 1  # no second round of a system that takes long


def test_ours_are_the_models_settings_and_numbers_of_steps(tmp_path):
    own = [Setting("fast", 1, "ddim", 2), Setting("good", 3, "v_3m", 5)]
    make_model(settings=own).save_pretrained(tmp_path)
    systems = ours(str(tmp_path))
    names = [system.name.removeprefix(f"{tmp_path}, ") for system in systems]
    assert names[:2] == ["setting fast (2 iterations)", "setting good (5 iterations)"]
    assert names[2:] == [f"{steps} (2 iterations)" for steps in ("1 step", "4 steps", "6 steps")]
    assert [system.steps for system in systems] == [1, 3, 1, 4, 6]
    assert len(systems[1].synthesize(0.5)().samples) >= 8000


def test_a_peer_that_is_not_installed_is_left_out_in_one_line(monkeypatch, capsys):
    def missing():
        raise ImportError("No module named 'vocos'")

    monkeypatch.setattr(vocoder_speed, "PEERS", {"vocos": missing})
    assert peers() == []
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and error.startswith("vocos is left out") and "pip install --no-deps vocos" in error
