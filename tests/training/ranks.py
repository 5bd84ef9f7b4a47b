"""Two processes that share every batch end where one does, and write what one writes."""

import functools
import json

import lightning
import pytest
import torch
from safetensors.torch import load_file
from torch.utils._pytree import tree_leaves

from audiodiff.conditioners.scalars import Scalars
from audiodiff.data.corpora.tones import write_tones
from audiodiff.data.shards import write_shards
from audiodiff.diffusion.objective import V
from audiodiff.diffusion.schedules.learned import LearnedSchedule
from audiodiff.diffusion.schedules.schedule import Cosine
from audiodiff.diffusion.timestep_sampling import LossSecondMoment
from audiodiff.diffusion.weighting import VariationalBound
from audiodiff.models.audio_model import AudioModel
from audiodiff.models.codec import Codec
from audiodiff.nn.autoencoder import Autoencoder
from audiodiff.nn.frontends.frontend import IdentityFrontend, StftFrontend
from audiodiff.nn.network import Network
from audiodiff.training.batch_random import BatchRandom
from audiodiff.training.callbacks import Checkpoints, ExponentialMovingAverage
from audiodiff.training.checkpoint_io import AtomicCheckpointIO
from audiodiff.training.datamodule import AudioData, ManifestData
from audiodiff.training.guard import NonFiniteGuard
from audiodiff.training.latents import LatentData
from audiodiff.training.module import TrainingModule
from audiodiff.training.optim import WarmupCosine
from audiodiff.training.sharded import ShardedStrategy
from audiodiff.training.tasks.codec import CodecTask
from audiodiff.training.tasks.denoising import DenoisingTask
from audiodiff.training.tasks.few_step import FewStepTask

pytestmark = pytest.mark.filterwarnings("ignore")
STEPS, MORE_STEPS, SAVED_AT, SAMPLES = 3, 20, 7, 2048
STRATEGIES = {"ddp": lambda: "ddp_fork", "fsdp": lambda: ShardedStrategy(start_method="fork")}
SGD = functools.partial(torch.optim.SGD, lr=0.05, momentum=0.9)


@pytest.fixture(scope="module")
def tones(tmp_path_factory):
    return write_tones(tmp_path_factory.mktemp("tones"), clips=6, seconds=0.5).root


def vocoder(make_training, **options):
    return make_training(timestep_sampling=LossSecondMoment(bins=2, history=2), **options)


def few_step(make_training, **options):
    return make_training(FewStepTask, steps=(1, 2), sampler="ddim", consistency=1, mel_weight=0.5, **options)


def music(make_training, **options):
    torch.manual_seed(0)
    network = Network(StftFrontend(1, 256, 64), 0, 1, [8], [1], embedding=8)
    model = AudioModel(network, Cosine(), V(), 16000, SAMPLES, conditioners=[Scalars(["seconds"], 8)])
    return TrainingModule(
        model, DenoisingTask(condition_dropout=0.5, spectrum_crops=2), SGD, WarmupCosine(2), **options
    )


def autoencoder(make_training, **options):
    torch.manual_seed(0)
    network = Autoencoder(latents=4, hop_length=32, channels=[8, 8], blocks=[1, 1], phases=True)
    return TrainingModule(Codec(network, 16000, 2), CodecTask(), SGD, WarmupCosine(2), **options)


def latent(make_training, **options):
    torch.manual_seed(0)
    network = Network(IdentityFrontend(4), 0, 1, [8], [1], embedding=8)
    model = AudioModel(network, LearnedSchedule(sigmoids=4), V(VariationalBound()), 16000, SAMPLES, autoencoder=coder())
    return TrainingModule(model, DenoisingTask(normalize_rms=False), SGD, WarmupCosine(2), **options)


def coder() -> Autoencoder:
    torch.manual_seed(1)
    return Autoencoder(latents=4, hop_length=32, channels=[8, 8], blocks=[1, 1])


KINDS = {"latent": latent, "vocoder": vocoder, "few_step": few_step, "music": music, "autoencoder": autoencoder}


def data_of(kind: str, tones) -> ManifestData:
    if kind in ("vocoder", "few_step"):
        return ManifestData(str(tones), 16000, SAMPLES, 4, seed=3)
    if kind == "latent":
        Codec(coder(), 16000, 1).save_pretrained(tones / "codec")
        return LatentData(str(tones), 16000, SAMPLES, 4, seed=3, channels=1, codec=str(tones / "codec"))
    data = AudioData(str(tones), 16000, SAMPLES, 4, seed=3, channels=1 if kind == "music" else 2)
    data.conditioners = [Scalars(["seconds"], 8)] if kind == "music" else []
    return data


class Recorder(lightning.Callback):
    """Writes down what every rank sees; makes the waveform of some draws infinite before that."""

    def __init__(self, folder, broken=()):
        self.folder, self.broken = folder, broken

    def on_train_batch_start(self, trainer, module, batch, batch_index):
        for row, draw in enumerate(batch["draw"].tolist()):
            if draw in self.broken:
                batch["waveform"][row] = torch.inf

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_index):
        moved = float(sum(parameter.detach().double().abs().sum() for parameter in module.parameters()))
        seen = {"draw": batch["draw"].tolist(), "next": module.next_draw, "moved": moved}
        with (self.folder / f"ranks_{trainer.world_size}_rank_{trainer.global_rank}").open("a") as file:
            file.write(json.dumps(seen) + "\n")


def fit(
    module, data, folder, ranks: int, broken=(), precision: str = "64-true", strategy: str = "ddp", steps: int = STEPS,
    resume=None, callbacks=(),
) -> tuple[dict, list[list[dict]]]:  # fmt: skip
    """The weights at the end, and what each rank saw, step by step."""
    trainer = lightning.Trainer(
        accelerator="cpu", devices=ranks, strategy="auto" if ranks == 1 else STRATEGIES[strategy](),
        precision=precision, max_steps=steps, limit_val_batches=0, logger=False, enable_checkpointing=bool(callbacks),
        enable_progress_bar=False, enable_model_summary=False, use_distributed_sampler=False, default_root_dir=folder,
        gradient_clip_val=1.0, callbacks=[Recorder(folder, broken), *callbacks], plugins=[AtomicCheckpointIO()],
    )  # fmt: skip
    trainer.fit(module, datamodule=data, ckpt_path=resume, weights_only=True if resume else None)
    seen = [(folder / f"ranks_{ranks}_rank_{rank}").read_text().splitlines() for rank in range(ranks)]
    return module.state_dict(), [[json.loads(line) for line in lines] for lines in seen]


@pytest.mark.parametrize("kind", KINDS)
def test_two_ranks_see_the_draws_of_one_and_end_with_its_weights(kind, make_training, tones, tmp_path):
    precision, tolerance = ("32-true", 1e-6) if kind == "autoencoder" else ("64-true", 1e-7)
    ends = []
    for ranks in (1, 2):
        module = KINDS[kind](make_training, seed=5, guard=NonFiniteGuard(tmp_path))
        module.optimizer = SGD
        begin = {name: weight.clone().double() for name, weight in module.state_dict().items()}
        ends.append(fit(module, data_of(kind, tones), tmp_path, ranks, precision=precision))
    (one, (alone,)), (two, shared) = ends
    assert [seen["draw"] for seen in alone] == [[4 * i, 4 * i + 1, 4 * i + 2, 4 * i + 3] for i in range(STEPS)]
    for rank, seen in enumerate(shared):
        assert [step["draw"] for step in seen] == [step["draw"][rank::2] for step in alone]
        assert [step["next"] for step in seen] == [step["next"] for step in alone] == [4, 8, 12]
    assert any((one[name] - begin[name]).abs().max() > 1e-3 for name in one)
    for name, weight in one.items():
        torch.testing.assert_close(two[name].to(weight), weight, rtol=0, atol=tolerance, msg=name)


def test_a_step_that_one_rank_cannot_take_is_taken_by_none(make_training, tones, tmp_path):
    """Draw 5 is on rank 1 alone: both skip the second step, as one process does, and the bad half is saved."""
    for ranks in (1, 2):
        folder = tmp_path / str(ranks)
        folder.mkdir()
        module = vocoder(make_training, seed=5, guard=NonFiniteGuard(folder))
        module.optimizer = SGD
        weights, seen = fit(module, data_of("vocoder", tones), folder, ranks, broken=(5,))
        for steps in seen:
            moved = [step["moved"] for step in steps]
            assert moved[0] == moved[1] != moved[2]
        assert all(weight.isfinite().all() for weight in weights.values())
    saved = load_file(tmp_path / "2" / "nonfinite" / "draw_000000005.safetensors")
    assert saved["draw"].tolist() == [5, 7] and not saved["waveform"][0].isfinite().any()


def test_random_numbers_do_not_depend_on_the_number_of_ranks():
    def numbers(rank, ranks):
        random, clips = BatchRandom(7, rank, ranks), 6 // ranks
        drawn = [random.uniform(clips, 2), random.normal(clips, 3), random.normal(clips, 3, repeats=2).movedim(1, 0)]
        return [*drawn, *random.times(LossSecondMoment(), clips)], random.choice(range(1000))

    whole, choice = numbers(0, 1)
    for ranks in (2, 3):
        for rank in range(ranks):
            part, same = numbers(rank, ranks)
            assert same == choice
            assert all(torch.equal(mine, every[rank::ranks]) for mine, every in zip(part, whole, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("kind", KINDS)
def test_after_twenty_steps_two_ranks_have_the_weights_of_one(kind, strategy, make_training, tones, tmp_path):
    # A codec trains in single precision only, where a larger rate would amplify what the order of sums changes.
    precision, rate = ("32-true", 2e-3) if kind == "autoencoder" else ("64-true", 0.05)
    ends = []
    for ranks in (1, 2):
        module = KINDS[kind](make_training, seed=5)
        module.optimizer = functools.partial(SGD, lr=rate)
        begin = {name: weight.clone().double() for name, weight in module.state_dict().items()}
        data = data_of(kind, tones)
        ends.append(fit(module, data, tmp_path, ranks, precision=precision, strategy=strategy, steps=MORE_STEPS)[0])
    one, two = ends
    assert any((one[name] - begin[name]).abs().max() > 5e-3 for name in one)
    assert max(float((two[name].to(one[name]) - one[name]).abs().max()) for name in one) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_two_ranks_resumed_within_a_shard_end_as_if_never_stopped(strategy, make_training, tmp_path):
    """Weights, their average and the optimizer's state: bit for bit, and as of one process within rounding."""
    shards = tmp_path / "shards"
    manifest = write_shards(write_tones(tmp_path / "tones", clips=16, seconds=0.5), shards, megabytes=0.03)
    assert len({clip.path.partition("/")[0] for clip in manifest.with_splits("train").clips}) > 2

    def train(folder, ranks: int, resume=None) -> dict:
        folder.mkdir(exist_ok=True)
        module = make_training(seed=5, timestep_sampling=LossSecondMoment(bins=2, history=2)).double()
        module.optimizer = functools.partial(torch.optim.AdamW, lr=1e-2)
        module.tuning.pull = 0.1
        data = ManifestData(str(shards), 16000, SAMPLES, 4, seed=3)
        data.setup("fit")
        callbacks = [ExponentialMovingAverage(0.9), Checkpoints(str(folder), every_n_steps=SAVED_AT)]
        options = {"strategy": strategy, "steps": MORE_STEPS, "resume": resume, "callbacks": callbacks}
        fit(module, data, folder, ranks, **options)
        neighbors = [data.crops.clip(draw).path.partition("/")[0] for draw in (4 * SAVED_AT - 1, 4 * SAVED_AT)]
        assert neighbors[0] == neighbors[1]  # a shard is begun and not ended
        return torch.load(folder / "checkpoints" / f"step={MORE_STEPS:09d}.ckpt", weights_only=True)

    alone, unbroken = train(tmp_path / "one", 1), train(tmp_path / "two", 2)
    saved = tmp_path / "two" / "checkpoints" / f"step={SAVED_AT:09d}.ckpt"
    resumed = train(tmp_path / "resumed", 2, saved)
    further = train(tmp_path / "fewer", 1, saved)  # on another number of devices
    assert resumed["next_draw"] == unbroken["next_draw"] == 4 * MORE_STEPS
    for key in ("state_dict", "current_model_state", "averaging_state", "optimizer_states", "tuning"):
        found, expected = tensors(resumed[key]), tensors(unbroken[key])
        assert len(found) == len(expected) > 0
        assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True)), key
        for other in (alone, further):
            for mine, theirs in zip(found, tensors(other[key]), strict=True):
                torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-5, msg=key)


def tensors(tree) -> list[torch.Tensor]:
    """All tensors of a part of a checkpoint, in order."""
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]
