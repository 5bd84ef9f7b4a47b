"""Rendering between object stores: the same bytes as between folders."""

import json
import socket
import sys

import pytest

from audiodiff import remote
from audiodiff.audio import io
from audiodiff.audio.mel.file import save_mel
from audiodiff.cli import main
from audiodiff.errors import UserError
from audiodiff.rendering.options import FileOptions, RenderOptions
from audiodiff.rendering.registry import Request, render_request

upath = pytest.importorskip("upath")


@pytest.fixture(scope="module")
def bucket():
    """The URL of a bucket of a server on this machine."""
    server = pytest.importorskip("moto.server").ThreadedMotoServer(port=0, verbose=False)
    pytest.importorskip("s3fs")
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "someone",
            "AWS_SECRET_ACCESS_KEY": "something",
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():
            patch.setenv(name, value)
        upath.UPath("s3://clips").mkdir()
        yield "s3://clips"
    server.stop()


@pytest.fixture(scope="module")
def google_bucket():
    """The URL of a bucket of a server on this machine that speaks as Google's does."""
    server_module = pytest.importorskip("gcp_storage_emulator.server")
    with socket.socket() as free, pytest.MonkeyPatch.context() as patch:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
        free.close()
        patch.setenv("STORAGE_EMULATOR_HOST", f"http://localhost:{port}")
        # Asks Google's gRPC, which the server does not have, what type of bucket it is.
        patch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
        pytest.importorskip("gcsfs")
        server = server_module.create_server("localhost", port, in_memory=True, default_bucket="clips")
        server.start()
        yield "gs://clips"
        server.stop()


@pytest.fixture(params=["memory", "s3", "gs"])
def store(request):
    """The URL of an empty folder."""
    servers = {"s3": "bucket", "gs": "google_bucket"}
    root = request.getfixturevalue(servers[request.param]) if request.param in servers else "memory://clips"
    yield f"{root}/{request.node.name.partition('[')[0]}"
    if request.param == "memory":
        upath.UPath(root).fs.store.clear()


@pytest.fixture
def inputs(tmp_path, recording, vocoder):
    """A folder of recordings and mels, and a table of two of them."""
    folder = tmp_path / "in"
    for i, name in enumerate(("a", "sub/b", "sub/c")):
        io.write(folder / f"{name}.wav", recording(2000 + 500 * i, seed=i))
    save_mel(folder / "m.npy", vocoder.mel(recording(3000, seed=9)), vocoder.spec)
    (folder / "table.csv").write_text("input,name,seed\nsub/b.wav,first,3\na.wav,second,\n")
    return folder


def put(folder, url):
    target = upath.UPath(url)
    for path in folder.rglob("*"):
        if path.is_file():
            remote.upload(path, target / str(path.relative_to(folder)))


def audio(folder) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.wav")}


def run(model, sources, out, **files):
    reported = []
    options = RenderOptions(steps=1, consistency=0)
    request = Request(inputs=sources, out=out, options=options, files=FileOptions(batch_size=2, **files))
    return render_request(model, request, reported.append, quiet=True), [str(error) for error in reported]


@pytest.mark.parametrize("source", ["", "table.csv"])
def test_from_store_to_store_as_from_folder_to_folder(model_folder, inputs, store, tmp_path, source):
    put(inputs, f"{store}/in{source[:1]}")
    clips = 2 if source else 4
    assert run(model_folder, [inputs / source], tmp_path / "out")[0].written == clips
    url, sources = f"{store}/out{source[:1]}", [f"{store}/in{source[:1]}/{source}".rstrip("/")]
    assert run(model_folder, sources, url)[0].written == clips
    out = upath.UPath(url)
    assert audio(out) == audio(tmp_path / "out") and len(audio(out)) == clips
    entries = json.loads((out / ("first.wav.json" if source else "sub/b.wav.json")).read_text())
    assert entries["input"] == f"{store}/in{source[:1]}/sub/b.wav"
    log = [json.loads(line)["event"] for line in (out / "render.log.jsonl").read_text().splitlines()]
    assert log == ["started", *["written"] * clips, "ended"]
    assert run(model_folder, sources, url)[0].skipped == clips
    (out / ("first.wav" if source else "sub/c.wav")).unlink()
    outcome, _ = run(model_folder, sources, url)
    assert (outcome.written, outcome.skipped) == (1, clips - 1) and audio(out) == audio(tmp_path / "out")
    with pytest.raises(UserError, match="another bit depth"):
        run(model_folder, sources, url, bit_depth="24")


def test_a_missing_or_damaged_object_is_one_line_and_the_others_are_rendered(model_folder, inputs, store, tmp_path):
    (inputs / "table.csv").write_text("input\nnone.wav\na.wav\nbad.wav\n")
    (inputs / "bad.wav").write_bytes(b"nothing")
    put(inputs, f"{store}/in")
    outcome, errors = run(model_folder, [f"{store}/in/table.csv"], tmp_path / "out")
    assert (outcome.written, outcome.failed) == (1, 2) and all("\n" not in error for error in errors)
    assert sorted(error.partition(": ")[0] for error in errors) == [f"{store}/in/bad.wav", f"{store}/in/none.wav"]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("nowhere://a/b", "cannot be opened"),
        ("memory://none/a.wav", "no such file or folder"),
        ("s3://", "names no bucket; write it as s3://bucket/folder"),
        ("gs://", "names no bucket"),
    ],
)
def test_what_is_not_there_is_one_line(model_folder, tmp_path, monkeypatch, capsys, url, words):
    arguments = ["audiodiff", "render", url, "--model", str(model_folder), "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit) as ended:
        main()
    (line,) = capsys.readouterr().err.splitlines()
    assert ended.value.code == 1 and url in line and words in line


@pytest.mark.parametrize(("scheme", "server"), [("s3", "bucket"), ("gs", "google_bucket")])
def test_a_store_that_cannot_be_reached_is_one_line(model_folder, inputs, request, scheme, server):
    request.getfixturevalue(server)
    with pytest.raises(UserError, match=rf"^{scheme}://no-such-bucket/out/.*(cannot be reached|no such file)"):
        run(model_folder, [inputs / "a.wav"], f"{scheme}://no-such-bucket/out")


def test_the_log_of_a_store_is_appended_to(model_folder, inputs, store):
    """Google's has objects that are replaced and never appended to."""
    for name, logged in (("a", ["started", "written", "ended"]), ("sub/b", ["started", "written", "ended"] * 2)):
        assert run(model_folder, [inputs / f"{name}.wav"], f"{store}/log")[0].written == 1
        log = (upath.UPath(f"{store}/log") / "render.log.jsonl").read_text()
        assert [json.loads(line)["event"] for line in log.splitlines()] == logged


def test_urls_are_told_from_paths(tmp_path):
    assert remote.location(str(tmp_path)) == tmp_path and not remote.is_remote(tmp_path)
    assert remote.is_remote(remote.location("memory://a/b"))
    assert remote.beside(tmp_path / "table.csv", "a.wav") == tmp_path / "a.wav"
    assert remote.is_remote(remote.beside(tmp_path / "table.csv", "memory://a/b.wav"))
