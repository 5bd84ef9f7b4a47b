"""Names that no file can have are one line wherever a file or a folder is named."""

from pathlib import Path

import pytest

from audiodiff import remote
from audiodiff.audio import io
from audiodiff.audio.mel.array import read_array
from audiodiff.audio.mel.file import load_mel
from audiodiff.cli.info import facts
from audiodiff.data.manifest import Manifest
from audiodiff.errors import UserError
from audiodiff.models import adapter, checkpoint, hub, onnx_export
from audiodiff.rendering.inputs import find_inputs

NAMES = {
    "too long": "a" * 300,
    "with a zero": "a\0b",
    "no Unicode": "a\ud800",
    "of the hub, too long": f"{'a' * 300}/b",
}
READERS = {
    "model": checkpoint.load,
    "facts": lambda name: list(facts(Path(name))),
    "adapter": adapter.load,
    "export": onnx_export.read,
    "manifest": Manifest.load,
    "recording": io.read,
    "mel": lambda name: load_mel(f"{name}.npy"),
    "array": lambda name: read_array(f"{name}.npy"),
}


@pytest.mark.parametrize("name", NAMES.values(), ids=list(NAMES))
@pytest.mark.parametrize("reader", READERS)
def test_a_name_that_no_file_can_have_is_one_line(reader, name):
    with pytest.raises(UserError) as error:
        READERS[reader](name)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", NAMES.values(), ids=list(NAMES))
def test_such_an_input_costs_no_other_its_rendering(tmp_path, name, recording):
    io.write(tmp_path / "good.wav", recording(1500))
    errors = []
    found = find_inputs([tmp_path / name, tmp_path / "good.wav"], tmp_path / "out", errors.append)
    assert [source.path.name for source in found] == ["good.wav"] and len(errors) == 1


@pytest.mark.parametrize("question", [remote.is_file, remote.is_folder, remote.exists])
def test_a_file_system_that_cannot_be_reached_is_one_line(question):
    class Path:
        """A remote path of a server that is gone."""

        def is_file(self):
            raise RuntimeError("Cannot connect to host\nat all")

        is_dir = exists = is_file

        def __str__(self):
            return "s3://bucket/a"

    with pytest.raises(UserError, match=r"s3://bucket/a: cannot be reached \(Cannot connect to host\)"):
        question(Path())


def test_such_a_name_is_none_of_a_repository():
    assert not any(map(hub.is_repository, NAMES.values()))
