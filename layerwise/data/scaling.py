"""Columns brought to the scale of a reconstruction, and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf

import torch
from torch import Tensor, nn

from layerwise import distributed
from layerwise.data.rows import Rows

SCALES = ("auto", "minmax", "standard")
# A column that varies by less than so much of its size is rounding noise around a constant.
_NOISE = 4 * torch.finfo(torch.float64).eps


class Scaling(nn.Module):
    """An affine map of every column, x -> (x - center) / scale, and its inverse.

    Parameters
    ----------
    center, scale : array-like of shape (n_features,)
        Kept in float64; no scale may be 0.

    Examples
    --------
    >>> scaling = Scaling([10.0, 0.0], [2.0, 1.0])
    >>> scaling(torch.tensor([[12.0, 3.0]])).tolist(), scaling.inverse(torch.tensor([[1.0, 3.0]])).tolist()
    ([[1.0, 3.0]], [[12.0, 3.0]])
    """

    center: Tensor
    scale: Tensor

    def __init__(self, center: Sequence[float] | Tensor, scale: Sequence[float] | Tensor):
        super().__init__()
        self.register_buffer("center", torch.as_tensor(center, dtype=torch.float64))
        self.register_buffer("scale", torch.as_tensor(scale, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        """Scale rows of shape (n_rows, n_features); their type is kept."""
        # A division: the reciprocal of a very small scale overflows.
        return ((x - self.center) / self.scale).to(x.dtype)

    def inverse(self, x: Tensor) -> Tensor:
        """Bring scaled rows of shape (n_rows, n_features) back; their type is kept."""
        return (x * self.scale + self.center).to(x.dtype)

    def inverted(self) -> Scaling:
        """Return the inverse as a module."""
        return Scaling(-self.center / self.scale, 1 / self.scale)


def learn_scaling(
    rows: Rows, lowest: Tensor, highest: Tensor, scale: str | None, reach: tuple[float, float] = (-inf, inf)
) -> Scaling | None:
    """Learn how to scale the columns of the rows of all ranks.

    Parameters
    ----------
    rows : Rows of shape (n_samples, n_features)
        Those of this rank. NaN is left out of account.
    lowest, highest : Tensor of shape (n_features,)
        What `Rows.column_ranges` says of those of all ranks.
    scale : {"auto", "minmax", "standard"} or None
        ``"minmax"`` brings each column to ``reach`` where that is finite, otherwise to [0, 1]; ``"standard"`` to mean 0
        and standard deviation 1; ``"auto"`` leaves rows of uint8 as they are, those of an infinite reach become
        standard, and others minmax unless they lie within the reach (and below 1) already.
    reach : tuple of (low, high), default=(-inf, inf)
        The range of the values that can be reconstructed.

    Returns
    -------
    scaling : Scaling or None
        None where the rows stay as they are.

    Examples
    --------
    >>> rows = Rows(torch.tensor([[1.0, 5.0], [3.0, 5.0]]))
    >>> learn_scaling(rows, *rows.column_ranges(), "minmax", (0, 1))(torch.tensor([[2.0, 5.0]])).tolist()
    [[0.5, 0.0]]
    """
    low, high = reach
    if scale == "auto":
        scale = _choose(rows, lowest, highest, low, high)
    if scale is None:
        return None
    if scale == "standard":
        scaling = _standardise(rows, torch.maximum(lowest.abs(), highest.abs()))
    else:
        low, high = (low, high) if low > -inf and high < inf else (0.0, 1.0)
        spread = highest - lowest
        constant = spread <= _NOISE * torch.maximum(lowest.abs(), highest.abs())
        spread = torch.where(constant, 1.0, spread / (high - low))
        scaling = Scaling(lowest - low * spread, spread)
    # A column without any value stays as it is: there is nothing to learn its scale from.
    empty = lowest > highest
    scaling.center[empty], scaling.scale[empty] = 0.0, 1.0
    _check_finite(scaling, scale)
    return scaling.to(rows.device)


def _choose(rows: Rows, lowest: Tensor, highest: Tensor, low: float, high: float) -> str | None:
    if rows.is_uint8:
        return None
    if low == -inf:
        return "standard"
    return None if (lowest >= low).all() and (highest <= min(high, 1)).all() else "minmax"


def _standardise(rows: Rows, size: Tensor) -> Scaling:
    """Return the scaling to mean 0 and standard deviation 1 of columns whose values are not larger than ``size``.

    In two passes: the mean, then the squared deviations from it, less what rounding left of the mean.
    """
    # Brought near 1 by powers of 2, so that no square overflows or underflows.
    _, exponent = torch.frexp(torch.where(size.isfinite(), size, 1.0))
    count, total = _sum_columns(rows, lambda x: [x.isfinite(), x.ldexp(-exponent)])
    mean = total / count
    deviation, squares = _sum_columns(
        rows, lambda x: [x.ldexp(-exponent).sub_(mean), x.ldexp(-exponent).sub_(mean).square_()]
    )
    variance = (squares - deviation.square() / count) / count
    # Rounding noise around a constant, by the bound that scikit-learn has.
    eps = torch.finfo(torch.float64).eps
    constant = variance <= count * eps * variance + (count * mean * eps).square()
    return Scaling(mean.ldexp(exponent), torch.where(constant, 1.0, variance.sqrt().ldexp(exponent)))


def _sum_columns(rows: Rows, terms: Callable[[Tensor], list[Tensor]]) -> Tensor:
    """Return the sums of terms of each block over the rows of all ranks; what is missing does not count.

    Rows of different weight count in proportion, the heaviest as one: large weights would pass for many rows, of which
    rounding noise adds up.
    """
    heaviest = 1.0
    if rows.weights is not None:
        heaviest = distributed.maximum(rows.weights.max().view(1) if len(rows) else rows.weights.new_zeros(1)).item()
    sums = []
    for shard in rows.shards:
        total = torch.zeros(2, rows.n_features, dtype=torch.float64, device=rows.device)
        for place, block in rows.astype(torch.float64).blocks(max(1, 2**20 // rows.n_features), shard):
            for row, term in zip(total, terms(block), strict=True):
                term = term.double().nan_to_num_(nan=0.0)
                row += term.sum(dim=0) if rows.weights is None else rows.weights[place] / heaviest @ term
        sums.append(total)
    return distributed.sum_shards(sums)


def _check_finite(scaling: Scaling, scale: str) -> None:
    wild = ~(scaling.center.isfinite() & scaling.scale.isfinite())
    if wild.any():
        columns = wild.nonzero()[:, 0].tolist()
        raise ValueError(
            f"columns {columns[:5]} of X spread too far for scale={scale!r}: the spread overflows; divide them by a "
            f"large number first"
        )
