"""Columns brought to the scale of a reconstruction, and back."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from math import inf

import torch
from torch import Tensor, nn

from layerwise import distributed
from layerwise.data.cycles import find_circles
from layerwise.data.layout import Layout
from layerwise.data.naming import names_of
from layerwise.data.rows import Rows

SCALES = ("auto", "minmax", "standard")
# A column that varies by less than so much of its size is rounding noise around a constant.
_NOISE = 4 * torch.finfo(torch.float64).eps
# Where a column has no tail.
_NOWHERE = torch.finfo(torch.float64).max
# Values that a decision on all columns looks at, at most; but at least 1000 rows.
_SAMPLE = 2**21
# Distances of the quartiles, beyond them: so far are values that are far from all others; what counts as far with them.
_FAR, _NEAR = 10, 3
# Share of the values that are no longer exceptions.
_MANY = 0.05
# So far away they are worth a warning.
_STRAY = 30
# Share of a finite range that such values take.
_TAIL = 0.05


class Scaling(nn.Module):
    """A map of every column, x -> (x - center) / scale, and its inverse; it may be flatter beyond two points.

    Parameters
    ----------
    center, scale : array-like of shape (n_features,)
        Kept in float64; no scale may be 0.
    tails : array-like of shape (4, n_features) or None, default=None
        For columns with values far from all others: the scaled values ``low`` and ``high`` beyond which the map is
        flatter, and by which factors, both above 0. None is no tail in any column.

    Examples
    --------
    >>> scaling = Scaling([10.0, 0.0], [2.0, 1.0])
    >>> scaling(torch.tensor([[12.0, 3.0]])).tolist(), scaling.inverse(torch.tensor([[1.0, 3.0]])).tolist()
    ([[1.0, 3.0]], [[12.0, 3.0]])
    >>> Scaling([0.0], [1.0], [[-1.0], [1.0], [1.0], [0.01]])(torch.tensor([[0.5], [101.0]])).tolist()
    [[0.5], [2.0]]
    """

    center: Tensor
    scale: Tensor
    tails: Tensor | None

    def __init__(
        self,
        center: Sequence[float] | Tensor,
        scale: Sequence[float] | Tensor,
        tails: Sequence[Sequence[float]] | Tensor | None = None,
    ):
        super().__init__()
        self.register_buffer("center", torch.as_tensor(center, dtype=torch.float64))
        self.register_buffer("scale", torch.as_tensor(scale, dtype=torch.float64))
        self.register_buffer("tails", None if tails is None else torch.as_tensor(tails, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        """Scale rows of shape (n_rows, n_features); their type is kept."""
        # A division: the reciprocal of a very small scale overflows.
        scaled = (x - self.center) / self.scale
        if self.tails is not None:
            low, high, low_slope, high_slope = self.tails
            scaled = _bend(scaled, low, high, low_slope, high_slope)
        return scaled.to(x.dtype)

    def inverse(self, x: Tensor) -> Tensor:
        """Bring scaled rows of shape (n_rows, n_features) back; their type is kept."""
        return (self.straighten(x) * self.scale + self.center).to(x.dtype)

    def straighten(self, x: Tensor) -> Tensor:
        """Return scaled rows of shape (n_rows, n_features) as they were without tails, far values far away."""
        if self.tails is None:
            return x
        low, high, low_slope, high_slope = self.tails
        return _bend(x.double(), low, high, 1 / low_slope, 1 / high_slope)

    def inverted(self) -> nn.Module:
        """Return the inverse as a module."""
        return _Inverse(self)


class _Inverse(nn.Module):
    def __init__(self, scaling: Scaling):
        super().__init__()
        self.scaling = scaling

    def forward(self, x: Tensor) -> Tensor:
        return self.scaling.inverse(x)


def _bend(x: Tensor, low: Tensor, high: Tensor, low_slope: Tensor, high_slope: Tensor) -> Tensor:
    """Return x with other slopes below ``low`` and above ``high``."""
    x = torch.where(x > high, high + (x - high) * high_slope, x)
    return torch.where(x < low, low + (x - low) * low_slope, x)


def learn_scaling(
    rows: Rows,
    lowest: Tensor,
    highest: Tensor,
    scale: str | None,
    reach: tuple[float, float] = (-inf, inf),
    *,
    name: str = "X",
    names: Sequence[object] | None = None,
) -> Scaling | None:
    """Learn how to scale the columns of the rows of all ranks; None where they stay as they are.

    A value far from all others (see `find_far_values`) would take most of the range of its column. ``"auto"`` maps the
    column by the others and draws the far ones nearer: beyond three times the distance of the quartiles from them the
    map is flatter, so that a twentieth of a finite ``reach``, or one standard deviation, holds what is there. Where
    such values are more than 30 times that distance away, a warning names the column, whatever ``scale`` is; but none
    of sines and cosines (see `layerwise.data.cycles.find_circles`).

    Parameters
    ----------
    rows : Rows of shape (n_samples, n_features)
        Those of this rank. NaN is left out of account.
    lowest, highest : Tensor of shape (n_features,)
        What `Rows.column_ranges` says of those of all ranks.
    scale : {"auto", "minmax", "standard"} or None
        ``"minmax"`` brings each column to ``reach`` where that is finite, otherwise to [0, 1]; ``"standard"`` to mean 0
        and standard deviation 1; ``"auto"`` leaves bytes that are read as intensities alone, those of an infinite reach
        become standard, and others minmax, unless they are intensities, too (see `are_intensities`).
    reach : tuple of (low, high), default=(-inf, inf)
        The range of the values that can be reconstructed.
    name, names : str, and sequence or None
        What warnings call the rows, and the columns; None is what `layerwise.data.naming` knows, or their numbers.

    Examples
    --------
    >>> rows = Rows(torch.tensor([[1.0, 5.0], [3.0, 5.0]]))
    >>> learn_scaling(rows, *rows.column_ranges(), "minmax", (0, 1))(torch.tensor([[2.0, 5.0]])).tolist()
    [[0.5, 0.0]]
    """
    if scale is None:
        return None
    low, high = reach
    automatic = scale == "auto"
    if automatic and rows.is_uint8:
        return None
    sample, weights = _draw_sample(rows)
    if automatic:
        if are_intensities(sample, weights, lowest, highest, reach):
            return None
        scale = "standard" if low == -inf else "minmax"
    below, above, distance = find_far_values(sample, weights, lowest, highest)
    names = names_of(name, rows.n_features) if names is None else names
    ends = torch.stack([lowest, highest])
    distance[:, find_circles(sample)] = 0.0
    marks = _find_marks(sample, weights, torch.stack([below, above]), ends, distance)
    _warn_of_far_values(ends, distance, "auto" if automatic else scale, name, names, marks)
    if not automatic:
        below, above = torch.full_like(below, -inf), torch.full_like(above, inf)
    low_tail, high_tail = below > lowest, above < highest
    bottom, top = torch.maximum(lowest, below), torch.minimum(highest, above)
    if scale == "standard":
        scaling = _standardise(rows, bottom, top)
        tail = torch.ones_like(bottom)
    else:
        low, high = (low, high) if low > -inf and high < inf else (0.0, 1.0)
        tail = torch.full_like(bottom, _TAIL * (high - low))
        spread = top - bottom
        constant = spread <= _NOISE * torch.maximum(bottom.abs(), top.abs())
        spread = torch.where(constant, 1.0, spread / (high - low - tail * low_tail - tail * high_tail))
        scaling = Scaling(bottom - (low + tail * low_tail) * spread, spread)
    if low_tail.any() or high_tail.any():
        points = torch.stack([bottom, top]).sub(scaling.center).div(scaling.scale)
        scaling.tails = torch.stack(
            [
                torch.where(low_tail, points[0], -_NOWHERE),
                torch.where(high_tail, points[1], _NOWHERE),
                torch.where(low_tail, tail * scaling.scale / (bottom - lowest), 1.0),
                torch.where(high_tail, tail * scaling.scale / (highest - top), 1.0),
            ]
        )
    # A column without any value stays as it is: there is nothing to learn its scale from.
    empty = lowest > highest
    scaling.center[empty], scaling.scale[empty] = 0.0, 1.0
    _check_finite(scaling, scale)
    return scaling.to(rows.device)


def are_intensities(
    sample: Tensor, weights: Tensor, lowest: Tensor, highest: Tensor, reach: tuple[float, float]
) -> bool:
    """Whether rows have one scale in common, as the pixels of images have, and the columns of tables have not.

    They have if they lie within the reach, and below 1, and no column is narrow and dense. A column is narrow if its
    values lie within a third of that range, or nine tenths of them within a tenth of it; it is dense if fewer than half
    of them are the smallest or the largest of all values, as the background of images is. So the edge of handwritten
    digits, narrow and nearly always 0, stays as it is, and a narrow measurement does not. Floats that are multiples of
    1/255 were bytes, and are judged as bytes are: by whether one is above 127.

    Measured on MNIST, scikit-learn's digits and patches of photographs, the dense columns of which have at least .4 of
    the range (nine tenths of the values: .19, in the digits 1 alone), and on 27 public tables divided by their largest
    value, 25 of which have a dense column within a third of it.
    """
    low, high = reach[0], min(reach[1], 1.0)
    smallest, largest = lowest.min(), highest.max()
    if low == -inf or not low <= smallest <= largest <= high:
        return False
    if not ((sample * 255).frac().sub(0.5).abs() < 0.499).any():
        return are_bytes_of_images(largest)
    fifth, ninety_fifth = _quantiles(sample, weights, (0.05, 0.95))
    narrow = (highest - lowest < (high - low) / 3) | (ninety_fifth - fifth < (high - low) / 10)
    at_end = ((sample == smallest) * weights).sum(dim=0).maximum(((sample == largest) * weights).sum(dim=0))
    dense = at_end < weights.sum() / 2
    return not bool((narrow & dense & (lowest < highest)).any())


def are_bytes_of_images(largest: Tensor) -> bool:
    """Whether bytes, the largest of which is this share of 255, are intensities: not if all are below a half, but 0."""
    return bool(largest > 0.5) or bool(largest == 0)


def find_far_values(sample: Tensor, weights: Tensor, lowest: Tensor, highest: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return beyond which values those lie that are far from all others of their column; infinity where none is.

    A value is far if it is more than 10 times as far beyond the quartiles as these are apart; then everything that is
    more than 3 times as far counts with it, unless that is more than 5 % of the values: these are no exceptions. Also
    the distance, of shape (2, n_features), of the smallest and the largest value from the quartiles, in units of how
    far these are apart.
    """
    first, third = _quantiles(sample, weights, (0.25, 0.75))
    unit = third - first
    # A column of which a quarter is at one end, as counts and pixels often are, has no middle to be far from.
    has_middle = (lowest < first) & (first < third) & (third < highest)
    distance = torch.stack([first - lowest, highest - third]).div(unit).masked_fill(~has_middle, 0.0)
    ends = torch.stack([first - _NEAR * unit, third + _NEAR * unit])
    shares = torch.stack([((sample < ends[0]) * weights).sum(dim=0), ((sample > ends[1]) * weights).sum(dim=0)])
    distance = distance.masked_fill(shares > _MANY * weights.sum(), 0.0)  # what is so common is part of the column
    below = torch.where(distance[0] > _FAR, ends[0], -inf)
    above = torch.where(distance[1] > _FAR, ends[1], inf)
    return below, above, distance


def _draw_sample(rows: Rows) -> tuple[Tensor, Tensor]:
    """Return values of the rows of all ranks, if there are not too many, and the weights of the rows, as a column."""
    drawn = Layout.of(rows).draw(max(1000, _SAMPLE // max(1, rows.n_features)), seed=0)
    values = distributed.gather_rows(rows.astype(torch.float64).take(drawn))
    if rows.weights is None:
        return values, values.new_ones(len(values), 1)
    return values, distributed.gather_rows(rows.weights[drawn.to(rows.device)])[:, None]


def _quantiles(sample: Tensor, weights: Tensor, shares: Sequence[float]) -> Tensor:
    """Return the smallest value of each column that has at least a share of all weight up to it."""
    values, order = sample.sort(dim=0, stable=True)  # NaN comes last
    reached = weights.expand_as(sample).gather(0, order).masked_fill(values.isnan(), 0).cumsum(dim=0)
    places = [(reached < (share - 1e-12) * reached[-1]).sum(dim=0) for share in shares]
    return torch.stack([values.gather(0, place[None])[0] for place in places])


def _find_marks(sample: Tensor, weights: Tensor, limits: Tensor, ends: Tensor, distance: Tensor) -> list[str]:
    """Return the whole numbers that are all the far values of a column, several of them: -999, as is often written."""
    marks: dict[str, None] = {}
    for column in (distance > _STRAY).any(dim=0).nonzero()[:, 0].tolist():
        side = int(distance[:, column].argmax())
        values, end = sample[:, column], ends[side, column]
        far = values < limits[0, column] if side == 0 else values > limits[1, column]
        if weights[far].sum() > 1 and bool((values[far] == end).all() and end == end.round()):
            marks[f"{end:.15g}"] = None
    return list(marks)


def _warn_of_far_values(
    ends: Tensor, distance: Tensor, scale: str, name: str, names: Sequence[object] | None, marks: list[str]
) -> None:
    columns = (distance > _STRAY).any(dim=0).nonzero()[:, 0].tolist()
    if not columns:
        return
    found = [
        f"{k if names is None else repr(str(names[k]))} ({ends[distance[:, k].argmax(), k]:g})" for k in columns[:5]
    ]
    where = f"in column{'s' if len(columns) > 1 else ''} {', '.join(found)}"
    if name == "y" and names is None and ends.shape[1] == 1:
        where = found[0].removeprefix("0 ")
    more = f" and {len(columns) - 5} more" if len(columns) > 5 else ""
    remedy = (
        "such values are drawn nearer, so that the others keep their differences; remove them if they are errors"
        if scale == "auto"
        else f"with scale={scale!r} they leave the others next to no range; remove them, or choose scale='auto'"
    )
    if marks:
        stands = "stands for a missing value" if len(marks) == 1 else "stand for missing values"
        instead = (
            f"say so with unlabeled={marks[0]} (--unlabeled {marks[0]})"
            if name == "y"
            else f"leave it empty and use --impute, or AutoencoderImputer(missing_values={marks[0]})"
        )
        remedy += f"; if {' or '.join(marks)} {stands}, {instead}"
    warnings.warn(f"{name} holds values far from all others {where}{more}: {remedy}", UserWarning, stacklevel=2)


def _standardise(rows: Rows, bottom: Tensor, top: Tensor) -> Scaling:
    """Return the scaling to mean 0 and standard deviation 1 of columns, values cut off at ``bottom`` and ``top``.

    In two passes: the mean, then the squared deviations from it, less what rounding left of the mean.
    """
    # Brought near 1 by powers of 2, so that no square overflows or underflows.
    size = torch.maximum(bottom.abs(), top.abs())
    _, exponent = torch.frexp(torch.where(size.isfinite(), size, 1.0))

    def cut(x: Tensor) -> Tensor:
        return x.clamp(bottom, top).ldexp(-exponent)

    count, total = _sum_columns(rows, lambda x: [x.isfinite(), cut(x)])
    mean = total / count
    deviation, squares = _sum_columns(rows, lambda x: [cut(x).sub_(mean), cut(x).sub_(mean).square_()])
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
