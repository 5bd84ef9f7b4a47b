"""The commands of docs/adapting.md: options that exist, and training commands that compose and train a tiny model."""

import re
import shlex
from pathlib import Path

import pytest
import torch
from adapter_models import random_adapter

from audiodiff import config, train
from audiodiff.audio.io import Audio, write
from audiodiff.data.preparation import prepare
from audiodiff.models.audio_model import AudioModel

PAGE = (Path(__file__).parents[2] / "docs" / "adapting.md").read_text()
BLOCKS = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
LINES = [line for block in BLOCKS for line in block.splitlines()]
TRAININGS = [line.removeprefix("python train.py ") for line in LINES if line.startswith("python train.py")]
TINY = (
    *("model=prompted_audio", "network=music", "data=audio", "data.sample_rate=8000", "data.crop_samples=1600"),
    *("data.workers=0", "data.batch_size=2", "data.scalars=[]", "trainer.max_steps=2", "trainer.max_time=null"),
    *("trainer.val_check_interval=2", "trainer.accelerator=cpu", "logger=null", "callbacks.samples.clips=1"),
    *("callbacks.samples.steps=2", "task.spectrum_crops=2", "network.channels=[16,16]", "network.blocks=[1,1]"),
    *("network.frontend.channels=1", "network.frontend.n_fft=64", "network.frontend.hop_length=16"),
    *("network.token_channels=16", "model.conditioners.prompt.layers=1"),
    *("model.conditioners.prompt.heads=2", "model.conditioners.prompt.max_tokens=8", "data.labels=[]"),
)


@pytest.fixture(scope="module")
def drums(tmp_path_factory):
    """Recordings of a drum, prepared as the page says."""
    root = tmp_path_factory.mktemp("adapting")
    for number in range(6):
        noise = torch.randn(4000, generator=torch.Generator().manual_seed(number))
        write(root / "my_drum" / f"{number}.wav", Audio(0.1 * noise * torch.linspace(1, 0, 4000) ** 4, 8000))
    prepare([f"folder:{root / 'my_drum'}"], root / "data")
    return root / "data"


@pytest.fixture(scope="module")
def base(drums, tmp_path_factory):
    """A model of the recipe, trained for two steps."""
    folder = tmp_path_factory.mktemp("base")
    overrides = [
        "+recipe=sounds",
        "data.balance=null",
        *TINY,
        f"data.path={drums}",
        "data.caption=drum",
        f"folder={folder}",
    ]
    train.run(config.compose(overrides), folder, overrides)
    return folder / "model"


@pytest.fixture(scope="module")
def adapter(base, tmp_path_factory):
    """An adapter of the model, as one is predicted from clips."""
    folder = tmp_path_factory.mktemp("adapter") / "my-adapter"
    random_adapter(AudioModel.from_pretrained(base)).save(folder)
    return folder


@pytest.mark.parametrize("line", TRAININGS)
def test_training_commands_train(line, drums, base, adapter, tmp_path):
    words = [word for word in shlex.split(line) if not word.startswith("trainer.")]
    words = [word.replace("init_from=sounds", f"init_from={base}") for word in words]
    words = [re.sub(r"^data\.path=.*", f"data.path={drums}", word) for word in words]
    words = [word.replace("init_from=my-adapter", f"init_from={adapter}") for word in words]
    words = [word.replace("adapter=lora", "adapter=lora,adapter.rank=2") for word in words]
    words = [part for word in words for part in (word.split(",") if word.startswith("adapter=") else [word])]
    overrides = [*words, *TINY, f"folder={tmp_path / 'run'}", "data.replay_clips=4"]
    train.run(config.compose(overrides), tmp_path / "run")
    exported = "adapter" if any(word.startswith("adapter=") for word in words) else "model"
    assert (tmp_path / "run" / exported / f"{exported.replace('model', 'config')}.json").is_file()


def test_commands_have_options_that_exist():
    from typer.main import get_command

    from audiodiff.cli import build

    verbs = get_command(build()).commands
    for words in (shlex.split(line) for line in LINES if line.startswith("audiodiff ")):
        known = {option for parameter in verbs[words[1]].params for option in parameter.opts}
        assert {word for word in words[2:] if word.startswith("--")} <= known, words
