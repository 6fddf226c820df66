"""The training problems of a whole network or of its upper part: a head, fine-tuning, an unrolled autoencoder.

They offer no samples to progressive solvers: a network learns the labels of a small sample by heart, and does not
forget it on all rows. (MNIST, UFLDL's network, 200 iterations: 96.9 % with growing samples, 97.8 % without.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from layerwise import distributed
from layerwise.corruptions import Corruption
from layerwise.data.mapped_rows import AnyRows, weight_of
from layerwise.losses import Loss
from layerwise.modules import StackedNetwork, UnrolledAutoencoder
from layerwise.objective.automatic import AutogradKernel
from layerwise.objective.base import Objective, default_chunk_rows, observe
from layerwise.objective.layer import split_terms
from layerwise.penalties import Sparsity, Term


def supervised_objective(
    network: StackedNetwork,
    rows: AnyRows,
    targets: Tensor,
    loss: Loss,
    *,
    terms: Sequence[Sparsity | Term] = (),
    corruption: Corruption | None = None,
    dropout: float = 0.0,
    alpha: float = 0.0,
    decay: str = "zero",
    seed: int = 0,
    chunk_rows: int | None = None,
) -> Objective:
    """Return the problem of a head, or of fine-tuning the layers below it too.

    With m rows x_i, their targets y_i and the weights W of the head::

        J = 1/m sum_i loss(network(x_i), y_i)  +  alpha/2 |W|^2  +  penalties of the last codes

    The weights of the head decay and nothing else does, as in the reference (UFLDL). With ``decay="start"`` all
    parameters theta that are trained decay, biases too, towards their values theta_0 at the start:
    ``alpha/2 |theta - theta_0|^2``. An infinite alpha leaves the network as it starts.

    Parameters
    ----------
    network : StackedNetwork
        All of it is trained, the head's parameters first.
    rows : Rows of shape (n_samples, n_features)
    targets : Tensor of shape (n_samples,) or (n_samples, n_outputs)
    loss : callable
        `layerwise.losses.cross_entropy` or `layerwise.losses.squared_error`.
    terms : sequence of (Sparsity or Term), default=()
        Penalties of the codes of the last layer, as dropout leaves them alone.
    corruption : Corruption or None, default=None
        Noise on the input; its emphasis has no meaning here.
    dropout : float, default=0.0
        Share of the codes of each layer that are set to 0 in training, the others divided by ``1 - dropout``.
    alpha : float, default=0.0
    decay : {"zero", "start"}, default="zero"
    seed : int, default=0
    chunk_rows : int or None, default=None

    Returns
    -------
    objective : Objective

    References
    ----------
    A. Ng et al., "UFLDL tutorial", exercises "Softmax regression" and "Stacked autoencoders", 2011.

    N. Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", JMLR 15, 2014, section 4.

    Examples
    --------
    >>> import torch
    >>> from layerwise.data.rows import Rows
    >>> from layerwise.losses import cross_entropy
    >>> from layerwise.modules import linear_head
    >>> rows, classes = Rows(torch.rand(10, 4)), torch.arange(10) % 2
    >>> objective = supervised_objective(StackedNetwork([], linear_head(4, 2)), rows, classes, cross_entropy)
    >>> value, _ = objective(objective.vector.read())
    >>> round(value, 4)
    0.6931
    """
    head = list(network.head.parameters())
    layers = [parameter for layer in network.encoders() for parameter in layer.encoder_parameters()]
    last = network.encoders()[-1] if terms else None
    return _network_objective(
        network,
        [*head, *layers],
        rows,
        loss,
        name=getattr(loss, "__name__", "loss"),
        last=last,
        terms=terms,
        dropout=dropout,
        targets=targets,
        corruption=corruption,
        decayed=head[:1] if decay == "zero" else [*head, *layers],
        alpha=alpha,
        decay=decay,
        seed=seed,
        chunk_rows=chunk_rows,
    )


def reconstruction_objective(
    network: UnrolledAutoencoder,
    rows: AnyRows,
    loss: Loss,
    *,
    terms: Sequence[Sparsity | Term] = (),
    corruption: Corruption | None = None,
    dropout: float = 0.0,
    alpha: float = 0.0,
    decay: str = "zero",
    seed: int = 0,
    chunk_rows: int | None = None,
) -> Objective:
    """Return the problem of an unrolled stack: the loss of reconstructions through all layers.

    Parameters
    ----------
    network : UnrolledAutoencoder
        All weights decay, a tied one once; with ``decay="start"`` the biases too.
    rows : Rows of shape (n_samples, n_features)
    loss : callable
        That of `layerwise.losses.reconstruction_loss`.
    terms, corruption, dropout, alpha, decay, seed, chunk_rows
        As in `supervised_objective`; the loss compares with the rows as they are without noise.

    Returns
    -------
    objective : Objective
    """
    parameters = list(network.parameters())
    return _network_objective(
        network,
        parameters,
        rows,
        loss,
        name="reconstruction",
        last=network.layers[-1] if terms else None,
        terms=terms,
        dropout=dropout,
        corruption=corruption,
        decayed=[parameter for parameter in parameters if parameter.ndim > 1 or decay == "start"],
        alpha=alpha,
        decay=decay,
        seed=seed,
        chunk_rows=chunk_rows,
    )


def _network_objective(
    network: StackedNetwork | UnrolledAutoencoder,
    parameters: Sequence[nn.Parameter],
    rows: AnyRows,
    loss: Loss,
    *,
    name: str,
    last: Any,
    terms: Sequence[Sparsity | Term],
    dropout: float,
    **others: Any,
) -> Objective:
    """Return the problem of a network whose ``last`` layer gives the codes that the terms are of."""
    activation = getattr(last, "activation", None)
    sparsity, by_row = split_terms(activation, terms)
    n_codes = 0 if sparsity is None else last.n_hidden
    kernel = AutogradKernel(network, parameters, loss, by_row, dropout=dropout, name=name, n_codes=n_codes)
    return Objective(kernel, rows, sparsity=sparsity, activation=activation, **others)


@torch.no_grad()
def mean_loss(forward: Callable[[Tensor], Tensor], loss: Loss, rows: AnyRows, targets: Tensor | None = None) -> float:
    """Return the loss of a network averaged over the rows of all ranks, without penalties and without noise.

    Rows count by their weights.

    Parameters
    ----------
    forward : callable
        Maps a block of rows to the network's last pre-activation.
    loss : callable
        ``loss(z, target, weight=) -> (value, gradient)``, as in `layerwise.losses`.
    rows : Rows or MappedRows of shape (n_samples, n_features)
    targets : Tensor of shape (n_samples, ...) or None, default=None
        None takes the rows themselves.

    Returns
    -------
    value : float

    Examples
    --------
    >>> from layerwise.data import Rows
    >>> from layerwise.losses import cross_entropy
    >>> rows, classes = Rows(torch.zeros(3, 2)), torch.tensor([0, 1, 1])
    >>> round(mean_loss(lambda x: x, cross_entropy, rows, classes), 4)
    0.6931
    """
    sums = []
    for shard in rows.shards:
        total = torch.zeros(2, dtype=torch.float64, device=rows.device)
        for place, block in rows.blocks(default_chunk_rows(rows), shard):
            x, weight = observe(rows, block, place)
            total[0] += loss(forward(x), x if targets is None else targets[place], weight=weight)[0]
        total[1] = weight_of(rows, shard)
        sums.append(total)
    value, n_rows = distributed.sum_shards(sums).tolist()
    return value / n_rows
