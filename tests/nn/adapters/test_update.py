"""Updates of weights: zero at first, of their rank, and as good as training the weight where the rank is full."""

import pytest
import torch
from torch.nn.utils import parametrize

from audiodiff.nn.adapters.layers import select
from audiodiff.nn.adapters.update import UPDATES, Decomposed, HadamardProduct, LowRank, largest_rank

SHAPES = [(6, 4), (5, 3, 3)]


def weight_of(shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kind", UPDATES)
@pytest.mark.parametrize("shape", SHAPES)
def test_an_update_begins_at_exactly_zero(kind, shape):
    weight = weight_of(shape)
    assert torch.equal(UPDATES[kind](shape, 2, 3.0)(weight), weight)


def test_low_rank_is_alpha_over_rank_times_the_product():
    update = LowRank.of((5, 3, 3), {"down": weight_of((2, 9), 1), "up": weight_of((5, 2), 2)}, 2, 6.0)
    expected = 3 * torch.einsum("or,rk->ok", update.up, update.down).reshape(5, 3, 3)
    assert torch.allclose(update.change(weight_of((5, 3, 3))), expected)
    assert torch.linalg.matrix_rank(update.change(weight_of((5, 3, 3))).flatten(1)) == 2


def test_the_decomposed_update_sets_direction_and_magnitude():
    weight, parameters = weight_of((6, 4)), {"down": weight_of((2, 4), 1), "up": weight_of((6, 2), 2)}
    gain = 0.1 * weight_of((6,), 3)
    changed = Decomposed.of((6, 4), parameters | {"gain": gain}, 2, 2.0)(weight)
    direction = weight + parameters["up"] @ parameters["down"]
    assert torch.allclose(changed.norm(dim=1), (1 + gain).abs() * weight.norm(dim=1))
    cosine = torch.nn.functional.cosine_similarity(changed, direction)
    assert torch.allclose(cosine, torch.ones(6))


def test_a_row_of_zeros_stays_zero_and_finite_under_the_decomposed_update():
    weight = torch.zeros(6, 4)
    update = Decomposed((6, 4), 2, 2.0)
    torch.nn.init.ones_(update.up)
    changed = update(weight)
    changed.sum().backward()
    assert changed.abs().max() < 1e-9
    assert all(parameter.grad.isfinite().all() for parameter in update.parameters())


def test_the_hadamard_product_has_the_square_of_its_rank():
    update = HadamardProduct((9, 9), 2, 2.0)
    torch.nn.init.normal_(update.other_up)
    assert torch.linalg.matrix_rank(update.change(torch.zeros(9, 9))) == 4


@pytest.mark.parametrize("rank", [0, -1, 5])
def test_a_rank_beyond_the_layer_is_refused(rank):
    with pytest.raises(ValueError, match=r"rank .* is not in 1 to 4"):
        LowRank((6, 4), rank, 1.0)
    assert largest_rank((5, 3, 3)) == 5


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_of_full_rank_an_update_reaches_the_minimum_of_full_fine_tuning(kind):
    """Least squares: the minimum over all weights is known in closed form."""
    torch.manual_seed(0)
    inputs, targets = torch.randn(40, 4, dtype=torch.float64), torch.randn(40, 3, dtype=torch.float64)
    best = torch.linalg.lstsq(inputs, targets).solution.T
    layer = torch.nn.Linear(4, 3, bias=False).double().requires_grad_(False)
    parametrize.register_parametrization(layer, "weight", UPDATES[kind](layer.weight.shape, 3, 3.0).double())
    optimizer = torch.optim.Adam([one for one in layer.parameters() if one.requires_grad], 0.02)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 1500)
    for _ in range(1500):
        optimizer.zero_grad()
        loss = (layer(inputs) - targets).square().mean()
        loss.backward()
        optimizer.step()
        decay.step()
    minimum = (inputs @ best.T - targets).square().mean()
    assert float(loss.detach()) == pytest.approx(float(minimum), rel=1e-6)
    assert torch.allclose(layer.weight, best, atol=1e-3)


def test_layers_are_chosen_by_groups_and_by_names():
    names = [
        "unet.bottom.0.dilated",
        "unet.attention.bottom.qkv",
        "unet.cross_attention.down0.query",
        "unet.up.0.1.project",
    ]
    found = select(names, ["attention", "cross_attention", "last_level", "first_level", "blocks", "unet.up.0"])
    assert found == {
        "attention": names[1:3],
        "cross_attention": [names[2]],
        "last_level": names[:2],
        "first_level": names[2:],
        "blocks": [names[0], names[3]],
        "unet.up.0": [names[3]],
    }
    with pytest.raises(ValueError, match="'levels' names no layer; choose among attention, self_attention"):
        select(names, ["levels"])
    with pytest.raises(ValueError, match=r"'unet\.u' names no layer"):
        select(names, ["unet.u"])
    with pytest.raises(ValueError, match="'attention' names no layer; there is none to choose"):
        select([], ["attention"])
