from dataclasses import dataclass

import pytest
import torch

from audiodiff.diffusion.denoiser import Denoiser
from audiodiff.diffusion.guidance.extrapolation import ClassifierFree
from audiodiff.diffusion.guidance.gradient import ClassifierGuidance, CosineSimilarity, EmbeddingGuidance
from audiodiff.diffusion.objective import V
from audiodiff.diffusion.oracle import GaussianOracle
from audiodiff.diffusion.samplers.ancestral import DDIM
from audiodiff.diffusion.schedules.schedule import Cosine, RectifiedFlow, VarianceExploding
from audiodiff.diffusion.windowed import Windowed

SCHEDULES = [Cosine(), VarianceExploding(), RectifiedFlow()]
BATCH_TIMES = torch.linspace(0.1, 0.9, 32, dtype=torch.float64)


@dataclass(frozen=True)
class Seen:
    y: torch.Tensor


class Observation:
    """y = matrix x0 + noise of the given variance, about Gaussian signals: its exact classifier and conditional."""

    def __init__(self, oracle, matrix, variance):
        self.oracle, self.matrix, self.variance = oracle, matrix, variance

    def log_prob(self, x_t, t, cond):
        y = getattr(cond, "y", cond)
        schedule = self.oracle.schedule
        levels = [
            (schedule.alpha(u), schedule.sigma(u)) for u in torch.as_tensor(t, dtype=torch.float64).expand(len(x_t))
        ]
        means = self.oracle(x_t, t).flatten(1) @ self.matrix.T
        return torch.stack(
            [
                torch.distributions.MultivariateNormal(mean, self._noise(alpha, sigma)).log_prob(observed)
                for mean, observed, (alpha, sigma) in zip(means, y, levels, strict=True)
            ]
        )

    def conditional(self, y):
        """The oracle of signals given one y."""
        gain = torch.linalg.solve(self._noise(0.0, 1.0), self.matrix @ self.oracle.covariance).T
        mean = self.oracle.mean + gain @ (y - self.matrix @ self.oracle.mean)
        return GaussianOracle(
            mean, self.oracle.covariance - gain @ self.matrix @ self.oracle.covariance, self.oracle.schedule
        )

    def _noise(self, alpha, sigma):
        variances = self.oracle.variances * sigma**2 / (alpha**2 * self.oracle.variances + sigma**2)
        posterior = self.oracle.modes @ torch.diag(variances) @ self.oracle.modes.T
        return self.matrix @ posterior @ self.matrix.T + self.variance * torch.eye(len(self.matrix)).double()


@pytest.fixture
def observation(gaussian, generator):
    return Observation(gaussian, torch.randn(2, 6, generator=generator, dtype=torch.float64), 0.3)


@pytest.fixture
def y(generator):
    return torch.randn(32, 2, generator=generator, dtype=torch.float64)


def _on(schedule, oracle):
    return GaussianOracle(oracle.mean, oracle.covariance, schedule)


def _linear(direction):
    return lambda x0_hat, cond: x0_hat.flatten(1) @ direction


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: type(schedule).__name__)
@pytest.mark.parametrize("t", [0.05, 0.5, 0.9])
def test_exact_classifier_gives_the_conditional_denoiser(schedule, t, observation, y, x1):
    observation = Observation(_on(schedule, observation.oracle), observation.matrix, observation.variance)
    x_t = schedule.level(t).scale * x1
    guided = ClassifierGuidance(observation.oracle, observation.log_prob)(x_t, t, y)
    exact = torch.cat([observation.conditional(y[n])(x_t[n : n + 1], t) for n in range(32)])
    assert torch.allclose(guided, exact, rtol=0, atol=1e-9)


def test_exact_classifier_at_the_time_of_each_clip(observation, y, x1):
    guided = ClassifierGuidance(observation.oracle, observation.log_prob)(x1, BATCH_TIMES, y)
    exact = torch.cat([observation.conditional(y[n])(x1[n : n + 1], float(BATCH_TIMES[n])) for n in range(32)])
    assert torch.allclose(guided, exact, rtol=0, atol=1e-9)


def test_linear_in_the_weight(observation, y, x1):
    plain = observation.oracle(x1, 0.5)
    one, three = (ClassifierGuidance(observation.oracle, observation.log_prob, w)(x1, 0.5, y) for w in (1.0, 3.0))
    assert torch.equal(ClassifierGuidance(observation.oracle, observation.log_prob, 0.0)(x1, 0.5, y), plain)
    assert torch.allclose(three - plain, 3 * (one - plain), rtol=0, atol=1e-12)


def test_exact_classifier_of_a_mixture_gives_the_component(mixture, x1):
    def log_prob(x_t, t, cond):
        level = mixture.schedule.level(t)
        return mixture.log_shares(x_t.flatten(1), level.alpha, level.sigma)[cond, torch.arange(len(x_t))]

    guided = ClassifierGuidance(mixture, log_prob)
    for k, component in enumerate(mixture.components):
        labels = torch.full((32,), k)
        assert torch.allclose(guided(x1, 0.4, labels), component(x1, 0.4), rtol=0, atol=1e-11)


def test_samples_have_the_conditional_mean_and_covariance(observation, y):
    """A sampler is affine on Gaussians, so its images of the origin and of unit vectors tell both exactly.

    At order 1 their error halves with the steps: what is left after one extrapolation is of order 2.
    """
    guided = ClassifierGuidance(observation.oracle, observation.log_prob)
    exact = observation.conditional(y[0])
    level = Cosine().level(guided.t_max)
    starts = torch.cat([torch.zeros(1, 6), torch.eye(6)]).double()[:, None] + level.alpha * exact.mean
    moments = []
    for nfe in (60, 120):
        x0 = DDIM(nfe)(guided, starts, y[:1].expand(7, 2))[:, 0]
        linear = x0[1:] - x0[0]
        noisy = level.alpha**2 * exact.covariance + level.sigma**2 * torch.eye(6, dtype=torch.float64)
        moments.append(torch.cat([x0[:1], linear.T @ noisy @ linear]))
    expected = torch.cat([exact.mean[None], exact.covariance])
    errors = [float((found - expected).abs().max()) for found in (*moments, 2 * moments[1] - moments[0])]
    assert errors[0] / errors[1] == pytest.approx(2, abs=0.1)
    assert errors[2] < 2e-3


@pytest.mark.parametrize("through", [True, False])
def test_linear_similarity_tilts_a_gaussian(through, gaussian, generator, x1):
    """p(x0) exp(w b . x0) has the mean plus w C b; without the denoiser's Jacobian that holds for C = I."""
    covariance = gaussian.covariance if through else torch.eye(6, dtype=torch.float64)
    direction = torch.randn(6, generator=generator, dtype=torch.float64)
    for schedule in SCHEDULES:
        oracle = GaussianOracle(gaussian.mean, covariance, schedule)
        tilted = GaussianOracle(gaussian.mean + 0.7 * covariance @ direction, covariance, schedule)
        guided = EmbeddingGuidance(oracle, _linear(direction), 0.7, through)
        for t in (0.1, 0.6, 0.9, BATCH_TIMES):
            assert torch.allclose(guided(x1, t), tilted(x1, t), rtol=0, atol=1e-9)


def test_without_the_jacobian_pure_noise_is_no_exception(gaussian, x1):
    standard = GaussianOracle(gaussian.mean, torch.eye(6), Cosine())
    guided = EmbeddingGuidance(standard, _linear(torch.ones(6, dtype=torch.float64)), 0.5, through_denoiser=False)
    assert guided.t_max == 1.0
    assert torch.allclose(guided(x1, 1.0), (gaussian.mean + 0.5).expand_as(x1))


def test_t_max_where_a_gradient_is_finite(gaussian):
    for kind in (ClassifierGuidance, EmbeddingGuidance):
        guided = kind(gaussian, None, 1.0)
        assert Cosine().level(guided.t_max).log_snr == pytest.approx(-10)
        assert kind(_on(VarianceExploding(), gaussian), None, 1.0).t_max == 1.0
        assert guided.schedule is gaussian.schedule
    assert ClassifierFree(guided, 2.0).t_max == guided.t_max


def test_arguments_are_kept(gaussian):
    guided = ClassifierGuidance(gaussian, abs)
    assert (guided.denoiser, guided.log_prob, guided.weight) == (gaussian, abs, 1.0)
    guided = EmbeddingGuidance(gaussian, abs, 2.0)
    assert (guided.denoiser, guided.similarity, guided.weight, guided.through_denoiser) == (gaussian, abs, 2.0, True)
    target = torch.ones(3)
    assert (CosineSimilarity(abs, target).embed, CosineSimilarity(abs, target).target) == (abs, target)


def test_what_does_not_interact_commutes(observation, y, x1):
    """Classifiers add up in any order, and a classifier that ignores the condition passes classifier-free guidance."""
    other = lambda x_t, t, cond: -x_t.square().sum((1, 2))  # noqa: E731
    first = ClassifierGuidance(ClassifierGuidance(observation.oracle, observation.log_prob), other, 0.1)
    second = ClassifierGuidance(ClassifierGuidance(observation.oracle, other, 0.1), observation.log_prob)
    assert torch.allclose(first(x1, 0.5, y), second(x1, 0.5, y), rtol=0, atol=1e-12)

    conditional = ClassifierGuidance(observation.oracle, observation.log_prob)
    none = torch.zeros_like(y)
    inside = ClassifierFree(ClassifierGuidance(conditional, other, 0.1), 3.0, none, join=lambda *c: torch.cat(c))
    outside = ClassifierGuidance(ClassifierFree(conditional, 3.0, none), other, 0.1)
    assert torch.allclose(inside(x1, 0.5, y), outside(x1, 0.5, y), rtol=0, atol=1e-12)


def test_gradients_pass_through_guidance_inside(observation, y, x1):
    """An embedding's gradient around a classifier's is exact only if that is differentiated once more."""
    direction = torch.linspace(-1, 1, 6, dtype=torch.float64)
    guided = EmbeddingGuidance(ClassifierGuidance(observation.oracle, observation.log_prob), _linear(direction), 0.7)
    output = guided(x1, 0.5, y)
    for n in range(4):
        conditional = observation.conditional(y[n])
        tilted = GaussianOracle(
            conditional.mean + 0.7 * conditional.covariance @ direction, conditional.covariance, Cosine()
        )
        assert torch.allclose(output[n], tilted(x1[n : n + 1], 0.5)[0], rtol=0, atol=1e-10)


@pytest.mark.parametrize("through", [True, False])
def test_differentiable_where_the_caller_differentiates(through, mixture, x1):
    similarity = lambda x0_hat, cond: x0_hat.sin().sum((1, 2))  # noqa: E731
    guided = EmbeddingGuidance(mixture, similarity, 0.5, through)
    assert torch.autograd.gradcheck(lambda x: guided(x, 0.5), x1[:2].clone().requires_grad_())
    assert not guided(x1, 0.5).requires_grad
    with torch.no_grad():
        assert not guided(x1[:2].clone().requires_grad_(), 0.5).requires_grad


def test_callers_that_record_nothing(observation, y, x1):
    """Also in inference mode, whose tensors autograd refuses; for tensors and dataclasses as conditions."""
    cosine = CosineSimilarity(lambda x: x.flatten(1), torch.ones(6, dtype=torch.float64))
    classifier = ClassifierGuidance(observation.oracle, observation.log_prob)
    for guided in (
        classifier,
        EmbeddingGuidance(classifier, cosine, 2.0),
        EmbeddingGuidance(classifier, cosine, 2.0, False),
    ):
        for t in (0.5, BATCH_TIMES):
            expected = guided(x1, t, y)
            with torch.no_grad():
                assert torch.equal(guided(x1, t, y), expected)
            with torch.inference_mode():
                copies = x1.clone(), t.clone() if isinstance(t, torch.Tensor) else t
                for cond in (y.clone(), Seen(y.clone())):
                    assert torch.equal(guided(*copies, cond), expected)


def test_targets_made_in_inference_mode(gaussian, x1):
    with torch.inference_mode():
        target = torch.ones(6, dtype=torch.float64)
    cosine = CosineSimilarity(lambda x: x.flatten(1) * 2, target)
    assert bool(EmbeddingGuidance(gaussian, cosine, 2.0)(x1, 0.5).isfinite().all())


def test_network_weights_do_not_hinder(x1):
    """A network's own parameters take no gradient and leave no graph behind under no_grad."""
    network = torch.nn.Conv1d(1, 1, 3, padding=1).double()
    denoiser = Denoiser(lambda x_t, log_snr, cond: network(x_t), Cosine(), V())
    guided = EmbeddingGuidance(denoiser, _linear(torch.ones(6, dtype=torch.float64)), 1.0)
    with torch.no_grad():
        output = guided(x1, 0.5)
    assert not output.requires_grad and network.weight.grad is None
    assert not torch.allclose(output, denoiser(x1, 0.5))


def test_batch_equals_singles(observation, y, x1):
    cosine = CosineSimilarity(lambda x: x.flatten(1), torch.ones(6, dtype=torch.float64))
    guided = EmbeddingGuidance(ClassifierGuidance(observation.oracle, observation.log_prob), cosine, 2.0)
    singles = torch.cat([guided(x1[n : n + 1], 0.5, y[n : n + 1]) for n in range(4)])
    assert torch.allclose(guided(x1[:4], 0.5, y[:4]), singles, rtol=0, atol=1e-12)


def test_cosine_similarity(x1):
    embed = lambda x: x.flatten(1)[:, :3]  # noqa: E731
    targets = torch.randn(32, 3, generator=torch.Generator().manual_seed(1))
    x = x1[:, 0, :3]
    expected = (x * targets).sum(1) / (x.norm(dim=1) * targets.norm(dim=1))
    assert torch.allclose(CosineSimilarity(embed, targets)(x1, "cond"), expected)
    assert torch.allclose(CosineSimilarity(embed, targets[0])(x1)[0], expected[0])
    with pytest.raises(ValueError, match="condition has 32 clips"):
        CosineSimilarity(embed, targets)(x1[:3])


@pytest.mark.parametrize("through", [True, False])
def test_embedding_guidance_makes_samples_similar(through, gaussian, x1):
    cosine = CosineSimilarity(lambda x: x.flatten(1), torch.tensor([1.0, -1, 1, -1, 1, -1]).double())
    similar = []
    for weight in (0.0, 5.0, 50.0):
        guided = EmbeddingGuidance(gaussian, cosine, weight, through)
        similar.append(float(cosine(DDIM(20)(guided, x1)).mean()))
    assert similar[0] + 0.2 < similar[1] < similar[2] - 0.05


def test_pure_noise_is_refused(gaussian, x1):
    times = torch.ones(32, dtype=torch.float64)
    for t in (1.0, times):
        for guided in (
            ClassifierGuidance(gaussian, lambda x_t, t, cond: x_t.sum((1, 2))),
            EmbeddingGuidance(gaussian, lambda x0, cond: x0.sum((1, 2)), 1.0),
        ):
            with pytest.raises(ValueError, match="t_max"):
                guided(x1, t)


def test_what_is_no_number_for_each_clip(gaussian, x1):
    with pytest.raises(ValueError, match="32 clips"):
        ClassifierGuidance(gaussian, lambda x_t, t, cond: x_t.sum())(x1, 0.5)
    with pytest.raises(ValueError, match="32 clips"):
        EmbeddingGuidance(gaussian, lambda x0, cond: x0.sum(1), 1.0)(x1, 0.5)


def test_what_records_no_gradient(gaussian, x1):
    with pytest.raises(ValueError, match="differentiable"):
        ClassifierGuidance(gaussian, lambda x_t, t, cond: x_t.detach().sum((1, 2)))(x1, 0.5)


def test_condition_of_another_batch(observation, y, x1):
    with pytest.raises(ValueError, match="condition has 3 clips"):
        ClassifierGuidance(observation.oracle, observation.log_prob)(x1, 0.5, y[:3])


@pytest.mark.parametrize("kind", ["classifier", "embedding", "through"])
def test_nothing_is_evaluated_outside_of_the_interval(kind, observation, y, x1):
    calls = []

    def value(x, *cond):
        calls.append(len(x))
        return observation.log_prob(x, 0.5, cond[-1])

    def guided(interval):
        if kind == "classifier":
            return ClassifierGuidance(observation.oracle, value, 2.0, interval)
        return EmbeddingGuidance(observation.oracle, value, 2.0, kind == "through", interval)

    level = observation.oracle.schedule.level(0.5)
    everywhere = guided(None)(x1, 0.5, y)
    assert torch.equal(guided((level.log_snr, level.log_snr))(x1, 0.5, y), everywhere) and calls
    calls.clear()
    plain = observation.oracle(x1, 0.5)
    for interval in ((level.log_snr + 0.1, 20.0), (-20.0, level.log_snr - 0.1)):
        assert torch.equal(guided(interval)(x1, 0.5, y), plain) and not calls
    # One time for each clip: those outside are unguided.
    times = torch.full((32,), 0.5, dtype=torch.float64)
    times[::2] = 0.8
    mixed = guided((level.log_snr - 0.1, 20.0))(x1, times, y)
    assert torch.allclose(mixed[::2], observation.oracle(x1, 0.8)[::2]) and torch.allclose(
        mixed[1::2], everywhere[1::2]
    )
    with pytest.raises(ValueError, match="interval"):
        guided((1.0, -1.0))


def test_guidance_of_an_interval_starts_where_the_model_does(gaussian):
    """The factor sigma^2 / alpha is infinite at pure noise only, which the interval may leave out."""
    value = _linear(torch.ones(6, dtype=torch.float64))
    assert ClassifierGuidance(gaussian, value, 1.0, (-12.0, 0.0)).t_max < 1
    inside = ClassifierGuidance(gaussian, lambda x, t, cond: value(x, cond), 1.0, (-4.0, 4.0))
    assert inside.t_max == 1.0
    assert DDIM(8)(inside, torch.randn(2, 1, 6, dtype=torch.float64)).isfinite().all()


@pytest.mark.parametrize("loop", [False, True])
def test_long_signals_are_guided_window_by_window(loop):
    """Of a sum over positions the gradient is the same in windows; the function sees no more than a window."""
    generator = torch.Generator().manual_seed(0)
    x_t = torch.randn(2, 3, 40, generator=generator, dtype=torch.float64)
    seen = set()

    def value(x, *_):
        seen.add(x.shape[-1])
        return x.pow(3).sum((1, 2))

    class Identity:
        schedule, t_max = Cosine(), 0.9

        def __call__(self, x, t, cond=None):
            return x

    windows = Windowed(Identity(), 12, loop=loop).around
    for make in (
        lambda **options: ClassifierGuidance(Identity(), value, 0.3, **options),
        lambda **options: EmbeddingGuidance(Identity(), value, 0.3, False, **options),
    ):
        expected = make()(x_t, 0.5)
        seen.clear()
        assert torch.allclose(make(windows=windows)(x_t, 0.5), expected, rtol=0, atol=1e-12)
        assert seen == {12}
    with pytest.raises(ValueError, match="windows"):
        EmbeddingGuidance(Identity(), value, 0.3, True, windows=windows)
