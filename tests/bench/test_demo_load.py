"""Growth of memory under load, of readings whose growth is known."""

import math

import pytest

pytest.importorskip("gradio_client", reason="the extra demo is not installed")

from demo_load import READ_SECONDS, growth, verdict

MINUTE = round(60 / READ_SECONDS)


@pytest.mark.parametrize("rate", [-2.0, 0.0, 3.0])
def test_growth_of_a_line_is_its_slope_and_a_dip_is_none(rate):
    memory = [1000 + rate * number / MINUTE for number in range(8 * MINUTE)]
    assert growth(memory) == pytest.approx(rate)
    dipped = list(memory)
    dipped[4 * MINUTE + 5 : 5 * MINUTE] = [900.0] * (MINUTE - 5)
    assert growth(dipped) == pytest.approx(rate)


def test_few_readings_are_no_verdict():
    assert math.isnan(growth([1.0, 2.0, 3.0]))
    found = {"answers": 1, "failures": {}, "mixed_up": 0}
    assert verdict(found | {"memory_growth_mb_per_minute": 0.9}) == []
    assert verdict(found | {"memory_growth_mb_per_minute": 1.1}) == ["memory grows by 1.1 MB per minute"]
    assert len(verdict(found | {"memory_growth_mb_per_minute": math.nan})) == 1
