"""The training problem of a whole network or of its upper part, by autograd."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

from layerwise import distributed
from layerwise.data.mapped_rows import AnyRows, weight_of
from layerwise.modules import StackedNetwork, UnrolledAutoencoder
from layerwise.objective.base import Objective, default_chunk_rows, observe

# loss(z, target, weight=...) -> (value, gradient), as in `layerwise.losses`.
Loss = Callable[..., tuple[Tensor, Tensor]]


class NetworkObjective(Objective):
    """The training problem of a whole network, or of its upper part: a head, fine-tuning, an unrolled autoencoder.

    It offers no samples to progressive solvers: a network learns the labels of a small sample by heart, and does not
    forget it on all rows. (MNIST, UFLDL's network, 200 iterations: 96.9 % with growing samples, 97.8 % without.)

    With m rows x_i, their targets y_i and the weights W that decay::

        J = 1/m sum_i loss(forward(x_i), y_i)  +  alpha/2 |W|^2

    A row of weight w counts as w rows.

    Parameters
    ----------
    forward : callable
        Maps a block of shape (n_rows, n_features) to the network's last pre-activation; differentiable by autograd.
    parameters : iterable of Parameter
        Those to train.
    rows : Rows or MappedRows of shape (n_samples, n_features)
    targets : Tensor of shape (n_samples,) or (n_samples, n_outputs), or None
        None takes the rows themselves.
    loss : callable
        ``loss(z, target, weight=) -> (value, gradient)``, as in `layerwise.losses`.
    decayed : sequence of Parameter, default=()
    alpha : float, default=0.0
        Factor of the weight decay.
    name : str, default="loss"
        Name of the loss in ``parts``.
    seed : int, default=0
        Draws the order of batches.
    chunk_rows : int or None, default=None
        Rows a chunk; None chooses by the width.

    Attributes
    ----------
    parts : dict of str to float
        The loss by its name, and ``decay``: their sum is the value.

    References
    ----------
    A. Ng et al., "UFLDL tutorial", exercises "Softmax regression" and "Stacked autoencoders", 2011.

    Examples
    --------
    >>> import torch
    >>> from layerwise.data.rows import Rows
    >>> from layerwise.losses import cross_entropy
    >>> from layerwise.modules import linear_head
    >>> head = linear_head(4, 2)
    >>> rows, classes = Rows(torch.rand(10, 4)), torch.arange(10) % 2
    >>> objective = NetworkObjective(head, head.parameters(), rows, classes, cross_entropy)
    >>> value, _ = objective(objective.vector.read())
    >>> round(value, 4)
    0.6931
    """

    def __init__(
        self,
        forward: Callable[[Tensor], Tensor],
        parameters: Iterable[nn.Parameter],
        rows: AnyRows,
        targets: Tensor | None,
        loss: Loss,
        *,
        decayed: Sequence[nn.Parameter] = (),
        alpha: float = 0.0,
        name: str = "loss",
        seed: int = 0,
        chunk_rows: int | None = None,
    ):
        super().__init__(parameters, rows, terms=[name], decayed=decayed, alpha=alpha, seed=seed)
        self.forward = forward
        self.targets = None if targets is None else targets.to(rows.device)
        self.loss = loss
        self.name = name
        widths = [parameter.shape[0] for parameter in self.vector.parameters]
        self.chunk_rows = chunk_rows or default_chunk_rows(rows, *widths)
        if rows.device.type == "cuda":
            # Autograd has threads of its own: torch warns if the first that such a thread does is a matrix product.
            with torch.enable_grad():
                torch.ones((), device=rows.device, requires_grad=True).mul(1).backward()

    def __call__(self, theta: Tensor) -> tuple[float, Tensor]:
        """Return the value at ``theta`` over all rows, and the gradient of shape (n_parameters,)."""
        self.vector.write(theta)
        sums, gradients = [], []
        for shard in self.rows.shards:
            total = torch.zeros((), dtype=torch.float64, device=self.rows.device)
            gradient = torch.zeros_like(theta)
            for place, block in self.rows.blocks(self.chunk_rows, shard):
                value, pieces = self._differentiate(*observe(self.rows, block, place), place)
                total += value
                for piece, chunk in zip(self.vector.views(gradient), pieces, strict=True):
                    piece += chunk
            sums.append({self.name: total})
            gradients.append(gradient)
        terms, gradient = self._sum_up(sums, gradients)
        self.n_rows_seen += self.n_rows
        gradient /= self._total_weight
        return self._keep_parts(terms, {"decay": self._add_decay(theta, gradient)}, self._total_weight), gradient

    def value(self, theta: Tensor) -> float:
        """Return the value alone, in less time; sets ``parts`` too."""
        self.vector.write(theta)
        loss = mean_loss(self.forward, self.loss, self.rows, self.targets)
        self.n_rows_seen += self.n_rows
        self.parts = {self.name: loss, "decay": self._add_decay(theta).item()}
        return sum(self.parts.values())

    def batch(
        self, blocks: Sequence[Tensor], positions: Sequence[Tensor], n_rows: int, share: float, pieces: Sequence
    ) -> tuple[list[dict[str, Tensor]], dict[str, Tensor]]:
        """Return the loss over a batch of rows at the parameters, decay left out; write its gradient."""
        sums = []
        for block, places, own in zip(blocks, positions, pieces, strict=True):
            value, gradients = self._differentiate(*observe(self.rows, block), places)
            for piece, gradient in zip(own, gradients, strict=True):
                torch.div(gradient, n_rows, out=piece)
            sums.append({self.name: value / n_rows})
        return sums, {}

    @torch.enable_grad()
    def _differentiate(
        self, x: Tensor, weight: Tensor | None, place: slice | Tensor
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return the loss of a block summed over its rows, and its gradient by each parameter."""
        z = self.forward(x)
        value, delta = self.loss(z.detach(), x if self.targets is None else self.targets[place], weight=weight)
        return value, torch.autograd.grad(z, self.vector.parameters, delta)


def supervised_objective(
    network: StackedNetwork,
    rows: AnyRows,
    targets: Tensor,
    loss: Loss,
    *,
    alpha: float = 0.0,
    seed: int = 0,
    chunk_rows: int | None = None,
) -> NetworkObjective:
    """Return the problem of a head, or of fine-tuning the layers below it too.

    The weights of the head decay and nothing else does, as in the reference (UFLDL).

    Parameters
    ----------
    network : StackedNetwork
        All of it is trained, the head's parameters first.
    rows : Rows of shape (n_samples, n_features)
    targets : Tensor of shape (n_samples,) or (n_samples, n_outputs)
    loss : callable
        `layerwise.losses.cross_entropy` or `layerwise.losses.squared_error`.
    alpha : float, default=0.0
    seed : int, default=0
    chunk_rows : int or None, default=None

    Returns
    -------
    objective : NetworkObjective
    """
    head = list(network.head.parameters())
    layers = [parameter for layer in network.encoders() for parameter in layer.encoder_parameters()]
    return NetworkObjective(
        network.forward,
        [*head, *layers],
        rows,
        targets,
        loss,
        decayed=head[:1],
        alpha=alpha,
        name=loss.__name__,
        seed=seed,
        chunk_rows=chunk_rows,
    )


def reconstruction_objective(
    network: UnrolledAutoencoder, rows: AnyRows, *, alpha: float = 0.0, seed: int = 0, chunk_rows: int | None = None
) -> NetworkObjective:
    """Return the problem of an unrolled stack: the first layer's loss of reconstructions through all layers.

    Parameters
    ----------
    network : UnrolledAutoencoder
        All weights decay, a tied one once.
    rows : Rows of shape (n_samples, n_features)
    alpha : float, default=0.0
    seed : int, default=0
    chunk_rows : int or None, default=None

    Returns
    -------
    objective : NetworkObjective
    """
    parameters = list(network.parameters())
    return NetworkObjective(
        network.logits,
        parameters,
        rows,
        None,
        network.first.reconstruction_loss,
        decayed=[parameter for parameter in parameters if parameter.ndim == 2],
        alpha=alpha,
        name="reconstruction",
        seed=seed,
        chunk_rows=chunk_rows,
    )


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
