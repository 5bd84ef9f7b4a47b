"""Two steps of every recipe end with the weights that they always ended with.

`reference_runs.json` has a hash of the weights that each recipe exports after `debug=smoke` in one thread, whatever
their names. Bits depend on the processor and on torch: elsewhere the test is skipped. Where a change is meant to change
bits, `python tests/training/test_reference_runs.py` writes the file again.
"""

import hashlib
import json
import sys
import tempfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from audiodiff import config, train
from audiodiff.evaluation.environment import processor

FILE = Path(__file__).with_name("reference_runs.json")
ENVIRONMENT = {"cpu": processor(), "torch": torch.__version__, "simd": torch.backends.cpu.get_cpu_capability()}
RECIPES = ("speech_mel", "drums", "music_uncond", "music_latent", "autoencoder", "speech_few_step")


def weights_hash(model: Path) -> str:
    """SHA-256 of a model's weights, regardless of their names and order."""
    weights = load_file(model / "model.safetensors").values()
    hashes = [str(tuple(weight.shape)).encode() + weight.contiguous().numpy().tobytes() for weight in weights]
    return hashlib.sha256("".join(sorted(hashlib.sha256(part).hexdigest() for part in hashes)).encode()).hexdigest()


def smoke(recipe: str, folder: Path) -> str:
    """Hash of a two-step run; that of `speech_few_step` starts from one of `speech_mel`."""
    words = []
    if recipe == "speech_few_step":
        smoke("speech_mel", folder / "first")
        words = [f"init_from={folder / 'first' / 'model'}"]
    cfg = config.compose([f"+recipe={recipe}", "debug=smoke", f"folder={folder}", *words])
    train.run(cfg, folder)
    return weights_hash(folder / "model")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_smoke_run_ends_with_the_reference_weights(recipe, tmp_path):
    reference = json.loads(FILE.read_text())
    if reference["environment"] != ENVIRONMENT:
        pytest.skip("bits are those of another processor or torch")
    torch.set_flush_denormal(True)  # as the command does
    try:
        assert smoke(recipe, tmp_path) == reference["weights"][recipe]
    finally:
        torch.set_flush_denormal(False)


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    with tempfile.TemporaryDirectory() as root:
        found = {recipe: smoke(recipe, Path(root, recipe)) for recipe in RECIPES}
    FILE.write_text(json.dumps({"environment": ENVIRONMENT, "weights": found}, indent=1) + "\n")
    sys.stdout.write(FILE.read_text())
