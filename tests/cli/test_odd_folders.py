"""A folder of odd audio files: `render` and `prepare` take what can be read, name the rest, and end with status 1."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from odd_files import ALL, Odd, by_pyav, encoded, sound

from audiodiff.audio.io import read
from audiodiff.audio.mel import PRESETS
from audiodiff.audio.prior import MelPrior
from audiodiff.audio.reading import pyav
from audiodiff.cli import main
from audiodiff.data.corpora import folder as corpus_folder
from audiodiff.data.corpora import speech
from audiodiff.data.manifest import Manifest
from audiodiff.diffusion.objective import V
from audiodiff.diffusion.schedules.schedule import Cosine
from audiodiff.models.setting import Setting
from audiodiff.models.vocoder_model import VocoderModel
from audiodiff.nn.frontends.frontend import StftFrontend
from audiodiff.nn.network import Network

FILES = {odd.name: odd for odd in ALL()}
REFUSED = [odd for odd in FILES.values() if odd.problem]
READ = [
    FILES[name]
    for name in (
        "PCM_16_states_0.wav",
        "GSM610_states_ffffffff.wav",
        "length_unknown.flac",
        "CAF_ALAC_16.caf",
        "NIST_PCM_16.sph",
        "no_count.mp3",
        "joined_with_tags.mp3",
        "chained.opus",
        "768_khz.wav",
        "antiphase.wav",
    )
]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    network = Network(StftFrontend(), 80, 256, channels=[16, 16], blocks=[1, 1], embedding=16)
    folder = tmp_path_factory.mktemp("odd") / "model"
    spec = PRESETS["speech_16k"]
    VocoderModel(network, Cosine(), V(), spec, MelPrior(spec), settings=[Setting(consistency=0)]).save_pretrained(
        folder
    )
    return folder


@pytest.fixture
def folder(tmp_path) -> Path:
    """Every odd file below the folder of its suffix, some of them behind a link; links to nothing and in a circle."""
    root = tmp_path / "in"
    for odd in (*READ, *REFUSED):
        place = (tmp_path / "elsewhere" if odd.name.endswith(".sph") else root) / Path(odd.name).suffix[1:]
        place.mkdir(parents=True, exist_ok=True)
        odd.write(place)
    (root / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "circle").symlink_to(root)
    (root / "gone.wav").symlink_to(root / "nothing.wav")
    return root


def where(odd: Odd) -> str:
    """Below the folder, without its suffix."""
    return f"{'linked/' if odd.name.endswith('.sph') else ''}{Path(odd.name).suffix[1:]}/{Path(odd.name).stem}"


def run(monkeypatch, capsys, *words) -> tuple[int, list[str]]:
    """Status and lines on standard error."""
    monkeypatch.setattr(sys, "argv", ["audiodiff", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code, capsys.readouterr().err.splitlines()


def npy(frames: int) -> bytes:
    """A mel of one frame, whose header says how many it has."""
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': (80, {frames})}}".encode()
    return b"\x93NUMPY\x01\0\x76\0" + header.ljust(118) + bytes(320)


def test_render(monkeypatch, capsys, tmp_path, model, folder):
    mels = folder / "mels"
    mels.mkdir()
    (mels / "huge.npy").write_bytes(npy(frames=1 << 40))
    (mels / "nested.npy").write_bytes(npy(frames=1))
    (mels / "nested.melspec.json").write_text("[" * 60_000)
    out = tmp_path / "out"
    status, lines = run(monkeypatch, capsys, "render", folder, "--model", model, "--out", out, "--steps", 1)
    assert status == 1
    for odd in REFUSED:
        named = [
            line for line in lines if line.startswith("error: ") and f"/{where(odd)}{Path(odd.name).suffix}:" in line
        ]
        assert len(named) == 1 and odd.problem in named[0], (odd.name, lines)
    for name in ("gone.wav: is a link to nothing", "huge.npy: is not a complete", "nested.melspec.json: is nested too"):
        assert sum(name in line for line in lines if line.startswith("error: ")) == 1, (name, lines)
    assert sum("antiphase.wav: its channels cancel" in line for line in lines) >= 1
    rendered = {path.relative_to(out).with_suffix("").as_posix(): path for path in out.rglob("*.wav")}
    assert rendered.keys() == {where(odd) for odd in READ}
    for odd in READ:
        told = json.loads((out / f"{where(odd)}.wav.json").read_text())
        length = odd.length if odd.samples is None else len(odd.samples)
        wanted = -(-length * 16000 // 768000) if odd.name == "768_khz.wav" else length
        assert soundfile.info(rendered[where(odd)]).frames == told["samples"] == wanted


def test_prepare(monkeypatch, capsys, tmp_path, folder):
    for _ in range(2):  # the second finds it done, and says the same
        status, lines = run(monkeypatch, capsys, "prepare", f"folder:{folder}", "--out", tmp_path / "data")
        assert status == 1
        for odd in REFUSED:
            named = [line for line in lines if line.startswith(f"error: in/{where(odd)}")]
            assert any(odd.problem in line for line in named), (odd.name, lines)
        for name in ("in/wav/antiphase: silent", "in/gone: is a link to nothing", "in/wav/768_khz: 0.031 s"):
            assert sum(line.startswith(f"error: {name}") for line in lines) == 1, (name, lines)
    clips = {clip.id: clip for clip in Manifest.load(tmp_path / "data").clips}
    lengths = {f"in/{where(odd)}": odd.length if odd.samples is None else len(odd.samples) for odd in READ}
    lengths = {name: length for name, length in lengths.items() if not name.endswith(("antiphase", "768_khz"))}
    assert {name: clip.samples for name, clip in clips.items()} == lengths


def test_long_recordings_are_decoded_once_however_many_parts_they_become(monkeypatch, capsys, tmp_path):
    from audiodiff.audio.reading import audio_file

    root = tmp_path / "talks"
    root.mkdir()
    Odd("long.ogg", encoded("OGG")).write(root)
    monkeypatch.setattr(corpus_folder, "LONGEST_SECONDS", 0.5)
    opened = []
    original = audio_file._decoder
    monkeypatch.setattr(
        audio_file, "_decoder", lambda path, member: opened.append(path.suffix) or original(path, member)
    )
    status, _ = run(monkeypatch, capsys, "prepare", f"folder:{root}", "--out", tmp_path / "data")
    assert status == 0 and opened.count(".ogg") == 2  # for its length, and for its samples
    manifest = Manifest.load(tmp_path / "data")
    parts = np.concatenate([soundfile.read(manifest.path(clip))[0] for clip in manifest.clips])
    np.testing.assert_allclose(parts, soundfile.read(root / "long.ogg")[0], atol=2e-5)


@pytest.mark.skipif(not pyav.installed(), reason="PyAV is not installed")
def test_containers_are_decoded_once(monkeypatch, capsys, tmp_path, model):
    root = tmp_path / "in"
    root.mkdir()
    by_pyav(root / "a.m4a", "ipod", "aac", sound())
    whole, original = len(read(root / "a.m4a").samples), pyav.PyavDecoder.read
    for words in (["render", root, "--model", model, "--steps", 1], ["prepare", f"folder:{root}"]):
        blocks = []
        monkeypatch.setattr(pyav.PyavDecoder, "read", lambda *a, to=blocks: to.append(original(*a)) or to[-1])
        status, lines = run(monkeypatch, capsys, *words, "--out", tmp_path / words[0])
        assert status == 0 and sum(map(len, blocks)) == whole, lines
    monkeypatch.setattr(corpus_folder, "LONGEST_SECONDS", 0.3)
    assert sum(len(part.read().samples) for part in speech.folder(root)) == whole
    assert len(speech.folder(root)) == -(-whole // round(0.3 * 44100))
