"""What all training problems have in common: parameters as one vector, weight decay, chunks and batches."""

from __future__ import annotations

import abc
import functools
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from layerwise.data.mapped_rows import AnyRows, order_by_content
from layerwise.penalties import weight_decay

# Values in the widest matrix of a chunk. On the CPU its few copies should stay in the last level of cache;
# a GPU wants long products instead. Both are heuristics, measured with benchmarks/bench_ufldl.py.
_CHUNK_VALUES = {"cpu": 3 * 2**19, "cuda": 2**26}


class ParameterVector:
    """Parameters of a module seen as one flat float64 vector.

    Parameters
    ----------
    parameters : iterable of Parameter
        In the order of the vector, each flattened row by row.
    """

    def __init__(self, parameters: Iterable[nn.Parameter]):
        self.parameters = list(parameters)

    def read(self) -> Tensor:
        """Return the vector, of shape (n_parameters,)."""
        return parameters_to_vector(self.parameters).detach().double()

    def write(self, theta: Tensor) -> None:
        """Set the parameters to those of ``theta``, rounded to their own type."""
        vector_to_parameters(theta.to(self.parameters[0].dtype, copy=True), self.parameters)

    def bind(self, theta: Tensor) -> None:
        """Make the parameters views of ``theta``, in their own type: changes of it are changes of them."""
        vector_to_parameters(theta, self.parameters)

    def views(self, theta: Tensor) -> list[Tensor]:
        """Return the pieces of ``theta`` in the shapes of the parameters, without copying."""
        pieces = theta.split([parameter.numel() for parameter in self.parameters])
        return [piece.view_as(parameter) for piece, parameter in zip(pieces, self.parameters, strict=True)]


class Objective(abc.ABC):
    """What all training problems have in common: parameters as a vector, decay, and the order of batches.

    Parameters
    ----------
    parameters : iterable of Parameter
        Set to ``theta`` at every call, in this order.
    rows : Rows or MappedRows of shape (n_samples, n_features)
    decayed : sequence of Parameter
        Those of them that decay, by alpha/2 |W|^2.
    alpha : float
    seed : int
        Draws the order of batches, and noise.

    Attributes
    ----------
    vector : ParameterVector
    parts : dict of str to float
        The terms of the value by name, of the last evaluation or epoch.
    mean_activation : Tensor of shape (n_hidden,), float64, or None
    target_activation : float or None
        What the sparsity asks of them.
    n_rows_seen : int
        Rows evaluated so far, over samples and batches too.
    """

    target_activation: float | None = None

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        rows: AnyRows,
        *,
        decayed: Sequence[nn.Parameter],
        alpha: float,
        seed: int,
    ):
        self.vector = ParameterVector(parameters)
        self.rows = rows
        if alpha > torch.finfo(rows.dtype).max:
            raise ValueError(f"alpha={alpha:g} is too large for {rows.dtype}; lower it, or use dtype='float64'")
        self.alpha = alpha
        self.seed = seed
        self.parts: dict[str, float] = {}
        self.n_rows_seen = 0
        self._decays = [any(parameter is one for one in decayed) for parameter in self.vector.parameters]
        self._generator = torch.Generator(rows.device)
        self._order: Tensor | None = None

    @property
    def dtype(self) -> torch.dtype:
        """Type of the products, and of what `epoch` yields."""
        return self.rows.dtype

    @property
    def mean_activation(self) -> Tensor | None:
        """Mean activations of the hidden units, where they matter."""
        return None

    @property
    def n_rows(self) -> int:
        """Rows that the value is an average over at present."""
        return len(self.rows)

    @property
    def n_draws(self) -> int:
        """Rows of an epoch, on average: more than there are where weights repeat them."""
        return len(self.rows) if self.rows.weights is None else round(_repeats(self.rows.weights).sum().item())

    @abc.abstractmethod
    def __call__(self, theta: Tensor) -> tuple[float, Tensor]:
        """Return the value at ``theta`` over all rows, and the gradient of shape (n_parameters,)."""

    @abc.abstractmethod
    def value(self, theta: Tensor) -> float:
        """Return the value alone, in less time; sets ``parts`` and ``mean_activation`` too."""

    @abc.abstractmethod
    def batch(self, block: Tensor, positions: Tensor, share: float, pieces: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return the terms over a batch of rows, decay left out, at the parameters; write their gradient.

        Parameters
        ----------
        block : Tensor of shape (n_batch, n_features)
        positions : Tensor of shape (n_batch,), int64
            Where these rows are.
        share : float
            How many they are, as a share of a full batch.
        pieces : sequence of Tensor, in the shapes of the parameters
            Filled with the gradient.
        """

    def epoch(self, theta: Tensor, batch_size: int, number: int) -> Iterator[tuple[Tensor, Tensor, int]]:
        """Go once through all rows in random order, batch by batch.

        The order depends on what the rows hold, not on how they are sorted. A row of weight 2 comes twice, one of
        weight 1.5 every other time; weights that are smaller than 1 on average, or larger than 10, are scaled first.

        Parameters
        ----------
        theta : Tensor of shape (n_parameters,), in ``dtype``
            Each batch is evaluated at what it holds then; change it in place between batches.
        batch_size : int
            The last batch has the rows that remain.
        number : int
            Which epoch this is; with the seed it determines order and noise.

        Yields
        ------
        value : Tensor of shape (), float64
        gradient : Tensor of shape (n_parameters,), in ``dtype``
            Averages over the rows of the batch, with the penalties. Valid until the next one is asked for.
        n_rows : int
            Rows of the batch.
        """
        self.vector.bind(theta)
        order = self._draw_order(number)
        totals: dict[str, Tensor] = {}
        full = min(batch_size, len(order))
        batches = order.split(full)
        gradient = torch.zeros_like(theta)
        pieces = self.vector.views(gradient)
        for positions, block in zip(batches, self.rows.batches(batches), strict=True):
            parts = self.batch(block, positions, len(positions) / full, pieces)
            if self.alpha:
                parts["decay"] = self._add_decay(theta, gradient)
            add_up(totals, parts, float(len(positions)))
            self.n_rows_seen += len(positions)
            yield functools.reduce(torch.add, parts.values()), gradient, len(positions)
        self._keep_parts(totals, {}, len(order))

    def _draw_order(self, number: int) -> Tensor:
        """Return the positions of the rows of an epoch."""
        if self._order is None:
            self._order = order_by_content(self.rows)
        order = self._order
        if self.rows.weights is not None:
            repeats = _repeats(self.rows.weights)[order]
            chance = torch.rand(
                repeats.shape, generator=self._generator.manual_seed(self.seed + number), device=order.device
            )
            order = order.repeat_interleave((repeats + chance).long())
        self._generator.manual_seed(self.seed + number)
        return order[torch.randperm(len(order), generator=self._generator, device=order.device)]

    def _keep_parts(self, sums: dict[str, Tensor], others: dict[str, Tensor], n_rows: float) -> float:
        """Keep the terms of the value, some as sums over so many rows, and return the value."""
        self.parts = {name: total.item() / n_rows for name, total in sums.items()}
        self.parts |= {name: part.item() for name, part in others.items()}
        return sum(self.parts.values())

    def _add_decay(self, theta: Tensor, gradient: Tensor | None = None) -> Tensor:
        """Return the decay, and add its gradient to that of the rest."""
        weights = [weight for weight, decays in zip(self.vector.views(theta), self._decays, strict=True) if decays]
        if gradient is not None:
            pieces = [piece for piece, decays in zip(self.vector.views(gradient), self._decays, strict=True) if decays]
            for weight, piece in zip(weights, pieces, strict=True):
                piece.add_(weight, alpha=self.alpha)
        return weight_decay(weights, self.alpha)


def add_up(totals: dict[str, Tensor], parts: dict[str, Tensor], weight: float = 1.0) -> None:
    """Add terms to their totals, in place.

    Parameters
    ----------
    totals, parts : dict of str to Tensor of shape ()
    weight : float, default=1.0
        What the terms are multiplied by.
    """
    for name, part in parts.items():
        totals[name] = totals.get(name, 0) + part * weight


def observe(rows: AnyRows, block: Tensor, place: slice | None = None) -> tuple[Tensor, Tensor | None]:
    """Return a block with 0 where values are missing, and how much its entries count in the loss.

    Parameters
    ----------
    rows : Rows or MappedRows
    block : Tensor of shape (n_block, n_features)
        Some of these rows.
    place : slice or None, default=None
        Where they are; None, for batches, leaves the weights of rows out: batches repeat rows instead.

    Returns
    -------
    filled : Tensor of shape (n_block, n_features)
    weight : Tensor of shape (n_block, n_features) or (n_block, 1), or None
        The weights of the rows, and 0 for missing values; None is 1 everywhere.
    """
    weight = None
    if rows.weights is not None and place is not None:
        weight = rows.weights[place, None].to(block.dtype)
    if not rows.has_missing:
        return block, weight
    observed = (~block.isnan()).to(block.dtype)
    return block.nan_to_num(nan=0.0), observed if weight is None else observed.mul_(weight)


def _repeats(weights: Tensor) -> Tensor:
    """Return how often each row comes in an epoch, on average."""
    mean = weights.mean()
    return weights if 1 <= mean <= 10 else weights / mean


def default_chunk_rows(rows: AnyRows, *widths: int) -> int:
    """Return how many rows a chunk of a computation with matrices of these widths should have."""
    # Layers that are not named may be wider than a narrow table.
    widest = max(rows.n_features, *widths, 256)
    return max(64, _CHUNK_VALUES["cuda" if rows.device.type == "cuda" else "cpu"] // widest)
