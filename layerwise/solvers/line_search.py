"""Line search for the strong Wolfe conditions, with cubic interpolation; survives NaN and infinity."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

# Sufficient decrease and curvature, as in most implementations of L-BFGS.
_DECREASE = 1e-4
_CURVATURE = 0.9
_MAX_TRIALS = 25


@dataclass(frozen=True)
class Trial:
    """The objective at one step along a direction.

    Attributes
    ----------
    step : float
    x : Tensor of shape (n,)
        Where the objective was evaluated.
    value : float
    gradient : Tensor of shape (n,)
    slope : float
        Directional derivative, gradient . direction.
    """

    step: float
    x: Tensor
    value: float
    gradient: Tensor
    slope: float

    @property
    def finite(self) -> bool:
        """Whether point, value and slope are all finite."""
        return math.isfinite(self.value) and math.isfinite(self.slope) and math.isfinite(largest(self.x))


def largest(x: Tensor) -> float:
    """Return the size of the largest entry, in one pass; not finite where any entry is not."""
    return torch.linalg.vector_norm(x, math.inf).item()


def strong_wolfe(evaluate: Callable[[float], Trial], start: Trial, first_step: float) -> Trial | None:
    """Find a step that satisfies the strong Wolfe conditions.

    They are::

        value <= start.value + 1e-4 step start.slope    and    |slope| <= 0.9 |start.slope|

    A trial that is not finite counts as too long a step.

    Parameters
    ----------
    evaluate : callable
        ``evaluate(step) -> Trial``.
    start : Trial
        At step 0, with a negative slope.
    first_step : float
        The first step to try.

    Returns
    -------
    trial : Trial or None
        The step found. When none satisfies both conditions, the lowest trial that satisfies the first; None when
        there is no such trial either. It is always the one that was evaluated last.

    References
    ----------
    J. Nocedal and S. J. Wright, "Numerical Optimization", 2nd ed., 2006, algorithms 3.5 and 3.6.

    Examples
    --------
    >>> import torch
    >>> def parabola(step):  # (x - 3)^2 from x = 0 along 1
    ...     x = torch.tensor([step])
    ...     return Trial(step, x, (step - 3) ** 2, 2 * (x - 3), 2 * (step - 3))
    >>> strong_wolfe(parabola, parabola(0.0), 1.0).step
    1.0
    """
    # The best trial so far, and the other end of the bracket once there is one.
    low, high = start, None
    step, width = first_step, math.inf
    trial = start
    for _ in range(_MAX_TRIALS):
        trial = evaluate(step)
        too_high = not trial.finite or trial.value > start.value + _DECREASE * step * start.slope
        if too_high or trial.value >= low.value:
            high = trial
        elif abs(trial.slope) <= _CURVATURE * -start.slope:
            return trial
        else:
            # A minimum lies between this trial and the one that the slope points to.
            if trial.slope * ((high.step if high else math.inf) - trial.step) >= 0:
                high = low
            low, previous = trial, low

        if high is None:
            step = _extrapolate(previous, low)
        else:
            step, width = _interpolate(low, high, width), abs(high.step - low.step)
        if step == low.step or not math.isfinite(step):
            break

    if low is start:
        return None
    if low is not trial:
        evaluate(low.step)  # leaves the objective there; if it is noisy, the lower value counts that was seen first
    return low


def _extrapolate(previous: Trial, low: Trial) -> float:
    """Return a longer step: the minimum of the cubic, between 2 and 10 times as far as the last one went."""
    distance = low.step - previous.step
    guess = _cubic_minimum(previous, low)
    if math.isnan(guess):
        return low.step + 4 * distance
    return min(max(guess, low.step + distance), low.step + 9 * distance)


def _interpolate(low: Trial, high: Trial, last_width: float) -> float:
    """Return a step inside the bracket, away from its ends; its middle when the bracket shrinks too slowly."""
    distance = high.step - low.step
    if not high.finite:
        return low.step + 0.2 * distance
    if abs(distance) > 0.66 * last_width:
        return low.step + 0.5 * distance
    fraction = (_cubic_minimum(low, high) - low.step) / distance
    return low.step + (0.5 if math.isnan(fraction) else min(max(fraction, 0.1), 0.9)) * distance


def _cubic_minimum(a: Trial, b: Trial) -> float:
    """Return the minimum of the cubic with the values and slopes of two trials; NaN where there is none.

    References
    ----------
    Nocedal and Wright, "Numerical Optimization", 2nd ed., 2006, equation 3.59.
    """
    d1 = a.slope + b.slope - 3 * (a.value - b.value) / (a.step - b.step)
    discriminant = d1 * d1 - a.slope * b.slope
    if not discriminant >= 0:
        return math.nan
    d2 = math.copysign(math.sqrt(discriminant), b.step - a.step)
    denominator = b.slope - a.slope + 2 * d2
    return b.step - (b.step - a.step) * (b.slope + d2 - d1) / denominator if denominator else math.nan
