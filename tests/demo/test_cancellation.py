"""A canceled request stops at the sampler's next step."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.request import Request, urlopen

import pytest
from gradio_client import Client, handle_file

from audiodiff.demo.cancellation import run_with_progress
from audiodiff.pipelines.pipeline import Progress

STEPS = 50  # of a request
PATIENCE = 30  # seconds


@pytest.fixture
def page(url):
    return Client(url, verbose=False)


def until(condition):
    patience = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < patience
        time.sleep(0.01)


def assert_stopped(began):
    """No more than the step that was under way, and perhaps one that had just begun."""
    before = len(began)
    time.sleep(0.6)
    assert len(began) <= before + 2 < STEPS
    before = len(began)
    time.sleep(0.3)
    assert len(began) == before


def ask(page, recording, steps):
    options = {"steps": str(steps), "sampler": "ddim", "consistency": "0"}
    return page.submit(recording=handle_file(recording), **options, api_name="/resynthesize")


def test_a_canceled_request_stops_and_the_next_one_is_served(page, recording, slow_network):
    job = ask(page, recording, STEPS)
    until(lambda: len(slow_network) > 2)
    job.cancel()
    assert_stopped(slow_network)
    assert ask(page, recording, 2).result(PATIENCE)[1]["steps"] == 2


@pytest.mark.parametrize("waiting", [False, True], ids=["running", "waiting in the queue"])
def test_the_request_of_a_visitor_who_has_left_stops(page, url, upload, tabs, runs, recording, slow_network, waiting):
    """A program sends a request by plain HTTP and closes the connection."""
    first = ask(page, recording, 10) if waiting else None
    until(lambda: slow_network or not waiting)
    call = f"{url}gradio_api/call/resynthesize"
    values = tabs(runs=runs)["resynthesize"].defaults
    values |= {"recording": upload(url, recording), "steps": STEPS, "sampler": "ddim", "consistency": 0}
    body = json.dumps({"data": list(values.values())}).encode()
    with urlopen(Request(call, body, {"Content-Type": "application/json"}), timeout=PATIENCE) as answer:
        event = json.load(answer)["event_id"]
    with urlopen(f"{call}/{event}", timeout=PATIENCE):
        until(lambda: len(slow_network) > 2)
    if waiting:
        first.result(PATIENCE)
    assert_stopped(slow_network)
    assert ask(page, recording, 2).result(PATIENCE)[1]["steps"] == 2


class Bar:
    """A progress bar that remembers."""

    def __init__(self):
        self.seen = []

    def __call__(self, at, desc, unit):
        self.seen.append(at)


def test_the_result_comes_after_an_update_for_every_step():
    def work(callback):
        for i in range(3):
            callback(Progress(i + 1, 3))
        return "sound"

    bar = Bar()
    run = run_with_progress(work, bar, ThreadPoolExecutor(1), lambda progress: f"after {progress.done}")
    updates = [next(run) for _ in range(3)]
    assert updates == ["after 1", "after 2", "after 3"] and bar.seen == [(1, 3), (2, 3), (3, 3)]
    with pytest.raises(StopIteration) as ended:
        next(run)
    assert ended.value.value == "sound"


def test_a_closed_run_stops_at_its_next_step():
    began = []

    def work(callback):
        for i in range(1000):
            began.append(i)
            time.sleep(0.02)
            callback(Progress(i + 1, 1000))

    run = run_with_progress(work, Bar(), ThreadPoolExecutor(1))
    next(run)
    run.close()
    time.sleep(0.2)
    assert len(began) <= 3


def test_what_the_work_raises_is_raised():
    def work(callback):
        callback(Progress(1, 2))
        raise MemoryError("too long")

    run = run_with_progress(work, Bar(), ThreadPoolExecutor(1))
    next(run)
    with pytest.raises(MemoryError, match="too long"):
        next(run)


def test_the_next_run_waits_for_the_last_step_of_a_closed_one():
    worker, seen = ThreadPoolExecutor(1), []

    def work(name):
        def sample(callback):
            for i in range(3):
                callback(Progress(i + 1, 3))
                seen.append(f"{name} begins")
                time.sleep(0.2)
                seen.append(f"{name} ends")

        return sample

    first = run_with_progress(work("first"), Bar(), worker)
    next(first)
    until(lambda: seen)
    first.close()
    list(run_with_progress(work("second"), Bar(), worker))
    assert seen == ["first begins", "first ends", *3 * ["second begins", "second ends"]]
