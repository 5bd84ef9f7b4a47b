"""Upsampling and restoration in bulk: workers, tables, stores and a log, as `audiodiff render` has them."""

import json

import pytest
import soundfile
import torch

from audiodiff.audio import io
from audiodiff.cli import build as application
from audiodiff.errors import UserError
from audiodiff.pipelines.options import UpsamplingOptions
from audiodiff.pipelines.restoration_options import RestorationOptions
from audiodiff.rendering.generation import COMMAND as GENERATE
from audiodiff.rendering.options import ExecutionOptions, FileOptions, FinishOptions, WriteOptions
from audiodiff.rendering.registry import Request, render_request
from audiodiff.rendering.restoration import RestorationRenderer
from audiodiff.rendering.upsampling import UpsamplingRenderer

KINDS = {
    "upsample": (UpsamplingRenderer.COMMAND, UpsamplingOptions(steps=1)),
    "restore": (RestorationRenderer.COMMAND, RestorationOptions(steps=1, declip=True)),
}


@pytest.fixture(scope="module")
def models(make_upsampler, make_restorer, make_music, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    for name, make in (("upsample", make_upsampler), ("restore", make_restorer), ("generate", make_music)):
        make().save_pretrained(folder / name)
    return folder


@pytest.fixture
def inputs(tmp_path, recording):
    for seed, name in enumerate(("a", "b", "sub/c")):
        samples = recording(2500, 8000, seed).samples.clamp(-0.1, 0.1)
        io.write(tmp_path / "in" / f"{name}.wav", io.Audio(samples, 8000))
    return tmp_path / "in"


def run(models, kind, inputs, out, files=WriteOptions(), workers=None):  # noqa: B008, frozen
    reported: list[str] = []
    command, options = KINDS[kind]
    execution = ExecutionOptions(workers=workers)
    request = Request(
        inputs=[inputs], out=out, options=options, files=files, command=command, execution=execution, device="cpu"
    )
    return render_request(models / kind, request, lambda error: reported.append(str(error)), quiet=True), reported


def audio(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.wav")}


@pytest.mark.parametrize("kind", KINDS)
def test_stores_a_log_and_resuming(models, inputs, tmp_path, kind):
    upath = pytest.importorskip("upath")
    assert run(models, kind, inputs, tmp_path / "out")[0].written == 3
    store = upath.UPath(f"memory://{kind}")
    for path in inputs.rglob("*.wav"):
        (store / "in" / path.relative_to(inputs).parent).mkdir(parents=True, exist_ok=True)
        (store / "in" / str(path.relative_to(inputs))).write_bytes(path.read_bytes())
    (store / "in" / "bad.wav").write_bytes(b"nothing")
    outcome, errors = run(models, kind, f"memory://{kind}/in", f"memory://{kind}/out")
    assert (outcome.written, outcome.failed) == (3, 1) and errors[0].startswith(f"memory://{kind}/in/bad.wav: ")
    assert audio(store / "out") == audio(tmp_path / "out") and len(audio(store / "out")) == 3
    log = [json.loads(line) for line in (store / "out" / "render.log.jsonl").read_text().splitlines()]
    assert sorted(one["file"] for one in log if one["event"] == "written") == ["a.wav", "b.wav", "sub/c.wav"]
    (store / "out" / "b.wav").unlink()
    outcome, _ = run(models, kind, f"memory://{kind}/in", f"memory://{kind}/out")
    assert (outcome.written, outcome.skipped) == (1, 2) and audio(store / "out") == audio(tmp_path / "out")


@pytest.mark.parametrize("kind", KINDS)
def test_a_table_has_options_of_its_rows(models, inputs, tmp_path, kind):
    (tmp_path / "rows.csv").write_text("input,name,seed,steps\nin/a.wav,first,3,2\nin/b.wav,,,\n")
    assert (
        run(models, kind, tmp_path / "rows.csv", tmp_path / "out", WriteOptions(name="{number}/{name}"))[0].written == 2
    )
    entries = json.loads((tmp_path / "out" / "2" / "first.wav.json").read_text())
    assert (entries["seed"], entries["steps"], entries["sidecar"]) == (3, 2, KINDS[kind][0])
    assert json.loads((tmp_path / "out" / "1" / "b.wav.json").read_text())["steps"] == 1
    (tmp_path / "rows.csv").write_text("input,loop\nin/a.wav,yes\n")
    _, errors = run(models, kind, tmp_path / "rows.csv", tmp_path / "none")
    assert "column 'loop': unknown" in errors[0]


def test_an_upsampled_file_is_finished_as_requested(models, inputs, tmp_path):
    files = FinishOptions(bit_depth="24", sample_rate=11025, format="flac")
    assert run(models, "upsample", inputs, tmp_path / "out", files)[0].written == 3
    found = soundfile.info(tmp_path / "out" / "sub" / "c.flac")
    assert (found.samplerate, found.subtype) == (11025, "PCM_24")
    with pytest.raises(UserError, match="another bit depth"):
        run(models, "upsample", inputs, tmp_path / "out", FinishOptions(format="flac"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*KINDS, "generate"])
def test_workers_write_the_same_bytes(models, inputs, tmp_path, kind):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for out, workers in (("here", []), ("there", ["--workers", "2"])):
            sources = [] if kind == "generate" else [str(inputs)]
            words = [kind, *sources, "--model", models / kind, "--out", tmp_path / out, "--steps", 1, "--device", "cpu"]
            words += ["--count", 3, "--batch-size", 1] if kind == "generate" else []
            words += ["--declip"] if kind == "restore" else []
            application()([*map(str, words), *workers], standalone_mode=False)
    finally:
        torch.set_num_threads(threads)
    assert audio(tmp_path / "here") == audio(tmp_path / "there") and len(audio(tmp_path / "here")) == 3


def test_clips_are_generated_into_a_store(models, tmp_path):
    pytest.importorskip("upath")
    from audiodiff.pipelines.options import GenerationConfig
    from audiodiff.remote import location

    for out in (str(tmp_path / "out"), "memory://generated/out"):
        request = Request(
            inputs=[], out=out, options=GenerationConfig(steps=1), files=FileOptions(), command=GENERATE, count=2
        )
        assert render_request(models / "generate", request, pytest.fail, quiet=True).written == 2
    assert audio(location("memory://generated/out")) == audio(tmp_path / "out")
