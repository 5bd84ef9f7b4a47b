import pytest
from noise_files import sound


@pytest.fixture
def ljspeech(tmp_path):
    """A corpus in LJSpeech's layout: three clips, one without a text, and a line about a clip that is missing."""
    root = tmp_path / "LJSpeech-1.1"
    for number in range(3):
        sound(root / f"wavs/LJ001-000{number}.wav", rate=22050, seed=number)
    (root / "metadata.csv").write_text(
        'LJ001-0000|Printing, in 1455, "the only" sense|Printing, in fourteen fifty-five, "the only" sense\n'
        "LJ001-0001|second|\nLJ001-0009|not there|not there\n",
        encoding="utf-8",
    )
    return root
