"""Growing samples: the first steps of a minimisation on few rows, the last ones on all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from torch import Tensor

# Chosen on MNIST, see benchmarks/RESULTS.md; a factor of two in any of them changes little.
FIRST_SAMPLE = 1000
GROWTH = 4
STEPS_BETWEEN_TESTS = 50


@runtime_checkable
class SampledObjective(Protocol):
    """What is needed of an objective: an average over rows that can be taken over a sample of them."""

    @property
    def n_rows(self) -> int:
        """Rows that the value is an average over at present."""

    def restrict(self, n_rows: int | None) -> None:
        """Average over a random sample of so many rows, each inside every larger one; None takes all rows again."""

    def __call__(self, x: Tensor) -> tuple[float, Tensor]:
        """Return value and gradient."""

    def value(self, x: Tensor) -> float:
        """Return the value alone."""


class Sample(NamedTuple):
    """A sample to minimise on.

    Attributes
    ----------
    n_rows : int or None
        None is all rows.
    last_iter : int
        The iteration, counted from the beginning, after which the next sample follows at the latest.
    """

    n_rows: int | None
    last_iter: int


def growing_samples(n_rows: int, max_iter: int) -> list[Sample]:
    """Return the samples to go through: 1,000 rows, then four times as many each, then all.

    Each gets half of the iterations that remain at the most, so that all rows get no less than the largest sample.

    Parameters
    ----------
    n_rows : int
        All rows there are.
    max_iter : int
        Iterations in all.

    Examples
    --------
    >>> growing_samples(60_000, 200)[0]
    Sample(n_rows=1000, last_iter=100)
    >>> [sample.n_rows for sample in growing_samples(60_000, 200)]
    [1000, 4000, 16000, None]
    """
    samples = []
    size, last_iter = FIRST_SAMPLE, 0
    while 2 * size < n_rows:  # a sample of half the rows or more saves too little
        last_iter += (max_iter - last_iter) // 2
        samples.append(Sample(size, last_iter))
        size *= GROWTH
    return [*samples, Sample(None, max_iter)]


def is_outgrown(objective: SampledObjective, x: Tensor, values: Sequence[float]) -> bool:
    """Return whether more steps on a sample gain less than more rows would.

    After t steps the sample's minimum is still about as far below as it fell in the second half of them, as long as
    the distance shrinks like 1/t. On the other side, what is lost by minimising over the sample instead of all rows
    is half of the gap to the value over rows that it does not hold, which is the gap to twice as many rows. The sample
    is outgrown once the first is the smaller::

        J_n(x_(t/2)) - J_n(x_t)  <  J_2n(x_t) - J_n(x_t)

    Parameters
    ----------
    objective : SampledObjective
        Restricted to the sample, and again so afterwards.
    x : Tensor of shape (n_parameters,)
        The point reached.
    values : sequence of float
        The value over the sample at its start and after each step since.

    References
    ----------
    L. Bottou and O. Bousquet, "The tradeoffs of large scale learning", NIPS 2007: time is best spent with the
    optimisation error no smaller than the estimation error.
    """
    n_rows = objective.n_rows
    objective.restrict(2 * n_rows)
    over_more_rows = objective.value(x)
    objective.restrict(n_rows)
    return values[len(values) // 2] < over_more_rows
