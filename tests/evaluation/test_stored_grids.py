"""What a report says of the grid that its clips were made on."""

import pytest

from audiodiff.audio.mel import PRESETS
from audiodiff.audio.prior import MelPrior
from audiodiff.diffusion.grids.stored import StoredGrid
from audiodiff.diffusion.objective import V
from audiodiff.diffusion.schedules.schedule import Cosine
from audiodiff.evaluation.vocoder_evaluation import Settings, _describe
from audiodiff.models.vocoder_model import VocoderModel
from audiodiff.nn.frontends.frontend import StftFrontend
from audiodiff.nn.network import Network
from audiodiff.pipelines.vocoder import Vocoder


@pytest.mark.parametrize(
    ("steps", "sampler", "stored"), [(4, "v_2m_pc", True), (4, None, False), (5, "v_2m_pc", False)]
)
def test_the_grid_that_was_walked_is_told(steps, sampler, stored):
    spec, times = PRESETS["speech_16k"], (1.0, 0.7, 0.4, 0.1, 0.0)
    network = Network(StftFrontend(), spec.n_mels, spec.hop_length, channels=[8], blocks=[1], embedding=16)
    grids = [StoredGrid("v_2m_pc", 4, times)]
    model = VocoderModel(network, Cosine(), V(), spec, MelPrior(spec), "ddim", grids=grids, validated=(4, 8))
    told = _describe(Vocoder(model), Settings(steps=steps, sampler=sampler))
    assert told["grid"] == (times if stored else None) and told["validated"] == (4, 8)
    assert told["sampler"] == (sampler or "ddim")
