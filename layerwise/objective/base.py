"""A training problem: sums over chunks, shards and ranks, means, batches, weight decay."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from layerwise import distributed
from layerwise.activations import Activation
from layerwise.corruptions import Corruption, entry_weights
from layerwise.data.layout import Layout
from layerwise.data.mapped_rows import AnyRows, total_weight
from layerwise.objective.batches import Batches
from layerwise.objective.kernel import Block, Kernel
from layerwise.objective.parameters import ParameterVector
from layerwise.penalties import Sparsity, weight_decay

# Values in the widest matrix of a chunk. On the CPU its few copies should stay in the last level of cache;
# a GPU wants long products instead. Both are heuristics, measured with benchmarks/bench_ufldl.py.
_CHUNK_VALUES = {"cpu": 3 * 2**19, "cuda": 2**26}

# Codes of all rows that an evaluation keeps from its first pass to its second, at most, unless told otherwise.
CACHE_BYTES = 2**30
# Weight of the past in the running mean of batches: it looks back about ten of them. A heuristic choice.
_DECAY_OF_THE_PAST = 0.9

# Decorates what trains: callers may have switched gradients off (`torch.no_grad`, `torch.inference_mode`).
with_gradients = torch.inference_mode(False)


class Objective:
    """A training problem: value and gradient over all rows, or over batches, with the penalties.

    With m rows of weight 1, a kernel that gives the terms of each, and the weights W that decay::

        J = 1/m sum_i terms(x_i)  +  alpha/2 |W - W0|^2  +  sparsity(1/m sum_i h_i)

    where W0 is zero, or, with ``decay="start"``, what W is when the objective is made (L2-SP of Li et al., "Explicit
    inductive bias for transfer learning with convolutional networks", ICML 2018, equation 2).

    A row of weight w counts as w rows. Averages are over the rows of all ranks (see `layerwise.distributed`), each of
    which has some of them, or none. All ranks must call the same methods, with the same parameters; what they return is
    the same on each, to the bit.

    The last term depends on the mean over all rows, so it is no sum over chunks. Two passes make it exact: the first
    encodes all rows and sums the codes; the second goes back through every chunk with the derivative of the penalty as
    a constant. The noise of a row is the same in every evaluation, so that J is a function of the parameters.

    A batch cannot know that mean. It takes a running mean of batches, with a weight of 0.9 for the past, which is
    divided by the sum of its weights and so begins at the mean of the first batch: an approximation, the better the
    larger the batch.

    Parameters
    ----------
    kernel : Kernel
        Its parameters are set to ``theta`` at every call, in their order.
    rows : Rows or MappedRows of shape (n_samples, n_features)
        Those of this rank.
    targets : Tensor of shape (n_samples,) or (n_samples, n_outputs), or None, default=None
        None takes the rows themselves.
    corruption : Corruption or None, default=None
        Noise on the input.
    sparsity : Sparsity or None, default=None
        A penalty of the mean codes.
    activation : Activation or None, default=None
        That of the codes: the sparsity takes the means as shares of its range. None is from 0 to 1.
    decayed : sequence of Parameter, default=()
        Those of the parameters that decay.
    alpha : float, default=0.0
        Factor of the weight decay.
    decay : {"zero", "start"}, default="zero"
        Where the weights decay to: 0, or the values that they have now.
    seed : int, default=0
        Draws samples, the order of batches and the noise.
    chunk_rows : int or None, default=None
        Rows a chunk; None chooses by the width. With noise, that depends on it.
    cache_bytes : int, default=2**30
        Codes are kept from the first pass to the second if they take no more; otherwise they are computed again.

    Attributes
    ----------
    vector : ParameterVector
    parts : dict of str to float
        The terms of the value by name, of the last evaluation or epoch: their sum is the value.
    target_activation : float or None
        What the sparsity asks of the mean activations.
    n_rows_seen : int
        Rows of all ranks evaluated so far, over samples and batches too.
    """

    def __init__(
        self,
        kernel: Kernel,
        rows: AnyRows,
        *,
        targets: Tensor | None = None,
        corruption: Corruption | None = None,
        sparsity: Sparsity | None = None,
        activation: Activation | None = None,
        decayed: Sequence[nn.Parameter] = (),
        alpha: float = 0.0,
        decay: str = "zero",
        seed: int = 0,
        chunk_rows: int | None = None,
        cache_bytes: int = CACHE_BYTES,
    ):
        if alpha > torch.finfo(rows.dtype).max:
            raise ValueError(f"alpha={alpha:g} is too large for {rows.dtype}; lower it, or use dtype='float64'")
        self.vector = ParameterVector(kernel.parameters)
        self.alpha = alpha
        self.seed = seed
        self.chunk_rows = chunk_rows or default_chunk_rows(rows, *(len(own) for own in self.vector.parameters))
        self.target_activation = None if sparsity is None else sparsity.target
        self.parts: dict[str, float] = {}
        self.n_rows_seen = 0
        self._kernel = kernel
        self._targets = None if targets is None else targets.to(rows.device)
        self._corruption = corruption
        self._sparsity = sparsity
        self._low, self._high = (0.0, 1.0) if activation is None else (activation.low, activation.high)
        # Of the codes: over all rows after an evaluation, a running mean of batches where it is penalised; otherwise
        # that of the last batch is computed when it is asked for.
        self._batch_codes: Tensor | None = None
        self._mean = torch.zeros(kernel.n_codes, dtype=torch.float64, device=rows.device)
        self._mean_weight = 0.0
        self._decays = [any(parameter is one for one in decayed) for parameter in self.vector.parameters]
        self._centers = None if decay == "zero" else self.vector.views(self.vector.read())
        self._cache_bytes = cache_bytes
        self._codes: dict[int, Tensor] = {}  # of each chunk, by its first row
        self._take_rows(rows)

    def _take_rows(self, rows: AnyRows) -> None:
        """Average over these rows from now on."""
        self.rows = rows
        self._layout = Layout.of(rows)
        self._total_weight = total_weight(rows)
        self._batches = Batches(rows, self._layout, self._total_weight, self.seed)
        self._generators = [torch.Generator(rows.device) for _ in rows.shards]

    @property
    def dtype(self) -> torch.dtype:
        """Type of the products, and of what `epoch` yields."""
        return self.rows.dtype

    @property
    def mean_activation(self) -> Tensor | None:
        """Mean codes, of shape (n_codes,), float64; shares of the activation's range where their mean is penalised."""
        if not self._kernel.n_codes:
            return None
        mean = self._mean / self._mean_weight if self._batch_codes is None else self._batch_codes.mean(dim=0).double()
        return mean if self._sparsity is None else (mean - self._low) / (self._high - self._low)

    @property
    def n_rows(self) -> int:
        """Rows that the value is an average over at present."""
        return self._layout.n_rows

    @property
    def n_draws(self) -> int:
        """Rows of an epoch, on average: more than there are where weights repeat them."""
        return self._batches.n_draws

    def as_dict(self) -> dict[str, Any]:
        """Return what later evaluations and reports take from earlier ones, as tensors, numbers and dicts."""
        kept = {"parts": self.parts, "n_rows_seen": self.n_rows_seen}
        return kept | ({"_mean": self._mean, "_mean_weight": self._mean_weight} if self._kernel.n_codes else {})

    def running(self) -> dict[str, Any]:
        """Return what batches take from those before them, to go on with on other rows: tensors and numbers."""
        if self._sparsity is None or not self._mean.isfinite().all():
            return {}
        return {"_mean": self._mean.clone(), "_mean_weight": self._mean_weight}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take over what `as_dict` or `running` gave.

        Parameters
        ----------
        saved : mapping
        """
        for name, value in saved.items():
            setattr(self, name, value)

    @torch.no_grad()
    def __call__(self, theta: Tensor) -> tuple[float, Tensor]:
        """Return the value at ``theta`` over all rows, and the gradient of shape (n_parameters,)."""
        self.vector.write(theta)
        if self._sparsity is not None:
            self._encode_all()
        sparsity, mean_gradient = self._penalise_mean()
        kernel, sums, vectors = self._kernel, [], []
        for shard in self.rows.shards:
            vector = theta.new_zeros(len(theta) + len(self._mean))
            gradient, codes = vector[: len(theta)], vector[len(theta) :]
            pieces = self.vector.views(gradient)
            terms: dict[str, Tensor] = {}
            for place, rows in self.rows.blocks(self.chunk_rows, shard):
                block = self._chunk(place, rows)
                passed = kernel.forward(block, self._codes.get(place.start))
                add_up(terms, kernel.backward(block, passed, mean_gradient, pieces))
                if len(codes) and self._sparsity is None:
                    codes += _sum_rows(kernel.codes(passed), block.row_weight)
            sums.append(terms)
            vectors.append(vector)
        terms, vector = self._sum_up(sums, vectors)
        gradient, codes = vector[: len(theta)], vector[len(theta) :]
        if self._sparsity is None:
            self._keep_mean(codes)
        self.n_rows_seen += self.n_rows
        gradient /= self._total_weight
        others = {"decay": self._add_decay(self.vector.views(theta), gradient)} | sparsity
        return self._keep_parts(terms, others, self._total_weight), gradient

    @torch.no_grad()
    def value(self, theta: Tensor) -> float:
        """Return the value alone, in less time; sets ``parts`` and ``mean_activation`` too."""
        self.vector.write(theta)
        kernel, sums, vectors = self._kernel, [], []
        for shard in self.rows.shards:
            codes = torch.zeros_like(self._mean)
            terms: dict[str, Tensor] = {}
            for place, rows in self.rows.blocks(self.chunk_rows, shard):
                block = self._chunk(place, rows)
                measured, h = kernel.measure(block)
                add_up(terms, measured)
                if len(codes):
                    codes += _sum_rows(h, block.row_weight)
            sums.append(terms)
            vectors.append(codes)
        terms, codes = self._sum_up(sums, vectors)
        self.n_rows_seen += self.n_rows
        self._keep_mean(codes)
        others = {"decay": self._add_decay(self.vector.views(theta))} | self._penalise_mean()[0]
        return self._keep_parts(terms, others, self._total_weight)

    def epoch(self, theta: Tensor | None, batch_size: int, number: int) -> Iterator[tuple[Tensor, Tensor, int]]:
        """Go once through all rows in random order, batch by batch.

        The order depends on what the rows hold, not on how they are sorted. A row of weight 2 comes twice, one of
        weight 1.5 every other time; weights that are smaller than 1 on average, or larger than 10, are scaled first.
        Of each batch every shard gives its part, so that with several of them batches differ by some rows in length.

        Parameters
        ----------
        theta : Tensor of shape (n_parameters,), in ``dtype``, or None
            Each batch is evaluated at what it holds then; change it in place between batches. None takes the
            parameters as they are then.
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
        if theta is not None:
            self.vector.bind(theta)
        parts, sizes = self._batches.plan(number, batch_size, self._generators)
        full = min(batch_size, sum(sizes))
        totals: dict[str, Tensor] = {}
        blocks = self.rows.batches(part for batch in zip(*parts, strict=True) for part in batch)
        own = self.vector.parameters
        gradients = [torch.zeros(sum(map(Tensor.numel, own)), dtype=self.dtype, device=self.rows.device) for _ in parts]
        pieces = [self.vector.views(gradient) for gradient in gradients]
        for positions, n_rows in zip(zip(*parts, strict=True), sizes, strict=True):
            taken = [next(blocks) for _ in positions]
            if n_rows == 0:
                continue
            sums, others = self._differentiate(taken, positions, n_rows, n_rows / full, pieces)
            terms, gradient = self._sum_up(sums, gradients)
            terms |= others
            if self.alpha:
                terms["decay"] = self._add_decay([parameter.detach() for parameter in own], gradient)
            add_up(totals, terms, float(n_rows))
            self.n_rows_seen += n_rows
            yield functools.reduce(torch.add, terms.values()), gradient, n_rows
        self._keep_parts(totals, {}, sum(sizes))

    @torch.no_grad()
    def _differentiate(
        self, taken: Sequence[Tensor], positions: Sequence[Tensor], n_rows: int, share: float, pieces: Sequence
    ) -> tuple[list[dict[str, Tensor]], dict[str, Tensor]]:
        """Return the terms over a batch of rows at the parameters, decay left out; write their gradient.

        Each shard of this rank gives some of the ``n_rows`` of the batch, perhaps none, which is this share of a full
        one. Returned are the terms that are sums over rows, for each shard, divided by ``n_rows``; and those that
        depend on all rows together, whose gradient is among those of the shards.
        """
        blocks = [
            self._corrupt(rows, place, None, generator)
            for rows, place, generator in zip(taken, positions, self._generators, strict=True)
        ]
        passed = [self._kernel.forward(block, None) for block in blocks]
        if len(self._mean):
            self._update_mean([self._kernel.codes(own) for own in passed], n_rows, share)
        sparsity, mean_gradient = self._penalise_mean()
        sums = []
        for block, own, piece in zip(blocks, passed, pieces, strict=True):
            terms = self._kernel.backward(block, own, mean_gradient, piece, n_rows)
            sums.append({name: term / n_rows for name, term in terms.items()})
        return sums, sparsity

    def _chunk(self, place: slice, rows: Tensor) -> Block:
        """Return a chunk with the same noise as in every other evaluation."""
        weight = None if self.rows.weights is None else self.rows.weights[place, None].to(self.dtype)
        generator = self._generators[0].manual_seed(self.seed + self._layout.start(place))
        return self._corrupt(rows, place, weight, generator)

    def _corrupt(
        self, rows: Tensor, place: slice | Tensor, row_weight: Tensor | None, generator: torch.Generator
    ) -> Block:
        """Return some rows with noise on them, 0 where values are missing, and what the loss compares with."""
        clean, weight = observe(self.rows, rows, place if isinstance(place, slice) else None)
        target = clean if self._targets is None else self._targets[place]
        if self._corruption is None:
            return Block(clean, clean, target, weight, row_weight, generator)
        x, hit = self._corruption.corrupt(clean, generator)
        emphasis = None if self._targets is not None else entry_weights(self._corruption, hit, self.dtype)
        if emphasis is not None:
            weight = emphasis if weight is None else emphasis.mul_(weight)
        return Block(x, clean, target, weight, row_weight, generator)

    def _encode_all(self) -> None:
        """Pass one: take the mean codes of all rows; keep the codes if they fit."""
        shape = len(self.rows), len(self._mean)
        keeps = math.prod(shape) * self.dtype.itemsize <= self._cache_bytes
        sums = []
        for shard in self.rows.shards:
            total = torch.zeros_like(self._mean)
            for place, rows in self.rows.blocks(self.chunk_rows, shard):
                block = self._chunk(place, rows)
                h = self._kernel.encode(block, self._codes.get(place.start))
                total += _sum_rows(h, block.row_weight)
                if keeps:
                    self._codes[place.start] = h
            sums.append(total)
        self._keep_mean(distributed.sum_shards(sums))

    def _keep_mean(self, total: Tensor) -> None:
        """Take the mean codes over all rows from their sum."""
        self._mean, self._mean_weight, self._batch_codes = total / self._total_weight, 1.0, None

    def _update_mean(self, codes: Sequence[Tensor], n_rows: int, share: float) -> None:
        """Take a batch, of this share of a full one, into the running mean of the codes."""
        if self._sparsity is None:
            self._batch_codes = codes[0]
            return
        present = 1 - _DECAY_OF_THE_PAST**share
        mean = distributed.sum_shards([h.sum(dim=0).double() for h in codes]) / n_rows
        self._mean.lerp_(mean, present)
        self._mean_weight += present * (1 - self._mean_weight)

    def _penalise_mean(self) -> tuple[dict[str, Tensor], Tensor | None]:
        """Return the penalty of the mean codes, and its derivative by them."""
        if self._sparsity is None:
            return {}, None
        with torch.enable_grad():
            assert self.mean_activation is not None
            mean = self.mean_activation.requires_grad_()
            value = self._sparsity.value(mean)
            (gradient,) = torch.autograd.grad(value, mean)
        return {"sparsity": value.detach()}, (gradient / (self._high - self._low)).to(self.dtype)

    def _sum_up(self, sums: Sequence[dict[str, Tensor]], vectors: Sequence[Tensor]) -> tuple[dict[str, Tensor], Tensor]:
        """Add up the terms and the vectors of all shards of all ranks, in one message."""
        if distributed.world_size() * len(vectors) == 1:
            return sums[0], vectors[0]
        zero = torch.zeros((), dtype=torch.float64, device=vectors[0].device)
        columns = [torch.stack([shard.get(name, zero) for name in self._kernel.terms]) for shard in sums]
        flat = [torch.cat([vector, terms.to(vector.dtype)]) for vector, terms in zip(vectors, columns, strict=True)]
        total = distributed.sum_shards(flat)
        n_terms = len(self._kernel.terms)
        return dict(zip(self._kernel.terms, total[-n_terms:].double(), strict=True)), total[:-n_terms]

    def _keep_parts(self, sums: dict[str, Tensor], others: dict[str, Tensor], n_rows: float) -> float:
        """Keep the terms of the value, some as sums over so many rows, and return the value."""
        self.parts = {name: total.item() / n_rows for name, total in sums.items()}
        self.parts |= {name: part.item() for name, part in others.items()}
        return sum(self.parts.values())

    def _add_decay(self, parameters: Sequence[Tensor], gradient: Tensor | None = None) -> Tensor:
        """Return the decay of parameters, and add its gradient to that of the rest."""
        if self._centers is not None:
            parameters = [one - center.to(one) for one, center in zip(parameters, self._centers, strict=True)]
        weights = [weight for weight, decays in zip(parameters, self._decays, strict=True) if decays]
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


def _sum_rows(h: Tensor, row_weight: Tensor | None) -> Tensor:
    """Return the sum of rows, each as often as it counts."""
    return h.sum(dim=0) if row_weight is None else (row_weight.T @ h)[0]


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


def default_chunk_rows(rows: AnyRows, *widths: int) -> int:
    """Return how many rows a chunk of a computation with matrices of these widths should have."""
    # Layers that are not named may be wider than a narrow table.
    widest = max(rows.n_features, *widths, 256)
    return max(64, _CHUNK_VALUES["cuda" if rows.device.type == "cuda" else "cpu"] // widest)
