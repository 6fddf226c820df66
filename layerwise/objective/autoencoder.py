"""The training problem of one autoencoder layer, its backward step written out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from layerwise import distributed
from layerwise.corruptions import entry_weights
from layerwise.data.layout import Layout
from layerwise.data.mapped_rows import AnyRows
from layerwise.modules import AutoencoderLayer
from layerwise.objective.base import Objective, add_up, default_chunk_rows, observe
from layerwise.penalties import contraction

# Codes of all rows that an evaluation keeps from its first pass to its second, at most, unless told otherwise.
CACHE_BYTES = 2**30
# Weight of the past in the running mean of batches: it looks back about ten of them. A heuristic choice.
_DECAY_OF_THE_PAST = 0.9


class AutoencoderObjective(Objective):
    """The training problem of one autoencoder layer.

    With m rows x_i, corrupted rows x~_i, codes h_i = s(W1 x~_i + b1) and reconstructions x^_i = t(W2 h_i + b2)::

        J = 1/m sum_i L(x^_i, x_i)  +  alpha/2 (|W1|^2 + |W2|^2)
            +  weight sum_j KL(target || 1/m sum_i h_ij)   or   weight/m sum_ij |h_ij|
            +  contraction/m sum_i |dh_i/dx~_i|_F^2

    L is 1/2 |x^ - x|^2 or the cross-entropy; a tied weight decays once. A row of weight w counts as w rows. What is
    missing (NaN) is 0 in the input, like what `Masking` hits, and is left out of L.

    The KL term depends on the mean over all rows, so it is no sum over chunks. Two passes make it exact: the first
    encodes all rows and sums the codes; the second goes back through every chunk with the derivative of the penalty as
    a constant. The noise of a row is the same in every evaluation, so that J is a function of the parameters.

    A batch cannot know that mean. It takes a running mean of batches, with a weight of 0.9 for the past, which is
    divided by the sum of its weights and so begins at the mean of the first batch: an approximation, the better the
    larger the batch.

    Parameters
    ----------
    layer : AutoencoderLayer
        Its parameters, in the order encoder weight and bias, decoder weight (unless it is tied) and bias.
    rows : Rows or MappedRows of shape (n_samples, in_features)
    seed : int, default=0
        Draws samples, the order of batches and the noise.
    chunk_rows : int or None, default=None
        Rows a chunk; None chooses by the width. With corruption the noise depends on it.
    cache_bytes : int, default=2**30
        Codes are kept from the first pass to the second if they take no more; otherwise they are computed again.

    Attributes
    ----------
    parts : dict of str to float
        ``reconstruction``, ``decay`` and, where there are such, ``sparsity`` and ``contraction``: their sum is the
        value.
    mean_activation : Tensor of shape (n_hidden,), float64
        With KL sparsity as shares of the activation's range, which are (1 + h) / 2 for tanh.

    References
    ----------
    A. Ng, "Sparse autoencoder", CS294A lecture notes, 2011, equations for J_sparse and its gradient.

    Examples
    --------
    >>> import torch
    >>> from layerwise.data.rows import Rows
    >>> layer = AutoencoderLayer(4, 3, alpha=0.1, generator=torch.Generator().manual_seed(0))
    >>> objective = AutoencoderObjective(layer, Rows(torch.rand(10, 4)))
    >>> value, gradient = objective(objective.vector.read())
    >>> gradient.shape
    torch.Size([31])
    """

    def __init__(
        self,
        layer: AutoencoderLayer,
        rows: AnyRows,
        *,
        seed: int = 0,
        chunk_rows: int | None = None,
        cache_bytes: int = CACHE_BYTES,
    ):
        weights = [layer.encoder_weight] + ([] if layer.decoder_weight is None else [layer.decoder_weight])
        parameters = [layer.encoder_weight, layer.encoder_bias, *weights[1:], layer.decoder_bias]
        by_row = layer.sparsity is not None and not layer.sparsity.on_mean
        terms = ["reconstruction"] + ["sparsity"] * by_row + ["contraction"] * bool(layer.contraction)
        super().__init__(parameters, rows, terms=terms, decayed=weights, alpha=layer.alpha, seed=seed)
        self.layer = layer
        self.chunk_rows = chunk_rows or default_chunk_rows(rows, layer.n_hidden)
        self.target_activation = None if layer.sparsity is None else layer.sparsity.target
        self._all_rows = rows
        self._cache_bytes = cache_bytes
        self._codes: dict[int, Tensor] = {}  # of each chunk, by its first row
        self._wide: list[Tensor] = []
        self._penalises_mean = layer.sparsity is not None and not by_row
        # Of the codes: over all rows after an evaluation, a running mean of batches where it is penalised; otherwise
        # that of the last batch is computed when it is asked for.
        self._batch_codes: Tensor | None = None
        self._mean = torch.zeros(layer.n_hidden, dtype=torch.float64, device=rows.device)
        self._mean_weight = 0.0

    @property
    def mean_activation(self) -> Tensor:
        """Mean codes, with KL sparsity as shares of the activation's range."""
        mean = self._mean / self._mean_weight if self._batch_codes is None else self._batch_codes.mean(dim=0).double()
        if not self._penalises_mean:
            return mean
        low, high = self.layer.activation.low, self.layer.activation.high
        return (mean - low) / (high - low)

    def as_dict(self) -> dict[str, Any]:
        """Return what later evaluations and reports take from earlier ones: the running mean too."""
        return super().as_dict() | {"_mean": self._mean, "_mean_weight": self._mean_weight}

    def running(self) -> dict[str, Any]:
        """Return the running mean of the codes, where it is penalised and finite."""
        if not self._penalises_mean or not self._mean.isfinite().all():
            return {}
        return {"_mean": self._mean.clone(), "_mean_weight": self._mean_weight}

    def restrict(self, n_rows: int | None) -> None:
        """Average over a random sample of so many rows, each inside every larger one; None takes all rows again."""
        self._codes = {}
        rows = self._all_rows
        if n_rows is not None:
            rows = rows.subset(Layout.of(rows).draw(n_rows, self.seed, rows.device))
        self._take_rows(rows)

    @torch.no_grad()
    def __call__(self, theta: Tensor) -> tuple[float, Tensor]:
        """Return the value at ``theta`` over all rows, and the gradient of shape (n_parameters,)."""
        self.vector.write(theta)
        self._encode_all()
        sparsity, mean_gradient = self._mean_penalty()

        sums, gradients = [], []
        for shard in self.rows.shards:
            gradient = torch.zeros_like(theta)
            terms: dict[str, Tensor] = {}
            pieces = self.vector.views(gradient)
            for place, block in self.rows.blocks(self.chunk_rows, shard):
                x, clean, weight = self._corrupt_chunk(place, block)
                h = self._codes[place.start] if self._codes else self._encode(x)
                add_up(terms, self._backpropagate(x, clean, weight, self._row_weight(place), h, mean_gradient, pieces))
            sums.append(terms)
            gradients.append(gradient)
        terms, gradient = self._sum_up(sums, gradients)
        self.n_rows_seen += self.n_rows
        gradient /= self._total_weight
        others = {"decay": self._add_decay(theta, gradient)} | sparsity
        return self._keep_parts(terms, others, self._total_weight), gradient

    @torch.no_grad()
    def value(self, theta: Tensor) -> float:
        """Return the value alone, in less time; sets ``parts`` and ``mean_activation`` too."""
        self.vector.write(theta)
        sums, codes = [], []
        for shard in self.rows.shards:
            total = torch.zeros_like(self._mean)
            terms: dict[str, Tensor] = {}
            for place, block in self.rows.blocks(self.chunk_rows, shard):
                x, clean, weight = self._corrupt_chunk(place, block)
                h = self._encode(x)
                row_weight = self._row_weight(place)
                total += _sum_rows(h, row_weight)
                add_up(terms, self._reconstruct(clean, weight, h)[0] | self._code_penalties(h, row_weight))
            sums.append(terms)
            codes.append(total)
        terms, total = self._sum_up(sums, codes)
        self.n_rows_seen += self.n_rows
        self._keep_mean(total)
        sparsity, _ = self._mean_penalty()
        return self._keep_parts(terms, {"decay": self._add_decay(theta)} | sparsity, self._total_weight)

    @torch.no_grad()
    def batch(
        self, blocks: Sequence[Tensor], positions: Sequence[Tensor], n_rows: int, share: float, pieces: Sequence
    ) -> tuple[list[dict[str, Tensor]], dict[str, Tensor]]:
        """Return the terms over a batch of rows at the parameters, decay left out; write their gradient."""
        inputs = [
            self._corrupt(*observe(self.rows, block), generator)
            for block, generator in zip(blocks, self._generators, strict=True)
        ]
        codes = [self._encode(x) for x, _, _ in inputs]
        self._update_mean(codes, n_rows, share)
        sparsity, mean_gradient = self._mean_penalty()
        sums = []
        for (x, clean, weight), h, own in zip(inputs, codes, pieces, strict=True):
            terms = self._backpropagate(x, clean, weight, None, h, mean_gradient, own, keep=0, scale=1 / n_rows)
            sums.append({name: term / n_rows for name, term in terms.items()})
        return sums, sparsity

    def _corrupt_chunk(self, place: slice, block: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Corrupt a chunk as in every other evaluation."""
        generator = self._generators[0].manual_seed(self.seed + self._layout.start(place))
        return self._corrupt(*observe(self.rows, block, place), generator)

    def _corrupt(
        self, clean: Tensor, weight: Tensor | None, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return the input for clean rows, these rows, and the weights of their entries in the loss."""
        corruption = self.layer.corruption
        if corruption is None:
            return clean, clean, weight
        x, hit = corruption.corrupt(clean, generator)
        emphasis = entry_weights(corruption, hit, self.dtype)
        if emphasis is not None:
            weight = emphasis if weight is None else emphasis.mul_(weight)
        return x, clean, weight

    def _row_weight(self, place: slice) -> Tensor | None:
        """Return how often each row of a chunk counts, as a column; None is once."""
        return None if self.rows.weights is None else self.rows.weights[place, None].to(self.dtype)

    def _encode(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        h = torch.addmm(self.layer.encoder_bias, x, self.layer.encoder_weight.T, out=out)
        return self.layer.activation.forward_(h)

    def _encode_all(self) -> None:
        """Pass one: take the mean codes of all rows; keep the codes if they fit."""
        shape = len(self.rows), self.layer.n_hidden
        keeps = math.prod(shape) * self.dtype.itemsize <= self._cache_bytes
        sums = []
        for shard in self.rows.shards:
            total = torch.zeros_like(self._mean)
            for place, block in self.rows.blocks(self.chunk_rows, shard):
                h = self._encode(self._corrupt_chunk(place, block)[0], self._codes.get(place.start))
                total += _sum_rows(h, self._row_weight(place))
                if keeps:
                    self._codes[place.start] = h
            sums.append(total)
        self._keep_mean(distributed.sum_shards(sums))

    def _keep_mean(self, total: Tensor) -> None:
        """Take the mean codes over all rows from their sum."""
        self._mean, self._mean_weight, self._batch_codes = total / self._total_weight, 1.0, None

    def _update_mean(self, codes: Sequence[Tensor], n_rows: int, share: float) -> None:
        """Take a batch, of this share of a full one, into the running mean of the codes."""
        if not self._penalises_mean:
            self._batch_codes = codes[0]
            return
        present = 1 - _DECAY_OF_THE_PAST**share
        mean = distributed.sum_shards([h.sum(dim=0).double() for h in codes]) / n_rows
        self._mean.lerp_(mean, present)
        self._mean_weight += present * (1 - self._mean_weight)

    def _mean_penalty(self) -> tuple[dict[str, Tensor], Tensor | None]:
        """Value of the penalty of the mean activations, and its derivative by the mean codes."""
        sparsity, activation = self.layer.sparsity, self.layer.activation
        if not self._penalises_mean:
            return {}, None
        assert sparsity is not None
        with torch.enable_grad():
            mean = self.mean_activation.requires_grad_()
            value = sparsity.value(mean)
            (gradient,) = torch.autograd.grad(value, mean)
        return {"sparsity": value.detach()}, (gradient / (activation.high - activation.low)).to(self.dtype)

    def _code_penalties(self, h: Tensor, row_weight: Tensor | None) -> dict[str, Tensor]:
        """Penalties of the codes of each row, summed over rows; differentiable by autograd."""
        layer = self.layer
        penalties = {}
        if layer.sparsity is not None and not layer.sparsity.on_mean:
            by_row = layer.sparsity.value(h).double()
            penalties["sparsity"] = (by_row if row_weight is None else by_row * row_weight[:, 0]).sum()
        if layer.contraction:
            penalties["contraction"] = contraction(
                h, layer.encoder_weight, layer.activation, layer.contraction, row_weight
            ).double()
        return penalties

    def _reconstruct(self, clean: Tensor, weight: Tensor | None, h: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Return the loss of the reconstructions, summed over rows, and its gradient by W2 h + b2."""
        layer = self.layer
        # The two widest matrices are made once: memory taken anew for every block costs page faults.
        if not self._wide or len(self._wide[0]) < len(clean):
            self._wide = [clean.new_empty(clean.shape), clean.new_empty(clean.shape)]
        z, delta = (wide[: len(clean)] for wide in self._wide)
        torch.addmm(layer.decoder_bias, h, layer.decoder_matrix.T, out=z)
        value, delta = layer.reconstruction_loss(z, clean, weight=weight, out=delta)
        return {"reconstruction": value}, delta

    def _backpropagate(
        self,
        x: Tensor,
        clean: Tensor,
        weight: Tensor | None,
        row_weight: Tensor | None,
        h: Tensor,
        mean_gradient: Tensor | None,
        pieces: Sequence[Tensor],
        *,
        keep: float = 1,
        scale: float = 1,
    ) -> dict[str, Tensor]:
        """Return the terms of a block summed over its rows, and put their gradient, the means' included, into pieces.

        The gradient becomes ``keep`` times what it was and ``scale`` times that of the block.
        """
        layer = self.layer
        encoder_weight, encoder_bias, *own, decoder_bias = pieces
        decoder_weight = own[0] if own else encoder_weight.T
        parts, delta = self._reconstruct(clean, weight, h)
        _add_product(decoder_weight, delta, h, keep, scale)
        decoder_bias.mul_(keep).add_(delta.sum(dim=0), alpha=scale)

        if mean_gradient is None:
            delta = delta @ layer.decoder_matrix
        else:
            by_mean = mean_gradient if row_weight is None else row_weight * mean_gradient
            delta = torch.addmm(by_mean, delta, layer.decoder_matrix)
        with torch.enable_grad():
            leaf = h.detach().requires_grad_()
            penalties = self._code_penalties(leaf, row_weight)
        if penalties:
            by_codes, by_weight = torch.autograd.grad(
                list(penalties.values()), [leaf, layer.encoder_weight], allow_unused=True, materialize_grads=True
            )
            delta += by_codes
        layer.activation.backward_(delta, h)
        _add_product(encoder_weight, delta, x, keep if own else 1, scale)
        encoder_bias.mul_(keep).add_(delta.sum(dim=0), alpha=scale)
        if penalties:
            encoder_weight.add_(by_weight, alpha=scale)
        return parts | {name: part.detach() for name, part in penalties.items()}


def _sum_rows(h: Tensor, row_weight: Tensor | None) -> Tensor:
    """Return the sum of rows, each as often as it counts."""
    return h.sum(dim=0) if row_weight is None else (row_weight.T @ h)[0]


def _add_product(total: Tensor, a: Tensor, b: Tensor, keep: float, scale: float) -> None:
    """Make ``total`` keep total + scale a' b: in one pass where the types agree."""
    if total.dtype == a.dtype:
        total.addmm_(a.T, b, beta=keep, alpha=scale)
    else:
        total.mul_(keep).add_(a.T @ b, alpha=scale)
