"""`audiodiff render` from end to end: what users give it, what they get, and what they are told."""

import errno
import json
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audiodiff.audio import writing
from audiodiff.audio.mel import PRESETS
from audiodiff.audio.mel.file import save_mel
from audiodiff.audio.prior import MelPrior
from audiodiff.cli import main
from audiodiff.diffusion.objective import V
from audiodiff.diffusion.schedules.schedule import Cosine
from audiodiff.models.setting import Setting
from audiodiff.models.vocoder_model import VocoderModel
from audiodiff.nn.frontends.frontend import StftFrontend
from audiodiff.nn.network import Network
from audiodiff.pipelines.vocoder import Vocoder

SPEC = PRESETS["speech_16k"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    network = Network(StftFrontend(), 80, 256, channels=[16, 16], blocks=[1, 1], embedding=16)
    torch.nn.init.normal_(network.unet.conv_out.weight, std=0.03)
    folder = tmp_path_factory.mktemp("render") / "model"
    VocoderModel(network, Cosine(), V(), SPEC, MelPrior(SPEC), settings=[Setting(consistency=2)]).save_pretrained(
        folder
    )
    return folder


@pytest.fixture
def render(monkeypatch, capsys, model, tmp_path):
    """`render(inputs..., options)` -> (status, out, lines on stderr)."""

    def run(*arguments, model=model, out=tmp_path / "out"):
        words = ["audiodiff", "render", *arguments, "--model", model, "--out", out, "--steps", "2"]
        monkeypatch.setattr(sys, "argv", list(map(str, words)))
        with pytest.raises(SystemExit) as ended:
            main()
        printed, told = capsys.readouterr()
        return ended.value.code, printed, told.splitlines()

    return run


def sound(path: Path, samples: int = 3000, rate: int = 16000, channels: int = 1, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    t = np.arange(samples) / rate
    tone = 0.3 * np.sin(2 * np.pi * (200 + 300 * t) * t) * np.sin(7 * t) ** 2
    soundfile.write(path, np.stack([tone] * channels, 1), rate, **options)
    return path


def seconds(path: Path) -> tuple[int, int]:
    info = soundfile.info(path)
    assert info.channels == 1 and info.subtype == "PCM_16"
    return info.frames, info.samplerate


def renderings(folder: Path) -> list[str]:
    return sorted(
        str(file.relative_to(folder))
        for file in folder.rglob("*")
        if file.suffix not in (".json", ".jsonl") and file.is_file()
    )


def test_folders_files_and_manifests_in_one_run(render, tmp_path):
    sound(tmp_path / "in" / "deep" / "a.wav", 2500)
    sound(tmp_path / "in" / "b.flac", 4000, 22050)
    save_mel(tmp_path / "m.npy", torch.full((80, 7), -6.0), SPEC)
    sound(tmp_path / "data" / "wavs" / "c.ogg", 3000)
    header = {"manifest": "audiodiff", "version": 1}
    clip = {"id": "corpus/c", "path": "wavs/c.ogg", "seconds": 3000 / 16000, "sample_rate": 16000}
    manifest = tmp_path / "data" / "manifest.jsonl"
    manifest.write_text(f"{json.dumps(header)}\n{json.dumps(clip)}\n")
    status, out, told = render(tmp_path / "in", tmp_path / "m.npy", manifest)
    assert (status, told) == (0, [])
    assert out == f"4 rendered, 0 skipped (exist): {tmp_path / 'out'}\n"
    assert renderings(tmp_path / "out") == ["b.wav", "deep/a.wav", "m.wav", "wavs/c.wav"]
    assert seconds(tmp_path / "out" / "deep" / "a.wav") == (2500, 16000)
    assert seconds(tmp_path / "out" / "b.wav") == (-(-4000 * 16000 // 22050), 16000)
    assert seconds(tmp_path / "out" / "m.wav") == (7 * 256, 16000)
    assert json.loads((tmp_path / "out" / "wavs" / "c.wav.json").read_text())["id"] == "corpus/c"
    assert render(tmp_path / "in", tmp_path / "m.npy", manifest)[1].startswith("0 rendered, 4 skipped")


def test_every_option_reaches_the_sidecar(render, tmp_path):
    np.save(tmp_path / "bare.npy", np.full((80, 5), -6.0))
    options = "--sampler ddpm --seed 7 --batch-size 1 --device cpu --precision bfloat16 --format flac --consistency 3"
    status, _, told = render(tmp_path / "bare.npy", *options.split(), "--mel-spec", "speech_16k", "--overwrite")
    assert (status, told) == (0, [])
    assert seconds(tmp_path / "out" / "bare.flac") == (5 * 256, 16000)
    sidecar = json.loads((tmp_path / "out" / "bare.flac.json").read_text())
    wanted = {"sampler": "ddpm", "seed": 7, "steps": 2, "precision": "bfloat16", "device": "cpu", "consistency": 3}
    assert wanted.items() <= sidecar.items()


def test_eight_channels_at_192_khz_are_rendered_with_a_warning(render, tmp_path):
    status, out, told = render(sound(tmp_path / "big.wav", 96000, 192000, 8))
    assert status == 0 and out.startswith("1 rendered")
    assert len(told) == 1 and told[0].startswith(f"warning: {tmp_path / 'big.wav'}: 8 channels at 192000 Hz")
    assert seconds(tmp_path / "out" / "big.wav") == (8000, 16000)


def test_a_stereo_mp3_renders(render, tmp_path):
    file = sound(tmp_path / "song.mp3", 22050, 44100, 2, format="MP3")
    assert render(file)[0] == 0
    assert seconds(tmp_path / "out" / "song.wav") == (-(-soundfile.info(file).frames * 16000 // 44100), 16000)


def truncated_flac(path):
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 30000)
    soundfile.write(path, noise, 16000, format="FLAC")
    path.write_bytes(path.read_bytes()[:20000])


def nan_samples(path):
    samples = np.zeros(3000, np.float32)
    samples[1234] = np.nan
    soundfile.write(path, samples, 16000, "FLOAT")


def foreign_mel(path):
    save_mel(path, torch.zeros(100, 4), PRESETS["vocos_24k"])


def zero_length_mel(path):
    np.save(path, np.zeros((80, 0), np.float32))
    path.with_suffix(".melspec.json").write_text(json.dumps(SPEC.to_dict()))


BAD = {
    "empty.wav": (lambda path: path.write_bytes(b""), "is empty"),
    "empty.npy": (lambda path: path.write_bytes(b""), "is not a complete .npy array"),
    "empty.safetensors": (lambda path: path.write_bytes(b""), "is not a complete safetensors file"),
    "text.wav": (lambda path: path.write_text("I am a text.\n" * 50), "is not readable audio"),
    "cut.flac": (truncated_flac, "is truncated"),
    "nan.wav": (nan_samples, "NaN or infinite samples"),
    "silent.wav": (lambda path: soundfile.write(path, np.zeros(0), 16000), "holds 0 samples"),
    "zero.npy": (zero_length_mel, "has no frames"),
    "foreign.safetensors": (foreign_mel, "sample_rate: 24000 != 16000; n_mels: 100 != 80"),
    "bare.npy": (lambda path: np.save(path, np.zeros((80, 4))), "bare.melspec.json"),
    "pickle.npy": (lambda path: path.write_bytes(pickle.dumps([1, 2])), "pickles are not read"),
    "pickle.safetensors": (lambda path: torch.save({"mel": torch.zeros(80, 4)}, path), "safetensors"),
    "loud.safetensors": (lambda path: save_mel(path, torch.full((80, 4), 400.0), SPEC), "up to 400"),
}


def test_bad_inputs_are_one_line_each_and_the_good_ones_are_rendered(render, tmp_path):
    root = tmp_path / "in"
    for samples in (2000, 3000, 4000):
        sound(root / f"good{samples}.wav", samples)
    for name, (spoil, _) in BAD.items():
        (root / Path(name).suffix[1:]).mkdir(exist_ok=True)
        spoil(root / Path(name).suffix[1:] / name)
    missing = tmp_path / "nowhere"
    status, out, told = render(root, missing)
    assert status == 1
    assert out == f"3 rendered, 0 skipped (exist), {len(BAD) + 1} failed: {tmp_path / 'out'}\n"
    assert renderings(tmp_path / "out") == [f"good{samples}.wav" for samples in (2000, 3000, 4000)]
    wanted = {root / Path(name).suffix[1:] / name: words for name, (_, words) in BAD.items()}
    for path, words in (wanted | {missing: "no such file or folder"}).items():
        lines = [line for line in told if line.startswith(f"error: {path}:")]
        assert len(lines) == 1 and words in lines[0], (path, told)
    assert len(told) == len(BAD) + 1
    status, out, _ = render(root)
    assert status == 1 and out.startswith("0 rendered, 3 skipped")


def spoil_missing(folder):
    (folder / "model.safetensors").unlink()


def spoil_truncated(folder):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


def spoil_pickle(folder):
    torch.save({"weight": torch.zeros(3)}, folder / "model.safetensors")


def spoil_config(folder):
    (folder / "config.json").write_text('{"format": "audiodiff"')


@pytest.mark.parametrize(
    "spoil", [spoil_missing, spoil_truncated, spoil_pickle, spoil_config], ids=lambda f: f.__name__
)
def test_a_bad_model_is_one_line_and_touches_nothing(render, tmp_path, model, spoil):
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in model.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    spoil(copy)
    status, out, told = render(sound(tmp_path / "a.wav"), model=copy)
    assert status == 1 and out == "" and len(told) == 1 and told[0].startswith(f"error: {copy}")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--sampler", "magic"], "sampler 'magic'"),
        (["--mel-spec", "mine"], "mel spec 'mine'"),
        (["--format", "mp3"], "format 'mp3'"),
        (["--batch-size", "0"], "--batch-size 0"),
        (["--consistency", "-2"], "consistency -2"),
        (["--precision", "int4"], "int4"),
        (["--device", "abacus"], "device abacus"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_bad_option_is_one_line(render, tmp_path, options, words):
    status, out, told = render(sound(tmp_path / "a.wav"), *options)
    assert status == 1 and out == "" and len(told) == 1 and words in told[0]


def test_an_output_below_a_file_is_one_line(render, tmp_path):
    (tmp_path / "file").write_text("precious")
    status, out, told = render(sound(tmp_path / "a.wav"), out=tmp_path / "file" / "out")
    assert status == 1 and out == "" and len(told) == 1 and str(tmp_path / "file" / "out") in told[0]
    assert (tmp_path / "file").read_text() == "precious"


def test_no_space_left_is_one_line_and_the_same_command_goes_on(render, tmp_path, monkeypatch):
    for i in range(3):
        sound(tmp_path / "in" / f"{i}.wav", 2000 + 500 * i)
    written = []

    class Full(writing.Disk):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            if written:
                self.error = OSError(errno.ENOSPC, "No space left on device")
            written.append(arguments)

    monkeypatch.setattr(writing, "Disk", Full)
    status, out, told = render(tmp_path / "in", "--batch-size", "1")
    assert status == 1 and out == "" and len(told) == 1 and "No space left on device" in told[0]
    assert len(renderings(tmp_path / "out")) == 1 and len(list((tmp_path / "out").iterdir())) == 3
    monkeypatch.setattr(writing, "Disk", Full.__base__)
    assert render(tmp_path / "in")[1].startswith("2 rendered, 1 skipped")


def test_ctrl_c_keeps_what_is_finished_and_the_same_command_goes_on(render, tmp_path, model):
    count, out = 40, tmp_path / "out"
    for i in range(count):
        sound(tmp_path / "in" / f"{i:02}.wav", 2000 + 10 * i)
    # A shell may start its background jobs with SIGINT ignored; a terminal does not.
    start = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); import audiodiff.cli as c; c.main()"
    )
    words = ["render", tmp_path / "in", "--model", model, "--out", out, "--batch-size", "1", "--steps", "2"]
    command = [sys.executable, "-c", start, *map(str, words)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        patience = time.monotonic() + 120
        while len(list(out.glob("*.wav"))) < 2 and process.poll() is None and time.monotonic() < patience:
            time.sleep(0.005)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert len(told.splitlines()) <= 1 and "Traceback" not in told
    done = {name: (out / name).read_bytes() for name in renderings(out)}
    assert 0 < len(done) < count and not any(name.startswith(".") for name in done)
    for name in done:
        assert seconds(out / name)[0] == soundfile.info(tmp_path / "in" / name).frames
    status, printed, _ = render(tmp_path / "in", "--batch-size", "1")
    kept = int(printed.split(" rendered, ")[1].split()[0])
    # The clip that was being stored may lack its sidecar's end, and is made again.
    assert status == 0 and kept in (len(done) - 1, len(done))
    assert len(renderings(out)) == count
    assert sum((out / name).read_bytes() == content for name, content in done.items()) >= kept


NAMES = st.text("abcäß .-_%{}'\"", min_size=1, max_size=12).filter(lambda name: name.strip(" .") == name)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=NAMES, samples=st.integers(1, 5000), seed=st.integers(-(2**70), 2**70))
def test_any_name_length_and_seed(render, tmp_path_factory, name, samples, seed):
    folder = tmp_path_factory.mktemp("any")
    sound(folder / "in" / f"{name}.wav", samples)
    status, _, told = render(folder / "in", "--seed", str(seed), out=folder / "out")
    assert (status, told) == (0, [])
    assert seconds(folder / "out" / f"{name}.wav") == (samples, 16000)


def test_the_vocoder_makes_the_same_clip_from_the_sidecars_seed(render, tmp_path, model):
    mel = torch.linspace(-8, -3, 20).expand(80, -1)
    save_mel(tmp_path / "m.safetensors", mel, SPEC)
    render(tmp_path / "m.safetensors", "--seed", "5")
    seed = json.loads((tmp_path / "out" / "m.wav.json").read_text())["clip_seed"]
    expected = Vocoder.from_pretrained(model).generate(mel, 2, clip_seeds=[seed]).samples.numpy()
    made = soundfile.read(tmp_path / "out" / "m.wav", dtype="float32")[0]
    assert np.abs(made - expected).max() < 1.01 / 32768
