"""The training problem of one layer: of any module that encodes and decodes, noise and penalties included."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from layerwise.activations import Activation, as_given
from layerwise.corruptions import Corruption
from layerwise.data.layout import Layout
from layerwise.data.mapped_rows import AnyRows
from layerwise.losses import reconstruction_loss
from layerwise.modules import AutoencoderLayer
from layerwise.objective.automatic import AutogradKernel
from layerwise.objective.base import CACHE_BYTES, Objective
from layerwise.objective.dense import DenseKernel
from layerwise.objective.kernel import Kernel
from layerwise.penalties import CodeTerm, Contraction, Sparsity, Term


class LayerObjective(Objective):
    """The training problem of one layer, over all of its rows, over samples of them, or over batches.

    With m rows x_i, corrupted rows x~_i, codes h_i, reconstructions x^_i and the weights W, of the decoder too::

        J = 1/m sum_i L(x^_i, x_i)  +  alpha/2 |W|^2  +  1/m sum_i term(x~_i, x_i, z_i, h_i, ...)
            +  sparsity(1/m sum_i h_i)

    L is 1/2 |x^ - x|^2 or the cross-entropy. See `layerwise.objective.Objective` for the means and for batches. A dense
    layer with penalties of its codes and weights has its backward step written out, everything else goes by autograd.

    Parameters
    ----------
    module : AutoencoderLayer or Module
        Anything with ``encode``, ``decode_logits``, ``n_hidden``, ``activation`` and ``output_activation``; matrices
        among its parameters decay, a tied one once. With ``pre_activation`` terms see pre-activations too.
    rows : Rows or MappedRows of shape (n_samples, n_features)
    loss : str, default="squared_error"
        Name of the loss of a reconstruction, a key of `layerwise.losses.LOSSES`.
    terms : sequence of (Sparsity or Term), default=()
        Penalties, at most one of them a `Sparsity`.
    corruption : Corruption or None, default=None
        Noise on the input in training.
    alpha : float, default=0.0
        Factor of the weight decay.
    seed : int, default=0
        Draws samples, the order of batches and the noise.
    chunk_rows : int or None, default=None
        Rows a chunk; None chooses by the width. With corruption the noise depends on it.
    cache_bytes : int, default=2**30
        Codes are kept from the first pass to the second if they take no more; otherwise they are computed again.
    by_autograd : bool, default=False
        Whether autograd is taken where the written-out step would do, to compare them.

    Raises
    ------
    ValueError
        If the loss is not known, or loss or sparsity do not go with the activations.

    Examples
    --------
    >>> import torch
    >>> from layerwise.data.rows import Rows
    >>> layer = AutoencoderLayer(4, 3, generator=torch.Generator().manual_seed(0))
    >>> objective = LayerObjective(layer, Rows(torch.rand(10, 4)), alpha=0.1)
    >>> value, gradient = objective(objective.vector.read())
    >>> gradient.shape
    torch.Size([31])
    """

    def __init__(
        self,
        module: Any,
        rows: AnyRows,
        *,
        loss: str = "squared_error",
        terms: Sequence[Sparsity | Term] = (),
        corruption: Corruption | None = None,
        alpha: float = 0.0,
        seed: int = 0,
        chunk_rows: int | None = None,
        cache_bytes: int = CACHE_BYTES,
        by_autograd: bool = False,
    ):
        self.module = module
        self.loss = reconstruction_loss(loss, module.output_activation)
        sparsity, by_row = split_terms(module.activation, terms)
        dense = type(module) is AutoencoderLayer and all(isinstance(term, (CodeTerm, Contraction)) for term in by_row)
        kernel: Kernel
        if dense and not by_autograd:
            kernel = DenseKernel(module, self.loss, by_row)
        else:
            n_codes, parameters = module.n_hidden, module.parameters()
            kernel = AutogradKernel(module, parameters, self.loss, by_row, name="reconstruction", n_codes=n_codes)
        super().__init__(
            kernel,
            rows,
            corruption=corruption,
            sparsity=sparsity,
            activation=module.activation,
            decayed=[parameter for parameter in kernel.parameters if parameter.ndim > 1],
            alpha=alpha,
            seed=seed,
            chunk_rows=chunk_rows,
            cache_bytes=cache_bytes,
        )
        self._all_rows = rows

    def restrict(self, n_rows: int | None) -> None:
        """Average over a random sample of so many rows, each inside every larger one; None takes all rows again."""
        self._codes = {}
        rows = self._all_rows
        if n_rows is not None:
            rows = rows.subset(Layout.of(rows).draw(n_rows, self.seed, rows.device))
        self._take_rows(rows)


def split_terms(activation: Activation | None, terms: Sequence[Sparsity | Term]) -> tuple[Sparsity | None, list[Term]]:
    """Return the penalty of the mean codes, if there is one, and the terms of single rows.

    Parameters
    ----------
    activation : Activation or None
        That of the codes, which says their range.
    terms : sequence of (Sparsity or Term)

    Returns
    -------
    sparsity : Sparsity or None
    by_row : list of Term

    Raises
    ------
    ValueError
        If two have the same name, as two sparsities have, or the codes have no range to take shares of.
    """
    of_mean: list[Any] = [term for term in terms if getattr(term, "on_mean", False)]
    others: list[Any] = [term for term in terms if not getattr(term, "on_mean", False)]
    by_row = [CodeTerm(term) if hasattr(term, "on_mean") else term for term in others]
    names = ["sparsity" for _ in of_mean] + [term.name for term in by_row]
    if len(set(names)) < len(names):
        raise ValueError(f"terms={list(terms)} have the names {', '.join(names)}; each needs one of its own")
    for sparsity in of_mean:
        if activation is not None and not math.isfinite(activation.high - activation.low):
            raise ValueError(
                f"sparsity={sparsity!r} needs activations with a lowest and a highest value, but "
                f"activation={as_given(activation)!r} has none; choose activation='sigmoid' or 'tanh', or "
                f"sparsity=L1Sparsity()"
            )
    return of_mean[0] if of_mean else None, by_row
