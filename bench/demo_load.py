"""Many visitors of the demo at once: failures, answers that were mixed up, waiting times, and memory of the server.

Each visitor is a `gradio_client.Client` in a thread of its own, which sends one request after the other: a drum or a
sentence, with one of a few seeds. The same request must always have the same answer, to the byte, and the settings that
were sent. The server is a process of its own, whose memory is read from /proc.

    python bench/demo_load.py --visitors 50 --seconds 600

The last line is the verdict, and the exit status: no failure, nothing mixed up, and memory that grows by less than
`SLOPE`, from the highest of the third quarter of the time to the highest of the last. The slope of a line would take
it for growth that the system took pages back for a while.
"""

import argparse
import hashlib
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from gradio_client import Client

SEEDS = 8
START_SECONDS = 120.0
REQUEST_SECONDS = 300.0
READ_SECONDS = 2.0  # between two readings of memory
SLOPE = 1.0  # MB per minute, of memory that is flat


class Load:
    """What all visitors did.

    Args:
        url: of the page.
        until: monotonic time after which no request is begun.
    """

    def __init__(self, url: str, until: float):
        self.url, self.until = url, until
        self.lock = threading.Lock()
        self.failures: Counter[str] = Counter()
        self.mixed_up = 0
        self.waits: list[float] = []
        self.answers: dict[tuple, str] = {}

    def visit(self, number: int) -> None:
        """Send requests until the time is over."""
        draw = random.Random(number)
        try:
            with TemporaryDirectory() as folder:
                patient = {"timeout": REQUEST_SECONDS}
                client = Client(self.url, verbose=False, download_files=folder, httpx_kwargs=patient)
                while time.monotonic() < self.until:
                    self._ask(client, draw)
        except Exception as error:
            self._fail(error)

    def _ask(self, client: Client, draw: random.Random) -> None:
        seed = draw.randrange(SEEDS)
        if draw.random() < 0.7:
            request = {"api_name": "/generate", "model": "drums", "labels": [draw.choice(["kick", "snare", "hat"])]}
        else:
            request = {"api_name": "/say", "text": draw.choice(["The file is ready.", "Hello there."])}
        request |= {"seed": seed, "steps": 4}
        began = time.monotonic()
        try:
            files, settings = client.submit(**request).result(REQUEST_SECONDS)
        except Exception as error:
            self._fail(error)
            return
        digest = hashlib.sha256(Path(files[0]).read_bytes()).hexdigest()
        for file in files:
            Path(file).unlink()
        sent = all(settings.get(name) == value for name, value in request.items() if name != "api_name")
        with self.lock:
            self.waits.append(time.monotonic() - began)
            same = self.answers.setdefault(tuple(map(str, request.values())), digest) == digest
            self.mixed_up += not (sent and same)

    def _fail(self, error: Exception) -> None:
        with self.lock:
            self.failures[f"{type(error).__name__}: {str(error)[:80]}"] += 1

    def report(self, memory: list[float]) -> dict:
        """What happened, as JSON; memory in MB."""
        waits = np.array(self.waits or [np.nan])
        second = np.array(memory[len(memory) // 2 :] or [np.nan])
        digests = set(self.answers.values())
        return {
            "answers": len(self.waits),
            "failures": dict(self.failures),
            "mixed_up": self.mixed_up,
            "different_requests": len(self.answers),
            "different_answers": len(digests),
            "wait_median_s": round(float(np.median(waits)), 2),
            "wait_95_s": round(float(np.quantile(waits, 0.95)), 2),
            "memory_mb": {"first": round(memory[0]), "middle": round(second[0]), "last": round(memory[-1])},
            "memory_growth_mb_per_minute": round(growth(memory), 2),
        }


def growth(memory: list[float]) -> float:
    """How much the highest of the last quarter of readings exceeds that of the third one, per minute; NaN of few."""
    quarter = len(memory) // 4
    if not quarter:
        return np.nan
    gained = max(memory[-quarter:]) - max(memory[-2 * quarter : -quarter])
    return gained / (quarter * READ_SECONDS / 60)


def resident(pid: int) -> float:
    """Resident memory of a process, in MB."""
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def serve(port: int, folder: str) -> subprocess.Popen:
    """Start the demo, and wait until it answers.

    Raises:
        TimeoutError: it does not.
    """
    environment = os.environ | {"GRADIO_TEMP_DIR": folder, "GRADIO_ANALYTICS_ENABLED": "False"}
    command = [sys.executable, "-m", "audiodiff", "demo", "--model", "drums", "--port", str(port), "--device", "cpu"]
    server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    patience = time.monotonic() + START_SECONDS
    while time.monotonic() < patience and server.poll() is None:
        try:
            Client(f"http://127.0.0.1:{port}", verbose=False)
        except Exception:
            time.sleep(1)
        else:
            return server
    server.kill()
    raise TimeoutError("the demo did not start")


def verdict(found: dict) -> list[str]:
    """What a report fails; empty if nothing."""
    slope = found["memory_growth_mb_per_minute"]
    return [
        *(["no answer"] if not found["answers"] else []),
        *(["failures"] if found["failures"] else []),
        *(["mixed up"] if found["mixed_up"] else []),
        *([f"memory grows by {slope:g} MB per minute"] if not slope <= SLOPE else []),  # nor NaN
    ]


def main() -> None:
    """Serve, visit and report."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--visitors", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--port", type=int, default=7899)
    arguments = parser.parse_args()
    with TemporaryDirectory() as folder:
        server = serve(arguments.port, folder)
        try:
            load = Load(f"http://127.0.0.1:{arguments.port}", time.monotonic() + arguments.seconds)
            visitors = [threading.Thread(target=load.visit, args=(number,)) for number in range(arguments.visitors)]
            for visitor in visitors:
                visitor.start()
            memory = []
            while any(visitor.is_alive() for visitor in visitors):
                if time.monotonic() < load.until:
                    memory.append(resident(server.pid))
                time.sleep(READ_SECONDS)
        finally:
            server.terminate()
            server.wait()
    found = load.report(memory)
    print(json.dumps({"visitors": arguments.visitors, "seconds": arguments.seconds} | found, indent=2))
    failed = verdict(found)
    print(f"FAIL: {', '.join(failed)}" if failed else f"PASS: memory within {SLOPE:g} MB per minute")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
