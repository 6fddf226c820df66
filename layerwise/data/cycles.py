"""Periods that come back, such as years: a place in them as a point of a circle, the end of each beside its start."""

from __future__ import annotations

import math
from typing import Any

from layerwise.data._polars import pl

# Of which a date can tell its place.
PERIODS = ("year", "week", "day")
# So near to a circle of radius 1 lie points of it, also in float32.
_NEAR = 1e-6


def as_circle(days: pl.Series, period: str) -> list[pl.Series]:
    """Return the sine and the cosine of 2 pi times the share of a period that has passed.

    The days, as floats, count since 1970, nothing is null; weeks begin on Mondays.
    """
    if period == "year":
        dates = days.floor().cast(pl.Int32).cast(pl.Date)
        share = (dates.dt.ordinal_day() - 1 + days % 1) / (365 + dates.dt.is_leap_year().cast(pl.Int32))
    else:
        share = (days + 3) % 7 / 7 if period == "week" else days % 1  # 1970 began on a Thursday
    angle = 2 * math.pi * share
    return [angle.sin(), angle.cos()]


def name_parts(periods: tuple[str, ...]) -> list[str]:
    """Return what the names of the columns of `as_circle` end in."""
    return [f":{period}:{function}" for period in periods for function in ("sin", "cos")]


def find_circles(x: Any) -> list[int]:
    """Return which columns are, with the one before or after, points of a circle of radius 1, in half the rows or more.

    Their size says nothing of how usual they are: the noon of a cosine is flat. What has been filled in lies elsewhere;
    and points with a 0, as columns of 0 and 1 are, too, do not count.

    Parameters
    ----------
    x : ndarray or Tensor of shape (n_samples, n_features)
        Floats. NaN is left out of account.

    Examples
    --------
    >>> import numpy as np
    >>> find_circles(np.array([[7.0, 0.6, 0.8], [8.0, -0.8, 0.6]]))
    [1, 2]
    """
    if not len(x) or x.shape[1] < 2:
        return []
    first, second = x[:, :-1], x[:, 1:]
    tell = abs(first * second) > _NEAR  # which NaN does not
    on = (tell & (abs(first**2 + second**2 - 1) < _NEAR)).sum(0)
    round_ = (on > 0) & (2 * on >= tell.sum(0))
    return sorted({place + side for place, is_round in enumerate(round_.tolist()) if is_round for side in (0, 1)})
