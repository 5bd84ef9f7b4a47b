"""Files are whole or absent whatever their names and whoever was killed; of a folder there is one holder at a time."""

import errno
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiodiff import files
from audiodiff.errors import UserError
from audiodiff.files import LOCK, atomic_write, folder_lock, is_safe_relative_path, short_name, write_text, write_texts

NAMES = {
    "of 255 bytes": "x" * 251 + ".txt",
    "of 80 Japanese letters": "あ" * 80 + ".txt",
    "not UTF-8": os.fsdecode(b"caf\xe9.txt"),
    "with a long ending": "No. " + "1" * 240,
    "hidden": ".x",
}


@pytest.fixture
def swept(monkeypatch):
    """As in a process that has not written anything yet."""
    monkeypatch.setattr(files, "_swept", set())


def killed(code: str, *arguments: object) -> subprocess.Popen:
    """A process that runs `code`, says that it is ready, and is then killed."""
    process = process_of(code, *arguments)
    process.kill()
    process.wait()
    return process


def process_of(code: str, *arguments: object) -> subprocess.Popen:
    """A process that runs `code`, has said that it is ready, and waits."""
    whole = f"import sys\nfrom audiodiff.files import *\n{code}"
    command = [sys.executable, "-c", whole, *map(str, arguments)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


WRITE = "with atomic_write(sys.argv[1]) as path: path.write_text('half'); print('ready', flush=True); input()"
HOLD = "with folder_lock(sys.argv[1]): print('ready', flush=True); input()"


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_files_of_any_name_are_written_and_replaced(tmp_path, name):
    for text in ("one", "two"):
        write_text(tmp_path / name, text)
        assert (tmp_path / name).read_text() == text
    assert [os.fsencode(found) for found in os.listdir(tmp_path)] == [os.fsencode(name)]


@pytest.mark.parametrize("name", [f"a{ending}" for ending in (".wav", ".FLAC", ".safetensors", "")])
def test_the_temporary_name_keeps_the_suffix(tmp_path, name):
    with atomic_write(tmp_path / name) as temporary:
        temporary.touch()
        assert temporary.suffix in (Path(name).suffix, ".tmp") and len(temporary.name) < 64


def test_a_name_that_the_file_system_refuses_is_one_line(tmp_path):
    with pytest.raises(UserError, match="shorten") as caught:
        write_text(tmp_path / ("x" * 300), "text")
    assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["", ".", "..", "a/..", "../a", "/", "/a", "a\0"])
def test_paths_outside_a_folder_are_unsafe(name):
    assert not is_safe_relative_path(name) and is_safe_relative_path("a/b") and is_safe_relative_path("..a")


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1, max_size=400), st.integers(0, 100))
def test_short_names_fit_and_are_distinct(name, room):
    found = short_name(name, room)
    assert len(os.fsencode(found)) <= 255 - room
    assert found == name or (len(os.fsencode(name)) > 255 - room and found != short_name(f"{name}x", room))


def test_short_names_begin_as_the_whole():
    name = os.fsdecode("あ".encode() * 79 + b"\xe9" + "い".encode() * 79)
    assert short_name(name).startswith("あ" * 69) and os.fsencode(short_name(name)).decode()


def test_temporary_files_of_killed_processes_are_removed(tmp_path, swept):
    killed(WRITE, tmp_path / "a.txt")
    (left,) = tmp_path.glob(".*.tmp.txt")
    write_text(tmp_path / "b.txt", "whole")
    assert left.exists()  # so new that its writer may not be gone
    os.utime(left, (time.time() - 2 * files._FRESH_SECONDS,) * 2)
    files._swept.clear()
    write_text(tmp_path / "b.txt", "whole")
    assert os.listdir(tmp_path) == ["b.txt"]


def test_threads_may_write_the_same_file(tmp_path):
    def write(text):
        for _ in range(50):
            write_text(tmp_path / "same.txt", text)

    texts = [letter * 10_000 for letter in "abc"]
    with ThreadPoolExecutor(3) as threads:
        list(threads.map(write, texts))
    assert (tmp_path / "same.txt").read_text() in texts and os.listdir(tmp_path) == ["same.txt"]


def test_process_ids_are_compared_within_one_container_only(tmp_path, swept, monkeypatch):
    killed(WRITE, tmp_path / "a.txt")
    (left,) = tmp_path.iterdir()
    os.utime(left, (time.time() - 2 * files._FRESH_SECONDS,) * 2)
    files._machine.cache_clear()
    with monkeypatch.context() as container:
        container.setattr(os, "readlink", lambda path: "pid:[1]")  # same host name, other process ids
        write_text(tmp_path / "b.txt", "whole")
    files._machine.cache_clear()
    assert left.exists()


def test_files_of_running_writers_of_other_machines_and_of_others_stay(tmp_path, swept):
    elsewhere, others = f".{'0' * 16}.abcdef.1.0.tmp.wav", [".d.1.tmp.wav", ".notes.tmp", ".a.b.c.d.tmp"]
    for name in (elsewhere, *others):
        (tmp_path / name).touch()
    writer = process_of(WRITE, tmp_path / "a.txt")
    for path in tmp_path.glob("*.txt"):  # its file is old, but it still runs
        os.utime(path, (time.time() - 2 * files._FRESH_SECONDS,) * 2)
    write_text(tmp_path / "b.txt", "whole")
    assert len(os.listdir(tmp_path)) == 6
    writer.communicate("\n")
    assert (tmp_path / "a.txt").read_text() == "half"
    os.utime(tmp_path / elsewhere, (time.time() - 2 * files._STALE_SECONDS,) * 2)
    files._swept.clear()
    write_text(tmp_path / "b.txt", "whole")
    assert sorted(os.listdir(tmp_path)) == sorted(["a.txt", "b.txt", *others])


def test_a_folder_has_one_holder_who_is_named_and_leaves_nothing(tmp_path):
    holder = process_of(HOLD, tmp_path / "new")
    with pytest.raises(UserError, match=f"process {holder.pid} on .* since") as caught, folder_lock(tmp_path / "new"):
        pass
    assert "\n" not in str(caught.value) and caught.value.subject == str(tmp_path / "new")
    holder.communicate("\n")
    mine = pytest.raises(UserError, match=f"process {os.getpid()} ")
    with folder_lock(tmp_path / "new"), mine, folder_lock(tmp_path / "new"):
        pass
    assert os.listdir(tmp_path) == []  # which was created for the lock alone
    with folder_lock(tmp_path / "new"):
        write_text(tmp_path / "new" / "a", "text")
    assert os.listdir(tmp_path / "new") == ["a"]


def test_the_lock_of_a_killed_process_is_gone(tmp_path):
    killed(HOLD, tmp_path)
    assert (tmp_path / LOCK).exists()
    with folder_lock(tmp_path):
        assert f"process {os.getpid()} " in (tmp_path / LOCK).read_text()
    assert not (tmp_path / LOCK).exists()


def test_a_forked_process_does_not_hold_on_to_the_lock_of_a_killed_one(tmp_path):
    code = """
with folder_lock(sys.argv[1]):
    forked = os.fork()
    if forked:
        print("ready", forked, flush=True)
        sys.stdin.read()
    time.sleep(60)
"""
    command = [sys.executable, "-c", f"import os, sys, time\nfrom audiodiff.files import *\n{code}", str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        forked = int(process.stdout.readline().split()[1])
        process.kill()
        process.wait()
        try:
            with folder_lock(tmp_path):
                os.kill(forked, 0)  # which still runs
        finally:
            os.kill(forked, signal.SIGKILL)


def test_waiting_for_a_lock_names_its_holder(tmp_path):
    holder = process_of(HOLD, tmp_path)
    code = "import sys\nfrom audiodiff.files import *\n" + HOLD.replace("1])", "1], wait=True)")
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    waiting = subprocess.Popen([sys.executable, "-c", code, tmp_path], text=True, **pipes)
    assert f"waiting for process {holder.pid} " in waiting.stderr.readline()
    holder.communicate("\n")
    assert waiting.stdout.readline() == "ready\n"
    with pytest.raises(UserError, match=f"process {waiting.pid} "), folder_lock(tmp_path):
        pass
    waiting.communicate("\n")
    assert os.listdir(tmp_path) == []


def test_no_lock_without_write_permission(tmp_path, recwarn):
    (tmp_path / "file").touch()
    with folder_lock(tmp_path / "file" / "folder"):
        pass
    assert not recwarn


def test_a_lock_that_another_users_killed_process_left_can_be_taken(tmp_path, monkeypatch):
    killed(HOLD, tmp_path)
    real = os.open

    def not_mine(path, flags, *mode):
        if flags & os.O_RDWR:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return real(path, flags, *mode)

    monkeypatch.setattr(os, "open", not_mine)
    with folder_lock(tmp_path), pytest.raises(UserError, match="is in use by process"), folder_lock(tmp_path):
        pass


def test_a_link_in_the_place_of_the_lock_is_not_followed(tmp_path):
    (tmp_path / "victim").write_text("precious")
    (tmp_path / LOCK).symlink_to(tmp_path / "victim")
    with pytest.warns(UserWarning, match="cannot be locked"), folder_lock(tmp_path):
        pass
    assert (tmp_path / "victim").read_text() == "precious"


def test_of_several_files_all_or_none_are_written(tmp_path):
    write_texts({tmp_path / "a": "old", tmp_path / "b": "old"})
    with pytest.raises(UserError, match="c/b: cannot be written"):
        (tmp_path / "c").write_text("no folder")
        write_texts({tmp_path / "a": "new", tmp_path / "c" / "b": "new"})
    assert (tmp_path / "a").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c"]
