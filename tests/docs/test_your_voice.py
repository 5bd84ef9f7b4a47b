"""The commands of docs/your_voice.md: they train a tiny voice, and speak with what was trained."""

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from audiodiff import config, train
from audiodiff.cli import build
from audiodiff.models import adapter, checkpoint

PAGE = (Path(__file__).parents[2] / "docs" / "your_voice.md").read_text()
BLOCKS = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
LINES = [line for block in BLOCKS for line in block.splitlines()]
TRAININGS = [line.removeprefix("python train.py ") for line in LINES if line.startswith("python train.py")]
SAID = [line.removeprefix("audiodiff ") for line in LINES if line.startswith("audiodiff say")]
NEW = "hibari/heart"  # whose sentences `debug=smoke` makes
TINY = ("debug=smoke", "audio=speech_16k", "network.frontend.channels=160", "network.channels=[16,16]", "logger=null")
TINY += ("network.blocks=[1,1]", "+network.embedding=16", "model.encoder.channels=16", "model.encoder.text_blocks=1")
TINY += ("model.encoder.prosody_blocks=1", "model.encoder.frame_blocks=1", "data.corpora=hibari")
TINY += ("trainer.max_steps=1", "trainer.max_time=null", "callbacks.samples.clips=1")


@pytest.fixture(scope="module")
def base(make_voice, tmp_path_factory):
    folder = tmp_path_factory.mktemp("base") / "base"
    make_voice(speakers=("kokoro/af_heart", "bob")).save_pretrained(folder)
    return folder


def run(line, base, folder):
    """Train as a line says, with the tiny voice and its data."""
    words = [word.replace("anna", NEW).replace("voice-en", str(base)) for word in shlex.split(line)]
    words = [f"data.path={folder.parent / 'data'}" if word.startswith("data.path=") else word for word in words]
    tiny = [*TINY, "adapter.rank=2"] if "adapter=lora" in words else TINY
    train.run(config.compose([*words, *tiny, f"folder={folder}"]), folder)
    return folder


@pytest.mark.parametrize("line", TRAININGS)
def test_training_commands_train(line, base, tmp_path):
    folder = run(line, base, tmp_path / "run")
    if "adapter=" in line:
        assert list(adapter.load(folder / "adapter").speakers) == [NEW]
    else:
        speakers = checkpoint.load(folder / "model").arguments["speaker"].speakers
        assert speakers == ("kokoro/af_heart", NEW)


def test_what_is_trained_speaks(base, model_folder, tmp_path):
    trained = run(TRAININGS[0], base, tmp_path / "run") / "adapter"
    for line in SAID:
        words = [word.replace("runs/speech_own_voice/RUN/adapter", "anna-adapter") for word in shlex.split(line)]
        words = [word.replace("anna-adapter", "ADAPTER") for word in words]
        words = [word.replace("anna", NEW) for word in words[:-1]] + [str(tmp_path / words[-1])]
        words = [word.replace("ADAPTER", str(trained)) for word in words]
        words += ["--voice", str(base), "--vocoder", str(model_folder), "--device", "cpu"]
        answer = CliRunner().invoke(build(), words)
        assert answer.exit_code == 0 and Path(words[words.index("--out") + 1]).is_file(), answer.output


def test_the_numbers_of_the_page_are_those_of_the_shipped_voice():
    from audiodiff.models.acoustic_model import AcousticModel
    from audiodiff.models.adapted import adaptable_layers
    from audiodiff.nn.adapters.layers import select
    from audiodiff.nn.adapters.update import LowRank, largest_rank

    model = AcousticModel.from_pretrained("voice-en")
    shapes = [layer.weight.shape for layer in adaptable_layers(model).values()]
    sizes = [sum(map(_product, LowRank.sizes(shape, 8).values())) for shape in shapes if largest_rank(shape) >= 8]
    weights = {
        prefix + name: one.numel() for prefix, part in model.parts().items() for name, one in part.named_parameters()
    }
    passing = select(weights, ["norms", "output", "conditioners.speaker"]).values()
    part = sum(weights[name] for name in {name for names in passing for name in names})
    stated = [int(number.replace(",", "")) for number in re.findall(r"\| ([\d,]+) \|$", PAGE, re.MULTILINE)][:4]
    found = [sum(sizes) + 128, 128, part, sum(weights.values())]
    assert stated == pytest.approx(found, rel=0.02)


def _product(size):
    return size[0] * (size[1] if len(size) > 1 else 1)
