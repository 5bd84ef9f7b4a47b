"""Products with a constant matrix equal those of PyTorch, with and without a layout of their own."""

import pytest
import torch
from torch.autograd import forward_ad

from audiodiff.products import Factor


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(5,), (1, 5), (2, 3, 5), (0, 5)])
def test_equals_the_product(shape, dtype):
    torch.manual_seed(0)
    matrix, rows, bias = torch.randn(5, 7, dtype=dtype), torch.randn(shape, dtype=dtype), torch.randn(7, dtype=dtype)
    factor = Factor(matrix)
    with torch.inference_mode():
        torch.testing.assert_close(factor(rows), rows @ matrix, rtol=0, atol=1e-6)
        torch.testing.assert_close(factor(rows, bias), rows @ matrix + bias, rtol=0, atol=1e-6)


def test_rows_of_any_stride():
    torch.manual_seed(0)
    matrix, columns = torch.randn(5, 7), torch.randn(2, 5, 9)
    with torch.no_grad():
        made = Factor(matrix)(columns.transpose(1, 2))
    torch.testing.assert_close(made, columns.transpose(1, 2) @ matrix, rtol=0, atol=1e-6)


def test_rows_get_gradients():
    torch.manual_seed(0)
    matrix, rows = torch.randn(5, 7), torch.randn(3, 5, requires_grad=True)
    Factor(matrix)(rows).sum().backward()
    torch.testing.assert_close(rows.grad, matrix.sum(1).expand(3, 5))


def test_packed_weights_are_used_where_nothing_is_differentiated(packed_products):
    factor, rows = Factor(torch.randn(5, 7)), torch.randn(3, 5, requires_grad=True)
    assert packed_products(lambda: factor(rows)) == 0
    with torch.no_grad():
        assert packed_products(lambda: factor(rows)) == 1
        with torch.autocast("cpu", torch.bfloat16):
            assert packed_products(lambda: factor(rows)) == 0


@pytest.mark.parametrize("of", ["rows", "bias"])
def test_derivatives_along_a_tangent(of):
    torch.manual_seed(0)
    matrix, given = torch.randn(5, 7), {"rows": torch.randn(3, 5), "bias": torch.randn(7)}
    factor, tangent = Factor(matrix), torch.randn_like(given[of])
    expected = tangent @ matrix if of == "rows" else tangent.expand(3, 7)
    _, found = torch.func.jvp(lambda x: factor(**given | {of: x}), (given[of],), (tangent,))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    with torch.no_grad(), forward_ad.dual_level():
        made = factor(**given | {of: forward_ad.make_dual(given[of], tangent)})
        torch.testing.assert_close(forward_ad.unpack_dual(made).tangent, expected, rtol=0, atol=1e-6)


def test_half_precision_is_that_of_the_context():
    torch.manual_seed(0)
    factor, rows = Factor(torch.randn(5, 7)), torch.randn(3, 5)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert factor(rows).dtype == torch.bfloat16


def test_made_in_inference_mode_it_serves_training():
    with torch.inference_mode():
        factor = Factor(torch.ones(5, 7).clone())
    rows = torch.randn(3, 5)
    torch.testing.assert_close(factor(rows), rows.sum(1, keepdim=True).expand(3, 7))
