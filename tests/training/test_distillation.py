"""Tasks of distillation: students of Gaussian teachers are exact, and resumed runs are the unbroken ones."""

import copy
import io
import math

import pytest
import torch
from distilling import DEVIATION, gather, module, steps

from audiodiff.conditioners.guidance import Guidance
from audiodiff.diffusion.distillation import two_step_target
from audiodiff.diffusion.objective import X0, Epsilon, V
from audiodiff.diffusion.samplers.consistency import Consistency
from audiodiff.diffusion.samplers.multistep import Multistep
from audiodiff.diffusion.schedules.schedule import Cosine
from audiodiff.errors import UserError
from audiodiff.training.discriminators import Discriminator
from audiodiff.training.tasks.adversarial import AdversarialTask, relativistic_loss
from audiodiff.training.tasks.consistency_distillation import ConsistencyDistillationTask
from audiodiff.training.tasks.consistency_training import ConsistencyTrainingTask
from audiodiff.training.tasks.energy_distance import EnergyDistanceTask
from audiodiff.training.tasks.progressive import ProgressiveTask

X1 = torch.randn(4, 1, 16, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
TASKS = {
    "progressive": lambda: ProgressiveTask("teacher", 8, 1, stage_steps=3),
    "consistency distillation": lambda: ConsistencyDistillationTask("teacher", doubling_steps=2, target_decay=0.9),
    "consistency training": lambda: ConsistencyTrainingTask(doubling_steps=2, target_decay=0.5),
    "energy distance": lambda: EnergyDistanceTask(),
    "adversarial": lambda: AdversarialTask("teacher", discriminator="stft"),
}


def sampled(model, sampler) -> torch.Tensor:
    with torch.no_grad():
        return sampler(model.denoiser, X1, noise=lambda step: torch.zeros_like(X1))


@pytest.mark.parametrize("objective", [V(), X0()], ids=lambda one: type(one).__name__)
def test_the_last_progressive_student_is_the_first_teacher_in_one_step(objective):
    training = module(ProgressiveTask("teacher", 4, 1, stage_steps=120), objective)
    expected = sampled(training.model, Multistep(4, 1))
    assert not torch.allclose(sampled(training.model, Multistep(1, 1)), expected, atol=0.05)
    optimizer = training.configure_optimizers()
    steps(training, optimizer, 0, 240, clips=16, decay=lambda number: 0.1 * 0.96 ** (number % 120))
    assert torch.allclose(sampled(training.model, Multistep(1, 1)), expected, rtol=0, atol=2e-3)
    assert training.model.distillation.steps == (1,) and training.model.grids[0].times == (1.0, 0.0)


def test_the_loss_of_the_exact_student_is_zero():
    """Gains that are solved for on the grid of four steps; moved a little, they have a loss."""
    training = module(ProgressiveTask("teacher", 8, 4, stage_steps=1))
    network, teacher = training.model.network, training.task.teacher.model.denoiser
    one = torch.ones(1, 1, 1, dtype=torch.float64)
    with torch.no_grad():
        for index in (1, 2, 3, 4):
            t, m, s = (torch.tensor([(index - back) / 4], dtype=torch.float64) for back in (0, 0.5, 1))
            target = two_step_target(teacher, one, (t, m, s))
            alpha, sigma = (f(t, torch.float64) for f in (training.model.schedule.alpha, training.model.schedule.sigma))
            network.gain[16 * index] = ((alpha - target) / sigma).squeeze()  # v of this x0
    batch = {"waveform": torch.zeros(64, 1, 16)}
    assert training.compute_loss(batch, "draw 0")["loss"].item() < 1e-24
    with torch.no_grad():
        network.gain[32] += 0.1
    assert training.compute_loss(batch, "draw 0")["loss"].item() > 1e-4


@pytest.mark.parametrize("objective", [V(), X0(), Epsilon()], ids=lambda one: type(one).__name__)
def test_a_consistency_student_is_its_teacher_s_trajectories(objective):
    """On a fixed grid of four intervals, f(x_1, 1) becomes the end of four DDIM steps of the teacher."""
    task = ConsistencyDistillationTask("teacher", teacher_order=1, intervals=(4, 4), huber=None)
    training = module(task, objective)
    expected = sampled(training.model, Multistep(4, 1))
    optimizer = training.configure_optimizers()
    steps(training, optimizer, 0, 250, clips=16, decay=lambda number: 0.1 * 0.975**number)
    found = sampled(training.model, Consistency(1))
    assert (training.model.denoiser.t_max == 1) == (not isinstance(objective, Epsilon))
    assert torch.allclose(found, expected, rtol=0, atol=0.01)


def untaught_gain(intervals: int) -> float:
    """E[x0 | x_1] through all states: the product of E[x_s x_t] / E[x_t^2] of neighbours, in closed form."""
    t = torch.linspace(0, 1, intervals + 1, dtype=torch.float64)
    alpha, sigma = Cosine().alpha(t, torch.float64), Cosine().sigma(t, torch.float64)
    joint = DEVIATION**2 * alpha[:-1] * alpha[1:] + sigma[:-1] * sigma[1:]
    return float((joint / (DEVIATION**2 * alpha[1:] ** 2 + sigma[1:] ** 2)).prod())


def test_consistency_training_finds_the_exact_map_without_a_teacher():
    """Its fixed point on a grid is known; as the grid grows fine, it is the ODE's, a scaling by the deviation."""
    training = module(ConsistencyTrainingTask(intervals=(2, 4), doubling_steps=60, huber=None))
    optimizer = training.configure_optimizers()
    steps(training, optimizer, 0, 400, clips=64, decay=lambda number: 0.1 * 0.985**number)
    gain = float((sampled(training.model, Consistency(1)) / X1).mean())
    assert gain == pytest.approx(untaught_gain(4), abs=0.02)
    errors = [DEVIATION - untaught_gain(intervals) for intervals in (100, 200, 400)]
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.05) and errors[1] / errors[2] == pytest.approx(2, rel=0.05)


def test_the_number_of_intervals_doubles_up_to_the_last():
    task = ConsistencyTrainingTask(intervals=(10, 50), doubling_steps=2)
    seen = []
    for _ in range(8):
        task.step += 1
        seen.append(task.intervals)
    assert seen == [10, 10, 20, 20, 40, 40, 50, 50]


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("at", [2, 3, 4], ids=["before a stage", "at its start", "behind it"])
def test_a_resumed_run_is_the_unbroken_one_bit_for_bit(name, at):
    whole = module(TASKS[name]())
    optimizer = whole.configure_optimizers()
    steps(whole, optimizer, 0, at)
    file = io.BytesIO()
    state = {"model": whole.model.state_dict(), "optimizer": optimizer.state_dict(), "task": whole.task.state_dict()}
    torch.save(state, file)
    expected = steps(whole, optimizer, at, 8)

    file.seek(0)
    found = torch.load(file, weights_only=True)
    task = TASKS[name]()
    task.load_state_dict(found["task"])  # before the model is there, as Lightning does
    broken = module(task)
    broken.model.load_state_dict(found["model"])
    task.prepare(broken.model, None)
    again = broken.configure_optimizers()
    again.load_state_dict(found["optimizer"])
    assert steps(broken, again, at, 8) == expected
    assert torch.equal(broken.model.network.gain, whole.model.network.gain)
    assert broken.model.distillation == whole.model.distillation


def test_the_teacher_of_a_stage_is_the_student_of_the_one_before():
    training = module(ProgressiveTask("teacher", 4, 1, stage_steps=2))
    optimizer = training.configure_optimizers()
    first = training.task.teacher.model.network.gain.clone()
    steps(training, optimizer, 0, 2)
    student = training.model.network.gain.detach().clone()
    assert torch.equal(training.task.teacher.model.network.gain, first) and not torch.equal(student, first)
    steps(training, optimizer, 2, 3)
    assert torch.equal(training.task.teacher.model.network.gain, student)
    assert training.model.distillation.steps == (1,)


def test_another_teacher_or_a_damaged_one_is_refused():
    state = module(ProgressiveTask("drums", 4, 1)).task.state_dict()
    with pytest.raises(UserError, match=r"init_from sounds.*distills drums"):
        ProgressiveTask("sounds", 4, 1).load_state_dict(state)
    damaged = copy.deepcopy(state)
    next(iter(damaged["teacher"]["weights"].values())).add_(1)
    with pytest.raises(UserError, match="does not match its hash"):
        ProgressiveTask("drums", 4, 1).load_state_dict(damaged)
    ProgressiveTask(None, 4, 1).load_state_dict(state)  # the folder's name is not needed


def test_the_gradients_of_the_relativistic_game_are_known():
    """d/dD(y) of the generator's loss is -sigmoid(D(x) - D(y)), and of the discriminator's the opposite side's."""
    real, fake = torch.tensor([0.3, -1.0, 2.0]), torch.tensor([0.1, 1.5, 2.0])
    scores = [real.clone().requires_grad_(), fake.clone().requires_grad_()]
    generator = torch.autograd.grad(relativistic_loss(scores[0], scores[1]).sum(), scores)
    assert torch.allclose(generator[1], -torch.sigmoid(real - fake)) and torch.allclose(generator[0], -generator[1])
    discriminator = torch.autograd.grad(relativistic_loss(scores[1], scores[0]).sum(), scores)
    assert torch.allclose(discriminator[0], -torch.sigmoid(fake - real))
    assert float(relativistic_loss(real, real).mean()) == pytest.approx(math.log(2))


def test_the_generator_s_gradient_is_that_of_a_linear_discriminator():
    """D(x) = w mean(x): d L / d y = -sigmoid(D(x) - D(y)) w alpha / samples, alpha of the level that D sees."""
    training = module(AdversarialTask("teacher", steps=(1,), discriminator="stft"))
    task, weight = training.task, 0.7

    class Linear(Discriminator):
        def score(self, x_t, t, condition):
            self.alpha = Cosine().alpha(t, torch.float64)
            return weight * x_t.mean((1, 2))

    task._discriminator = linear = Linear(task.teacher.model)
    seen, generate = {}, task._generate

    def spy(*arguments):
        generated, t, share = generate(*arguments)
        seen["y"] = generated
        generated.retain_grad()
        return generated, t, share

    task._generate = spy
    views = linear.views
    linear.views = lambda *arguments: seen.setdefault("scores", views(*arguments))
    loss = training.compute_loss({"waveform": torch.zeros(6, 1, 16)}, "draw 0")["loss"]
    loss.backward()
    real, fake = (score.detach() for score in seen["scores"])
    expected = -torch.sigmoid(real - fake) * weight * linear.alpha / 16 / 6
    assert torch.allclose(seen["y"].grad[:, 0], expected[:, None].expand(-1, 16))


def test_a_discriminator_that_sees_the_same_twice_has_no_gradient():
    """log(1 + exp(D(x) - D(x))) is constant; of two different signals it is not."""
    largest = []
    for factor in (1.0, 0.5):
        training = module(AdversarialTask("teacher", discriminator="stft", penalty=0.0))
        task = training.task
        task._generate = lambda model, example, random, by=factor: (by * example.x0, None, None)
        task.on_step_start(training.model, {"waveform": torch.zeros(4, 1, 16)}, training._random("step", 1), gather)
        largest.append(max(float(one.grad.abs().max()) for one in task.discriminator.trained.parameters()))
    assert largest[0] <= 1e-9 and largest[1] > 1e-4


def test_another_discriminator_is_refused_in_one_line():
    state = module(AdversarialTask("teacher", discriminator="stft")).task.state_dict()
    with pytest.raises(UserError, match=r"task.discriminator features: the run to resume.*stft") as caught:
        AdversarialTask("teacher", discriminator="features").load_state_dict(state)
    assert "\n" not in str(caught.value)
    AdversarialTask("teacher", discriminator="stft").load_state_dict(state)


def test_a_stage_that_a_resumed_run_shortens_ends_at_once():
    training = module(ProgressiveTask("teacher", 4, 1, stage_steps=9))
    optimizer = training.configure_optimizers()
    steps(training, optimizer, 0, 4)
    task = ProgressiveTask("teacher", 4, 1, stage_steps=2)
    task.load_state_dict(training.task.state_dict())
    shorter = module(task)
    steps(shorter, shorter.configure_optimizers(), 4, 5)
    assert shorter.task.stage == 1 and shorter.model.distillation.steps == (1,)


def test_the_step_of_a_discriminator_separates_pairs_and_leaves_the_student_alone():
    training = module(AdversarialTask("teacher", discriminator="stft", discriminator_lr=1e-3, penalty=0.0))
    task, model, batch = training.task, training.model, {"waveform": torch.zeros(64, 1, 16)}
    with torch.no_grad():
        model.network.gain.zero_()  # v = 0: the estimate is the noisy signal, scaled
    gains = model.network.gain.clone()

    def margin() -> float:
        return sum(training.compute_loss(batch, f"draw {number}")["margin"].item() for number in range(3)) / 3

    before = margin()
    for number in range(6):
        task.on_step_start(model, batch, training._random(f"step {number}", 1), gather)
    assert margin() > 0.1 > before
    assert torch.equal(gains, model.network.gain) and model.network.gain.grad is None


def test_the_energy_distance_finds_the_deviation_of_the_data():
    """One step scales noise by -v(1); the distance has its minimum where the outputs are as wide as the data."""
    training = module(EnergyDistanceTask(steps=(1,)))
    with torch.no_grad():
        training.model.network.gain[-1] = -0.2
    optimizer = training.configure_optimizers()
    steps(training, optimizer, 0, 150, clips=64, decay=lambda number: 0.05 * 0.98**number)
    assert abs(training.model.network.gain[-1].item()) == pytest.approx(DEVIATION, abs=0.05)
    collapsed = module(EnergyDistanceTask(steps=(1,), repulsion=0.0))
    optimizer = collapsed.configure_optimizers()
    steps(collapsed, optimizer, 0, 150, clips=64, decay=lambda number: 0.05 * 0.98**number)
    assert abs(collapsed.model.network.gain[-1].item()) < 0.1  # the mean of all signals


BAD = [
    (lambda: ProgressiveTask("t", 16, 3), "student_steps 3.*not task.teacher_steps=16 halved.*8 or 4 or 2 or 1"),
    (lambda: ProgressiveTask("t", 16, 16), "student_steps 16"),
    (lambda: ProgressiveTask("t", 15, 2), "student_steps 2.*power of two"),
    (lambda: ProgressiveTask("t", 16, 1, stage_steps=[10, 10]), "gives 2 stages, 16 to 1 steps are 4"),
    (lambda: ConsistencyTrainingTask(intervals=(20, 10)), "intervals .20, 10."),
    (lambda: ConsistencyTrainingTask(steps=()), "task.steps"),
    (lambda: ConsistencyDistillationTask("t", teacher_order=3), "teacher_order 3"),
    (lambda: AdversarialTask("t", discriminator="gan"), "discriminator 'gan': is unknown.*features or stft"),
    (lambda: AdversarialTask("t", steps=()), "task.steps"),
    (lambda: EnergyDistanceTask(steps=()), "task.steps"),
    (lambda: Guidance(4.0, 1.0), "guidance range 4 to 1: is reversed"),
    (lambda: Guidance(2.0, 4.0), "guidance range 2 to 4: does not include 1"),
]


@pytest.mark.parametrize(("make", "message"), BAD, ids=range(len(BAD)))
def test_bad_options_are_refused_in_one_line(make, message):
    with pytest.raises(UserError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_a_run_without_a_teacher_is_refused():
    with pytest.raises(UserError, match="set init_from=MODEL"):
        module(ProgressiveTask(None, 4, 1))


def test_a_student_of_another_sampler_is_refused():
    training = module(ConsistencyTrainingTask())
    training.model.sampler = "dpmpp_2m"
    with pytest.raises(UserError, match=r"sampler.name dpmpp_2m.*set sampler=consistency"):
        training.task.prepare(training.model, None)


def test_a_model_type_that_is_not_distilled_is_refused():
    training = module(ConsistencyTrainingTask())
    training.task.examples, training.model.TYPE = None, "codec"
    with pytest.raises(UserError, match="type codec are not distilled"):
        training.task.prepare(training.model, None)
