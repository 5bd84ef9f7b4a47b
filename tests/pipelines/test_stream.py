"""Streaming: the pieces are the whole, whatever the pieces are."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_vocoders import SAMPLERS, SPEC, build, error, joined, make_mel

from audiodiff.audio.consistency import project
from audiodiff.audio.mel import PRESETS
from audiodiff.audio.prior import MelPrior
from audiodiff.conditioners.excitation import HarmonicExcitation
from audiodiff.diffusion.objective import X0, V
from audiodiff.diffusion.schedules.schedule import Cosine, VarianceExploding
from audiodiff.diffusion.variance import LearnedVariance
from audiodiff.errors import UserError
from audiodiff.models.setting import Setting
from audiodiff.models.vocoder_model import VocoderModel
from audiodiff.nn.frontends.frontend import StftFrontend
from audiodiff.nn.network import Network
from audiodiff.nn.pitch import PitchNetwork
from audiodiff.pipelines.vocoder import Vocoder


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("source", [False, True])
@pytest.mark.parametrize(
    ("frontend", "prior"), [("stft", "mel"), ("stft, other hop", "energy"), ("strided", "standard")]
)
def test_a_stream_is_the_whole(frontend, prior, source, sampler):
    vocoder, mel = build(frontend, source, prior), make_mel(131)
    options = {"steps": SAMPLERS[sampler], "seed": 7, "sampler": sampler, "consistency": 3}
    whole = vocoder.generate(mel, **options).samples
    assert error(joined(vocoder.stream(mel.split(9, -1), chunk=8, **options)), whole) < 1e-5


@pytest.mark.parametrize("spec", ["speech_16k", "hifigan_22k", "vocos_24k"])
def test_a_stream_is_the_whole_for_every_framing(spec):
    spec = PRESETS[spec]
    torch.manual_seed(0)
    network = Network(StftFrontend(signals=1), spec.n_mels, spec.hop_length, [8, 8], [1, 1], embedding=8)
    torch.nn.init.normal_(network.unet.conv_out.weight, std=0.03)
    source = HarmonicExcitation(PitchNetwork(spec.n_mels, channels=8, blocks=2, bins=12), spec)
    vocoder = Vocoder(
        VocoderModel(
            network, Cosine(), V(), spec, MelPrior(spec), settings=[Setting(consistency=4)], conditioners=[source]
        )
    )
    mel = make_mel(61, spec)
    assert error(joined(vocoder.stream([mel], 2, chunk=10)), vocoder.generate(mel, 2).samples) < 1e-5


@pytest.mark.parametrize("source", [False, True])
@pytest.mark.parametrize(("prior", "bridge"), [("rough", None), ("rough", 1.0), ("rough, mel", 0.5)])
def test_a_stream_from_a_mean_is_the_whole(prior, bridge, source):
    vocoder, mel = build(source=source, prior=prior, bridge=bridge), make_mel(131)
    whole = vocoder.generate(mel, 3, seed=7).samples
    assert error(joined(vocoder.stream(mel.split(9, -1), 3, seed=7, chunk=8)), whole) < 1e-5


@pytest.mark.parametrize("prior", ["rough", "rough, mel"])
def test_where_a_bridge_begins_takes_frames_ahead(prior):
    vocoder, mel = build(prior=prior, bridge=1.0), make_mel(131)
    short = vocoder.stream([mel], 3, chunk=8)
    short.lead = 1
    assert error(joined(short), vocoder.generate(mel, 3).samples) > 1e-4


@settings(max_examples=25, deadline=None)
@given(pieces=st.lists(st.integers(1, 40), min_size=1, max_size=6), chunk=st.integers(1, 50), source=st.booleans())
def test_any_pieces_and_any_chunk(pieces, chunk, source):
    vocoder, mel = build(source=source), make_mel(sum(pieces))
    stream = vocoder.stream(mel.split(pieces, -1), 2, chunk=chunk)
    assert error(joined(stream), vocoder.generate(mel, 2).samples) < 1e-5


def test_frame_by_frame():
    vocoder, mel = build(source=True), make_mel(75)
    stream = vocoder.stream(mel.split(1, -1), 2, chunk=1)
    assert error(joined(stream), vocoder.generate(mel, 2).samples) < 1e-5


def test_borders_do_not_show():
    """No more happens from sample to sample where pieces meet than elsewhere."""
    vocoder, mel = build(source=True), make_mel(400)
    pieces = [audio.samples for audio in vocoder.stream([mel], 3, chunk=5)]
    borders = torch.tensor([len(piece) for piece in pieces[:-1]]).cumsum(0)
    bends = torch.cat(pieces).diff(n=2).abs()
    assert len(borders) > 60
    assert bends[borders - 1].mean() < 1.5 * bends.mean()


def test_other_processes():
    growing = build(schedule=VarianceExploding(), objective=X0())
    learned = build(num_outputs=2, objective=LearnedVariance(V()))
    mel = make_mel(80)
    for vocoder, sampler in ((growing, "dpmpp_2m"), (learned, "ddpm_learned"), (learned, "ddim")):
        whole = vocoder.generate(mel, 3, sampler=sampler).samples
        assert error(joined(vocoder.stream([mel], 3, sampler=sampler, chunk=16)), whole) < 1e-5


@pytest.mark.parametrize("part", ["call", "color", "iteration", "source"])
def test_a_halo_half_as_long_is_too_short(part):
    """Every part's reach is needed: the tests above would notice a halo that is too small."""
    vocoder, mel = build(source=True, channels=[8], blocks=[3]), make_mel(150)
    options = {"steps": 2, "consistency": 1, "chunk": 8}
    whole = vocoder.generate(mel, 2, consistency=1).samples
    stream = vocoder.stream([mel], **options)
    assert error(joined(stream), whole) < 1e-5
    short = vocoder.stream([mel], **options)
    *calls, color, iteration = short.stages
    for stage in {"call": calls, "color": [color], "iteration": [iteration], "source": []}[part]:
        stage.receptive_field = stage.receptive_field // SPEC.hop_length // 2 * SPEC.hop_length
    if part == "source":
        short.lead //= 2
    assert error(joined(short), whole) > 1e-4


def test_audio_comes_as_soon_as_its_halo_is_known():
    vocoder, mel, drawn = build(source=True), make_mel(200), 0

    def frames():
        nonlocal drawn
        for frame in mel.split(1, -1):
            drawn += 1
            yield frame

    stream = vocoder.stream(frames(), 2, chunk=4)
    assert drawn == 0
    halo = stream.halo // SPEC.hop_length
    network, source = (
        vocoder.model.network.receptive_field // SPEC.hop_length,
        vocoder.model.excitation.pitch.receptive_field + 1,
    )
    assert halo == source + 2 * network + 4 + 2 * 4
    for number, audio in enumerate(stream):
        if drawn == 200:
            break
        assert drawn == 4 * (halo // 4 + 1 + number)
        assert len(audio.samples) == (4 if number else drawn - halo) * SPEC.hop_length


def test_what_is_kept_does_not_grow():
    vocoder, kept = build(source=True), []
    stream = vocoder.stream(make_mel(600).split(20, -1), 3, sampler="v_3m", chunk=20)
    for _ in stream:
        kept.append(sum(stage.stored.untyped_storage().nbytes() for stage in stream.stages) + stream.mel.numel())
    assert len(kept) > 20
    # Stretches begin on the grid, two frames wide: every other turn keeps a frame more.
    assert max(kept[10:-1]) <= max(kept[2:8])


def test_pulses_run_on():
    """Pieces of the excitation are the whole, sample by sample, also after thousands of periods."""
    source = build(source=True).model.excitation
    mel, lead, hop = make_mel(6000)[None], source.pitch.receptive_field + 1, SPEC.hop_length
    whole = source.synthesize(mel, 6000 * hop)[0, 0]
    phase, pieces = 0.0, []
    for start, stop in pairwise([0, 7, 3000, 3001, 6000]):
        first, end = max(0, start - lead), min(stop + lead, 6000)
        inside = (start - first) * hop, (stop - first) * hop
        made, phase = source.stretch(mel[..., first:end], *inside, phase, first=first)
        pieces.append(made[0, 0])
    assert whole.abs().max() > 1
    # The rounding of a phase and of an answer in float32: it does not grow with the periods.
    assert error(torch.cat(pieces), whole) < 5e-7


def test_pulses_of_a_clip_in_a_batch_are_its_own():
    """Also in the last hop, where F0 is held and not read from what lies beyond the clip."""
    source, mel = build(source=True).model.excitation, make_mel(90)[None]
    held = torch.cat([mel, mel[..., -1:].expand(-1, -1, 30)], -1)
    other = make_mel(120)[None]
    together = source.synthesize(torch.cat([held, other]), 120 * SPEC.hop_length, torch.tensor([90, 120]))
    alone = source.synthesize(mel, 90 * SPEC.hop_length)
    assert error(together[:1, :, : 90 * SPEC.hop_length], alone) < 1e-6


def differs(made: torch.Tensor, other: torch.Tensor, at: int) -> int:
    """How far from sample `at` two signals (1, T) differ, in a single bit."""
    places = (made != other).nonzero()[:, 1]
    return (places - at).abs().max().item()


def test_prior_and_consistency_see_as_far_as_a_frame():
    at, total = 3000, 100 * SPEC.hop_length
    x, mel = torch.randn(1, total, generator=torch.Generator().manual_seed(0)), make_mel(100)[None]
    louder = x.clone()
    louder[0, at] += 10
    prior = MelPrior(SPEC)
    assert 128 < differs(prior.color(x, mel), prior.color(louder, mel), at) < SPEC.n_fft
    for iterations in (1, 3):
        made, other = (project(signal, mel, SPEC, iterations) for signal in (x, louder))
        assert iterations * 128 < differs(made, other, at) < iterations * SPEC.win_length
    turned = mel.clone()
    turned[..., 47] += 1
    place = SPEC.offset + 47 * SPEC.hop_length
    assert 64 < differs(prior.color(x, mel), prior.color(x, turned), place) <= SPEC.n_fft // 2
    assert 64 < differs(project(x, mel, SPEC, 1), project(x, turned, SPEC, 1), place) <= SPEC.win_length // 2


@pytest.mark.parametrize(
    ("chunks", "words"),
    [
        ([], "mel chunks: .*at least one frame"),
        ([torch.zeros(20, 3), torch.zeros(19, 3)], "mel chunk 1: has shape 19x3"),
        ([torch.zeros(20, 0), torch.zeros(20, 0)], "mel chunks: .*at least one frame"),
        ([torch.zeros(20, 3), torch.zeros(20, 3), torch.full((20, 1), torch.inf)], "mel chunk 2: has NaN or infinite"),
    ],
)
def test_chunks_that_are_none(chunks, words):
    stream = build().stream(chunks, 2)
    with pytest.raises(UserError, match=words):
        list(stream)


def test_what_is_refused_before_the_first_chunk():
    vocoder = build()
    with pytest.raises(UserError, match="attention"):
        build(attention_levels=True).stream([])
    with pytest.raises(UserError, match="chunk 0"):
        vocoder.stream([], chunk=0)
    with pytest.raises(UserError, match="sampler 'magic'"):
        vocoder.stream([], sampler="magic")
    with pytest.raises(UserError, match="2 for 1 clips"):
        vocoder.stream([], clip_seeds=[1, 2])


def test_a_network_that_breaks_is_told_of():
    vocoder = build()
    with torch.no_grad():
        vocoder.model.network.unet.conv_out.bias.fill_(torch.nan)
    with pytest.raises(ValueError, match=r"not finite after step 1 of 2, from sample 0 on"):
        list(vocoder.stream([make_mel(100)], 2, chunk=16))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_gpu_streams_the_same():
    model, mel = build(source=True).model, make_mel(131)
    there = Vocoder(model, "cuda")
    made, whole = joined(there.stream([mel], 2, chunk=16)), there.generate(mel, 2).samples
    assert error(made, whole) < 5e-3
