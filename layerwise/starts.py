"""Networks that begin as a solved linear problem: a stack as PCA, a network with a head as a linear model.

A unit whose input stays where its function is straight is linear: ``elu(2 + z/2)`` is for all z above -4, and
``tanh(0.1 z)`` almost. Such a unit carries a number z, and the next layer reads it again. With one such unit for each
column a layer passes all columns on, so that layers of them can be any linear map. The other units have zero weights to
what comes after them: they change nothing at the start, and these weights have a gradient at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from layerwise import distributed
from layerwise.activations import Activation, ElementWise
from layerwise.data.mapped_rows import AnyRows, total_weight
from layerwise.modules import AutoencoderLayer, StackedNetwork
from layerwise.objective import default_chunk_rows, observe

# Bias and gain of units that carry a standard score: where the function is straight for all but far scores. Heuristic
# choices. Functions with a corner are so beside it, exactly for scores above -4; the others to some percent.
_CORNERED = (2.0, 0.5)
_SMOOTH = {"tanh": (0.0, 0.1), "sigmoid": (0.0, 0.1), "softplus": (3.0, 0.3)}
# Smallest deviation of a column that is not constant, beside its mean.
_NOISE = 1e-9
# Standard deviation of the biases of the other units: a heuristic choice.
_BIAS = 0.5


class Affine(NamedTuple):
    """The map u -> matrix u + offset: how numbers are read from units. Tensors of shape (n, n_units) and (n,)."""

    matrix: Tensor
    offset: Tensor

    def then(self, matrix: Tensor) -> Affine:
        """Return this map followed by a product with a matrix."""
        return Affine(matrix @ self.matrix, matrix @ self.offset)


class _Carrier(NamedTuple):
    """A unit s(bias + gain z), which is about ``value + slope z``."""

    bias: float
    gain: float
    value: float
    slope: float

    def read(self, n_numbers: int, n_units: int) -> Affine:
        """Return how as many numbers are read from the last of so many units."""
        matrix = torch.zeros(n_numbers, n_units, dtype=torch.float64)
        matrix[:, n_units - n_numbers :].fill_diagonal_(1 / self.slope)
        return Affine(matrix, torch.full((n_numbers,), -self.value / self.slope, dtype=torch.float64))


def can_carry(activation: Activation) -> bool:
    """Return whether units of this activation can carry a number: those of element-wise functions can."""
    return isinstance(activation, ElementWise)


def _carrier(activation: Activation) -> _Carrier:
    if activation.name == "identity":
        return _Carrier(0.0, 1.0, 0.0, 1.0)
    bias, gain = _SMOOTH.get(activation.name, _CORNERED)
    value = activation.forward(torch.tensor(bias, dtype=torch.float64))
    return _Carrier(bias, gain, value.item(), gain * activation.derivative(value).item())


def scores_of(rows: AnyRows) -> Affine:
    """Return the map of rows to their standard scores: of all ranks, missing values counted as 0.

    Parameters
    ----------
    rows : Rows of shape (n_samples, n_features)

    Returns
    -------
    scores : Affine
        Its matrix is diagonal. A column that is constant has the deviation 1.

    Examples
    --------
    >>> from layerwise.data.rows import Rows
    >>> scores = scores_of(Rows(torch.tensor([[1.0, 5.0], [3.0, 5.0]])))
    >>> scores.matrix.diagonal().tolist(), scores.offset.tolist()
    ([1.0, 1.0], [-2.0, -5.0])
    """
    mean = _average(rows, (rows.n_features,), lambda x, weights: (weights * x).sum(dim=0))
    variance = _average(rows, (rows.n_features,), lambda x, weights: (weights * (x - mean).square()).sum(dim=0))
    deviation = torch.where(variance.sqrt() <= _NOISE * (1 + mean.abs()), 1.0, variance.sqrt())
    return Affine((1 / deviation).diag(), -mean / deviation)


def principal_axes(rows: AnyRows, n_axes: int) -> Tensor:
    """Return the first principal axes of the rows of all ranks, of shape (n_features, n_axes), float64.

    Parameters
    ----------
    rows : Rows of shape (n_samples, n_features)
        Missing values count as 0.
    n_axes : int
        Axes beyond the number of columns are 0.

    Examples
    --------
    >>> from layerwise.data.rows import Rows
    >>> principal_axes(Rows(torch.tensor([[1.0, 1.0], [3.0, 3.0]])), 1).round(decimals=3).tolist()
    [[0.707], [0.707]]
    """
    n = rows.n_features
    mean = _average(rows, (n,), lambda x, weights: (weights * x).sum(dim=0))
    covariance = _average(rows, (n, n), lambda x, weights: (weights * (x - mean)).T @ (x - mean))
    axes = torch.linalg.eigh(covariance).eigenvectors.flip(1)
    largest = axes.gather(0, axes.abs().argmax(dim=0, keepdim=True))
    axes = distributed.broadcast((axes * largest.sign())[:, :n_axes].contiguous())
    return nn.functional.pad(axes, (0, n_axes - axes.shape[1]))


def start_as_pca(layers: Sequence[AutoencoderLayer], rows: AnyRows, generator: torch.Generator) -> None:
    """Let an unrolled stack begin as PCA of as many components as it has codes.

    With scores z of the rows, principal axes V and a gain c, in a stack of two layers::

        first layer   h = s([r + R z,  c z])      R ~ N(0, 1 / n_features),  r ~ N(0, 1/4)
        code          y = V' (x - mean),          read from c z alone
        decoders      the same in reverse:        x^ = mean + V y, the random units left out

    Parameters
    ----------
    layers : sequence of AutoencoderLayer
        Set in place. All but the last have at least as many units as there are columns: the last of them carry the
        columns. None is tied, all activations can carry, and the output of the first is linear.
    rows : Rows of shape (n_samples, n_features)
        As the first layer gets them.
    generator : torch.Generator
        Draws the weights of the other units.

    References
    ----------
    C. Eckart and G. Young, "The approximation of one matrix by another of lower rank", Psychometrika 1, 1936.
    """
    scores, axes = _on_cpu(scores_of(rows)), principal_axes(rows, layers[-1].n_hidden).cpu()
    deviation, n = 1 / scores.matrix.diagonal(), len(scores.offset)
    read = scores
    for layer in layers[:-1]:
        _carry(layer.encoder_weight, layer.encoder_bias, read, layer.activation, generator)
        read = _carrier(layer.activation).read(n, layer.n_hidden)
    last, carrier = layers[-1], _carrier(layers[-1].activation)
    _carry(last.encoder_weight, last.encoder_bias, read.then(axes.T * deviation), last.activation, generator)
    read = carrier.read(last.n_hidden, last.n_hidden).then(axes / deviation[:, None])
    for layer in reversed(layers[1:]):
        assert layer.decoder_weight is not None
        _carry(layer.decoder_weight, layer.decoder_bias, read, layer.output_activation, generator)
        read = _carrier(layer.output_activation).read(n, layer.in_features)
    first = layers[0]
    assert first.decoder_weight is not None
    matrix, offset = read.then(deviation.diag())
    _set(first.decoder_weight, matrix)
    _set(first.decoder_bias, offset - scores.offset * deviation)


def widen(layers: Sequence[AutoencoderLayer], n_features: int) -> list[AutoencoderLayer]:
    """Return layers with one more unit for each column, which no weight leads to yet, beside the units that they have.

    Parameters
    ----------
    layers : sequence of AutoencoderLayer
        All activations can carry.
    n_features : int

    Returns
    -------
    wider : list of AutoencoderLayer
        Their decoders are not widened in a way that reconstructs: the new units decode to 0.
    """
    wider = []
    for place, layer in enumerate(layers):
        settings = layer.settings()
        added = n_features if place else 0
        settings |= {
            "n_hidden": layer.n_hidden + n_features,
            "in_features": layer.in_features + added,
            "tied": False,
        }
        new = AutoencoderLayer(**settings, dtype=layer.encoder_weight.dtype)
        for name, old in (
            *(("encoder_weight", layer.encoder_weight), ("encoder_bias", layer.encoder_bias)),
            *(("decoder_weight", layer.decoder_matrix), ("decoder_bias", layer.decoder_bias)),
        ):
            parameter = getattr(new, name)
            with torch.no_grad():
                parameter.zero_()
                parameter[tuple(slice(length) for length in old.shape)] = old
        wider.append(new)
    return wider


def start_as_linear(network: StackedNetwork, scores: Affine, coefficients: Tensor, intercepts: Tensor) -> None:
    """Let a network with a head begin as a linear model of standard scores; the units it has are left out at first.

    Parameters
    ----------
    network : StackedNetwork
        Of layers as `widen` returns them. Set in place.
    scores : Affine
        How rows become standard scores.
    coefficients : Tensor of shape (n_outputs, n_features)
        Of the linear model of standard scores.
    intercepts : Tensor of shape (n_outputs,)
        Those of the head take up what the units give at a score of 0; a head without a bias leaves that out.
    """
    read = scores = _on_cpu(scores)
    n = len(scores.offset)
    for layer in network.encoders():
        carrier = _carrier(layer.activation)
        own = slice(layer.n_hidden - n, None)
        with torch.no_grad():
            layer.encoder_weight[own] = (carrier.gain * read.matrix).to(layer.encoder_weight)
            layer.encoder_bias[own] = (carrier.bias + carrier.gain * read.offset).to(layer.encoder_bias)
        read = carrier.read(n, layer.n_hidden)
    matrix, offset = read.then(coefficients.double().cpu())
    _set(network.head.weight, matrix)
    if network.head.bias is not None:
        _set(network.head.bias, offset + intercepts.double().cpu())


def _carry(
    weight: nn.Parameter, bias: nn.Parameter, read: Affine, activation: Activation, generator: torch.Generator
) -> None:
    """Let the last units of a layer carry the numbers that ``read`` reads from its input, and draw the others."""
    n, n_units = len(read.offset), len(bias)
    carrier = _carrier(activation)
    random = torch.randn(n_units - n, n + 1, dtype=torch.float64, generator=generator)
    other = read.then(random[:, :n] / n**0.5)
    _set(weight, torch.cat([other.matrix, carrier.gain * read.matrix]))
    _set(bias, torch.cat([other.offset + _BIAS * random[:, n], carrier.bias + carrier.gain * read.offset]))


@torch.no_grad()
def _set(parameter: Tensor, values: Tensor) -> None:
    parameter.copy_(values)


def _on_cpu(map_: Affine) -> Affine:
    return Affine(map_.matrix.cpu(), map_.offset.cpu())


@torch.no_grad()
def _average(rows: AnyRows, shape: tuple[int, ...], add_up: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Return ``add_up(x, weights)`` of blocks of rows, averaged over those of all ranks, of this shape, float64."""
    sums = []
    for shard in rows.shards:
        total = torch.zeros(shape, dtype=torch.float64, device=rows.device)
        for place, block in rows.blocks(default_chunk_rows(rows), shard):
            x = observe(rows, block)[0].double()
            weights = x.new_ones(len(x), 1) if rows.weights is None else rows.weights[place, None].to(x)
            total += add_up(x, weights)
        sums.append(total)
    return distributed.sum_shards(sums) / total_weight(rows)
