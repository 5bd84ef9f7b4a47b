"""Faults that cannot matter, each with the reason.

A key is (module, text of the line, the number or operator in it). A key that is no longer in the source is reported.
"""

EXEMPT: dict[tuple[str, str, str], str] = {
    ("samplers.integral", "QUADRATURE = 64", "64"): "enough points are enough: one more changes rounding only",
    (
        "samplers.integral",
        "terms = [decay**i / math.factorial(i) for i in range(20)]",
        "20",
    ): "the next term of the series is below the last digit",
    ("samplers.integral", "if decay < 1:", "1"): "series and recursion are both right to rounding between 1 and 2",
    ("schedules.learned", "BRACKET = 1e-9", "1e-09"): "where halving hands over to Newton: either ends at rounding",
    (
        "samplers.brownian",
        "places = torch.round(u * NODES).long() if bool((tau >= 0).all()) else u.new_zeros(2)",
        "2",
    ): "any clock that stands still is refused in the same words",
    ("grids.fitted", "GAIN_ENOUGH = 2e-3", "0.002"): "when to stop: a little sooner or later is the same grid",
}
