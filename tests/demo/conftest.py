"""A page around a tiny untrained model, served on this machine for all tests of the demo."""

import json
import math
import os
import time
from contextlib import contextmanager
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
import soundfile
import torch

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

from adapter_models import random_adapter

from audiodiff.audio.io import Audio, write
from audiodiff.audio.mel import PRESETS
from audiodiff.audio.prior import MelPrior
from audiodiff.conditioners.reference import Reference
from audiodiff.diffusion.objective import V
from audiodiff.diffusion.schedules.schedule import Cosine
from audiodiff.models.setting import Setting
from audiodiff.models.vocoder_model import VocoderModel
from audiodiff.nn.frontends.frontend import StftFrontend
from audiodiff.nn.network import Network

SPEC = PRESETS["speech_16k"]


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    network = Network(
        StftFrontend(), SPEC.n_mels, SPEC.hop_length, channels=[16], blocks=[1], embedding=16, attention_levels=False
    )
    folder = tmp_path_factory.mktemp("runs") / "tiny" / "2026-01-01_00-00-00" / "model"
    VocoderModel(network, Cosine(), V(), SPEC, MelPrior(SPEC), settings=[Setting(consistency=4)]).save_pretrained(
        folder
    )
    return folder


@pytest.fixture(scope="session")
def runs(model_folder) -> Path:
    return model_folder.parents[2]


@pytest.fixture(scope="session")
def recording(tmp_path_factory) -> Path:
    """A second of a gliding harmonic tone at another rate than the model's."""
    t = torch.arange(22050) / 22050
    glide = 2 * math.pi * (150 * t + 50 * t.square())
    samples = sum(torch.sin(k * glide) / k for k in range(1, 9)) * torch.sin(math.pi * t)
    path = tmp_path_factory.mktemp("sounds") / "glide.wav"
    write(path, Audio(0.2 * samples, 22050))
    return path


@pytest.fixture(scope="session")
def uploads(tmp_path_factory):
    """Uploads go where pytest clears up; Gradio asks for the place at every request, so it is one for all pages."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("uploads")))
        yield


@pytest.fixture(scope="session")
def url(uploads, runs):
    """Address of the page, which finds its vocoder itself."""
    with served(runs=runs) as address:
        yield address


@pytest.fixture(scope="session")
def music_url(uploads):
    """Address of the page of the shipped drums."""
    with served(folder="drums") as address:
        yield address


@pytest.fixture(scope="session")
def editor_url(uploads, make_music, tmp_path_factory):
    """Address of the page of a tiny untrained generator of mono clips with labels."""
    folder = tmp_path_factory.mktemp("generators") / "tiny"
    make_music(channels=1).save_pretrained(folder)
    with served(folder=folder) as address:
        yield address


@pytest.fixture(scope="session")
def adapted_url(uploads, make_music, tmp_path_factory):
    """Address of the page of a tiny untrained generator with the adapter `my-drum`, and the folder of both."""
    root, model = tmp_path_factory.mktemp("adapted"), make_music(channels=1)
    model.save_pretrained(root / "model")
    random_adapter(model).save(root / "my-drum")
    with served(folder=root / "model", adapters=[f"{root / 'my-drum'}:0.5"]) as address:
        yield address, root


@pytest.fixture(scope="session")
def voice_url(uploads, make_voice, tmp_path_factory):
    """Address of the page of a tiny untrained voice, which takes reference clips."""
    folder = tmp_path_factory.mktemp("voices") / "tiny"
    make_voice(reference=Reference(seconds=0.5, embedding=16)).save_pretrained(folder)
    with served(folder=folder) as address:
        yield address


@pytest.fixture
def slow_network(monkeypatch):
    """Every network evaluation takes a twentieth of a second more; the times at which they began."""
    return slowed(monkeypatch, 0.05)


@pytest.fixture
def very_slow_network(monkeypatch):
    """As `slow_network`, a second more."""
    return slowed(monkeypatch, 1.0)


def slowed(monkeypatch, seconds):
    """The times at which evaluations of networks begin, each of which takes so many seconds more."""
    forward, began = Network.forward, []

    def slow(self, *arguments, **options):
        began.append(time.monotonic())
        time.sleep(seconds)
        return forward(self, *arguments, **options)

    monkeypatch.setattr(Network, "forward", slow)
    return began


@pytest.fixture(scope="session")
def upload():
    """`upload(url, path)` -> the file as endpoints of a page take it, uploaded by plain HTTP."""

    def post(url: str, path: Path) -> dict:
        edge = b"--edge"
        head = b'Content-Disposition: form-data; name="files"; filename="%s"' % path.name.encode()
        body = b"\r\n".join((edge, head, b"", path.read_bytes(), edge + b"--", b""))
        request = Request(f"{url}gradio_api/upload", body, {"Content-Type": "multipart/form-data; boundary=edge"})
        with urlopen(request, timeout=30) as answer:
            return {"path": json.load(answer)[0], "meta": {"_type": "gradio.FileData"}}

    return post


@pytest.fixture(scope="session")
def tabs():
    """`tabs(folder, ...)` -> the tabs of tasks by the names of their endpoints; arguments of `Catalog.find`."""
    from audiodiff.demo.catalog import Catalog
    from audiodiff.demo.model_store import ModelStore
    from audiodiff.demo.page import task_tabs
    from audiodiff.demo.tasks import KINDS

    def build(folder=None, runs="none", **options):
        catalog = Catalog.find(KINDS, folder, runs, **options)
        given = None if folder is None else catalog.offers[0]
        return {tab.endpoint: tab for tab in task_tabs(catalog, ModelStore(catalog), given)}

    return build


@pytest.fixture(scope="session")
def answer():
    """`answer(tab, **options)` -> the samples (C, T) of each clip, and the settings, of a request; no watermark."""

    def ask(tab, **options):
        values, files, settings = tab.defaults | {"watermark": False} | options, None, None
        for _, found, last in tab.run(*values.values(), lambda *_, **__: None):
            if isinstance(found, list):  # the files exist until the next value is drawn
                files = [torch.from_numpy(soundfile.read(file, always_2d=True)[0]).T.float() for file in found[:-1]]
                settings = last
        return files, settings

    return ask


@contextmanager
def served(**options):
    """The address of a page for as long as it is asked."""
    from audiodiff.demo import OPTIONS, build

    page = build(**options)
    _, address, _ = page.launch(server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, **OPTIONS)
    yield address
    page.close()
