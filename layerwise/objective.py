"""Exact value and gradient of a training problem over all rows, in chunks: the only place for 1/m and means.

An objective is a function of one flat float64 vector, ``objective(theta) -> (value, gradient)``. Products are taken
in the type of the rows' blocks (float32 as a rule), sums over chunks in float64. After a call, ``parts`` holds the
terms of the value by name, and ``mean_activation`` the mean activations of the hidden units where they matter.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from layerwise.data.rows import Rows
from layerwise.losses import squared_error
from layerwise.modules import AutoencoderLayer, StackedNetwork
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

    def views(self, theta: Tensor) -> list[Tensor]:
        """Return the pieces of ``theta`` in the shapes of the parameters, without copying."""
        pieces = theta.split([parameter.numel() for parameter in self.parameters])
        return [piece.view_as(parameter) for piece, parameter in zip(pieces, self.parameters, strict=True)]


class AutoencoderObjective:
    """The training problem of one autoencoder layer.

    With m rows x_i, codes h_i and reconstructions x^_i::

        J = 1/(2m) sum_i |x^_i - x_i|^2  +  alpha/2 (|W1|^2 + |W2|^2)  +  weight sum_j KL(target || 1/m sum_i h_ij)

    The last term depends on the mean over all rows, so it is no sum over chunks. Two passes make it exact: the first
    encodes all rows, keeps the codes and sums them; the second goes back through every chunk with the derivative of
    the penalty as a constant.

    Parameters
    ----------
    layer : AutoencoderLayer
        Its parameters are set to ``theta`` at every call, in the order encoder weight and bias, decoder weight
        and bias.
    rows : Rows of shape (n_samples, in_features)
    chunk_rows : int or None, default=None
        Rows a chunk; None chooses by the width.

    Attributes
    ----------
    parts : dict of str to float
        ``reconstruction``, ``decay`` and, with sparsity, ``sparsity``: their sum is the value.
    mean_activation : Tensor of shape (n_hidden,), float64
    target_activation : float or None
        What the sparsity asks of them.

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

    def __init__(self, layer: AutoencoderLayer, rows: Rows, *, chunk_rows: int | None = None):
        self.layer = layer
        self.rows = rows
        self.vector = ParameterVector(
            [layer.encoder_weight, layer.encoder_bias, layer.decoder_weight, layer.decoder_bias]
        )
        self.chunk_rows = min(chunk_rows or default_chunk_rows(rows, layer.n_hidden), len(rows))
        self.parts: dict[str, float] = {}
        self.target_activation = None if layer.sparsity is None else layer.sparsity.target
        self.mean_activation = torch.zeros(layer.n_hidden, dtype=torch.float64, device=rows.device)
        self._codes = torch.empty(len(rows), layer.n_hidden, dtype=rows.dtype, device=rows.device)

    @torch.no_grad()
    def __call__(self, theta: Tensor) -> tuple[float, Tensor]:
        """Return the value at ``theta`` and the gradient, of shape (n_parameters,)."""
        self.vector.write(theta)
        self.mean_activation = self._encode()
        sparsity, mean_gradient = self._sparsity()
        reconstruction, gradient = self._backpropagate(mean_gradient)

        weights = self.vector.views(theta)[::2]
        for weight, piece in zip(weights, self.vector.views(gradient)[::2], strict=True):
            piece.add_(weight, alpha=self.layer.alpha)
        self.parts = {
            "reconstruction": reconstruction,
            "decay": weight_decay(weights, self.layer.alpha).item(),
        }
        if self.layer.sparsity is not None:
            self.parts["sparsity"] = sparsity
        return sum(self.parts.values()), gradient

    def _encode(self) -> Tensor:
        """Pass one: keep the codes of all rows; return their means."""
        layer = self.layer
        total = torch.zeros_like(self.mean_activation)
        for place, x in self.rows.blocks(self.chunk_rows):
            h = torch.addmm(layer.encoder_bias, x, layer.encoder_weight.T, out=self._codes[place])
            total += layer.activation.forward_(h).sum(dim=0)
        return total / len(self.rows)

    def _sparsity(self) -> tuple[float, Tensor]:
        """Value of the penalty, and its derivative by the mean activations."""
        if self.layer.sparsity is None:
            return 0.0, torch.zeros_like(self.mean_activation)
        with torch.enable_grad():
            mean = self.mean_activation.detach().requires_grad_()
            value = self.layer.sparsity.value(mean)
            (gradient,) = torch.autograd.grad(value, mean)
        return value.item(), gradient

    def _backpropagate(self, mean_gradient: Tensor) -> tuple[float, Tensor]:
        """Pass two: mean loss of the rows, and its gradient with that of the sparsity."""
        layer = self.layer
        mean_gradient = mean_gradient.to(self.rows.dtype)
        loss = torch.zeros((), dtype=torch.float64, device=self.rows.device)
        gradient = torch.zeros_like(self.vector.read())
        encoder_weight, encoder_bias, decoder_weight, decoder_bias = self.vector.views(gradient)
        # The two widest matrices are made once: memory taken anew for every chunk costs page faults.
        wide = torch.empty(2, self.chunk_rows, self.rows.n_features, dtype=self.rows.dtype, device=self.rows.device)
        for place, x in self.rows.blocks(self.chunk_rows):
            h = self._codes[place]
            reconstruction, delta = wide[:, : len(x)]
            torch.addmm(layer.decoder_bias, h, layer.decoder_weight.T, out=reconstruction)
            layer.output_activation.forward_(reconstruction)
            value, _ = squared_error(reconstruction, x, out=delta)
            loss += value
            layer.output_activation.backward_(delta, reconstruction)
            decoder_weight += delta.T @ h
            decoder_bias += delta.sum(dim=0)
            delta = torch.addmm(mean_gradient, delta, layer.decoder_weight)
            layer.activation.backward_(delta, h)
            encoder_weight += delta.T @ x
            encoder_bias += delta.sum(dim=0)
        return loss.item() / len(self.rows), gradient.div_(len(self.rows))


class NetworkObjective:
    """The training problem of a network with a softmax head: softmax regression, or fine-tuning.

    With m rows x_i, their classes y_i and the weights theta of the head::

        J = -1/m sum_i log softmax(network(x_i))[y_i]  +  alpha/2 |theta|^2

    Only the weights of the head decay, as in the reference (UFLDL); its intercepts do not.

    Parameters
    ----------
    network : StackedNetwork
    rows : Rows of shape (n_samples, n_features)
    targets : Tensor of shape (n_samples,), int64
        Index of the class of each row.
    alpha : float, default=0.0
        Factor of the weight decay.
    chunk_rows : int or None, default=None
        Rows a chunk; None chooses by the width.

    Attributes
    ----------
    parts : dict of str to float
        ``cross_entropy`` and ``decay``: their sum is the value.
    mean_activation, target_activation : None

    References
    ----------
    A. Ng et al., "UFLDL tutorial", exercises "Softmax regression" and "Stacked autoencoders", 2011.

    Examples
    --------
    >>> import torch
    >>> from layerwise.data.rows import Rows
    >>> from layerwise.modules import softmax_head
    >>> network = StackedNetwork([], softmax_head(4, 2))
    >>> objective = NetworkObjective(network, Rows(torch.rand(10, 4)), torch.arange(10) % 2)
    >>> value, _ = objective(objective.vector.read())
    >>> round(value, 4)
    0.6931
    """

    mean_activation = None
    target_activation = None

    def __init__(
        self,
        network: StackedNetwork,
        rows: Rows,
        targets: Tensor,
        *,
        alpha: float = 0.0,
        chunk_rows: int | None = None,
    ):
        self.network = network
        self.rows = rows
        self.targets = targets.to(rows.device)
        self.alpha = alpha
        encoders = network.encoders()
        trained = [parameter for layer in encoders for parameter in layer.encoder_parameters()]
        self.vector = ParameterVector([*network.head.parameters(), *trained])
        widths = [layer.n_hidden for layer in encoders]
        self.chunk_rows = chunk_rows or default_chunk_rows(rows, *widths)
        self.parts: dict[str, float] = {}

    def __call__(self, theta: Tensor) -> tuple[float, Tensor]:
        """Return the value at ``theta`` and the gradient, of shape (n_parameters,)."""
        self.vector.write(theta)
        loss = torch.zeros((), dtype=torch.float64, device=self.rows.device)
        gradient = torch.zeros_like(theta)
        pieces = self.vector.views(gradient)
        for place, x in self.rows.blocks(self.chunk_rows):
            losses = nn.functional.cross_entropy(self.network(x), self.targets[place], reduction="none")
            loss += losses.detach().sum(dtype=torch.float64)
            for piece, chunk in zip(pieces, torch.autograd.grad(losses.sum(), self.vector.parameters), strict=True):
                piece += chunk
        gradient /= len(self.rows)

        head_weight = self.vector.views(theta)[0]
        pieces[0].add_(head_weight, alpha=self.alpha)
        self.parts = {
            "cross_entropy": loss.item() / len(self.rows),
            "decay": weight_decay([head_weight], self.alpha).item(),
        }
        return sum(self.parts.values()), gradient


def default_chunk_rows(rows: Rows, *widths: int) -> int:
    """Return how many rows a chunk of a computation with matrices of these widths should have."""
    widest = max(rows.n_features, *widths, 1)
    return max(64, _CHUNK_VALUES["cuda" if rows.device.type == "cuda" else "cpu"] // widest)
