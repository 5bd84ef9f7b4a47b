"""The report states the time grid of its clips."""

import pytest

from audiodiff.audio.mel import PRESETS
from audiodiff.audio.prior import MelPrior
from audiodiff.diffusion.grids.stored import StoredGrid
from audiodiff.diffusion.objective import V
from audiodiff.diffusion.schedules.schedule import Cosine
from audiodiff.evaluation.held_out import Settings
from audiodiff.evaluation.vocoder_evaluation import _describe
from audiodiff.models.setting import Setting
from audiodiff.models.vocoder_model import VocoderModel
from audiodiff.nn.frontends.frontend import StftFrontend
from audiodiff.nn.network import Network
from audiodiff.pipelines.vocoder import Vocoder


@pytest.mark.parametrize(
    ("steps", "sampler", "stored"), [(4, "v_2m_pc", True), (4, None, False), (5, "v_2m_pc", False)]
)
def test_the_report_states_the_time_grid(steps, sampler, stored):
    spec, times = PRESETS["speech_16k"], (1.0, 0.7, 0.4, 0.1, 0.0)
    network = Network(StftFrontend(), spec.n_mels, spec.hop_length, channels=[8], blocks=[1], embedding=16)
    grids = [StoredGrid("v_2m_pc", 4, times)]
    own = [Setting(sampler="ddim")]
    model = VocoderModel(network, Cosine(), V(), spec, MelPrior(spec), own, grids=grids, validated=(4, 8))
    described = _describe(Vocoder(model), Settings(steps=steps, sampler=sampler))
    assert described["grid"] == (times if stored else None) and described["validated"] == (4, 8)
    assert described["sampler"] == (sampler or "ddim")
