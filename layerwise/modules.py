"""The networks as torch modules: one autoencoder layer, and a stack of encoders with a head."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn

from layerwise.activations import get_activation
from layerwise.penalties import KLSparsity


class AutoencoderLayer(nn.Module):
    """One autoencoder: x -> h = s(W1 x + b1) -> x^ = t(W2 h + b2), with the penalties it is trained with.

    Parameters
    ----------
    in_features : int
        Width of the input (n).
    n_hidden : int
        Width of the code (h).
    activation, output_activation : str, default="sigmoid"
        Names of s and t, keys of `layerwise.activations.ACTIVATIONS`.
    alpha : float, default=0.0
        Factor of the weight decay alpha/2 (|W1|^2 + |W2|^2).
    sparsity : KLSparsity or None, default=None
        Penalty of the mean activations.
    dtype : torch.dtype, default=torch.float32
    generator : torch.Generator or None, default=None
        Draws the initial weights, uniform in +-sqrt(6 / (in_features + n_hidden + 1)), on the CPU.
        Biases begin at 0.

    Attributes
    ----------
    encoder_weight : Parameter of shape (n_hidden, in_features)
    encoder_bias : Parameter of shape (n_hidden,)
    decoder_weight : Parameter of shape (in_features, n_hidden)
    decoder_bias : Parameter of shape (in_features,)

    References
    ----------
    A. Ng et al., "UFLDL tutorial", exercise "Sparse autoencoder", 2011.

    Examples
    --------
    >>> import torch
    >>> layer = AutoencoderLayer(4, 3, generator=torch.Generator().manual_seed(0))
    >>> layer(torch.zeros(2, 4)).shape
    torch.Size([2, 4])
    """

    def __init__(
        self,
        in_features: int,
        n_hidden: int,
        *,
        activation: str = "sigmoid",
        output_activation: str = "sigmoid",
        alpha: float = 0.0,
        sparsity: KLSparsity | None = None,
        dtype: torch.dtype = torch.float32,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        self.in_features = in_features
        self.n_hidden = n_hidden
        self.activation = get_activation(activation)
        self.output_activation = get_activation(output_activation)
        self.alpha = alpha
        self.sparsity = sparsity
        bound = (6 / (in_features + n_hidden + 1)) ** 0.5
        self.encoder_weight = nn.Parameter(_uniform((n_hidden, in_features), bound, dtype, generator))
        self.encoder_bias = nn.Parameter(torch.zeros(n_hidden, dtype=dtype))
        self.decoder_weight = nn.Parameter(_uniform((in_features, n_hidden), bound, dtype, generator))
        self.decoder_bias = nn.Parameter(torch.zeros(in_features, dtype=dtype))

    def encode(self, x: Tensor) -> Tensor:
        """Map inputs of shape (n_rows, in_features) to codes of shape (n_rows, n_hidden)."""
        return self.activation.forward(nn.functional.linear(x, self.encoder_weight, self.encoder_bias))

    def decode(self, h: Tensor) -> Tensor:
        """Map codes of shape (n_rows, n_hidden) to reconstructions of shape (n_rows, in_features)."""
        return self.output_activation.forward(nn.functional.linear(h, self.decoder_weight, self.decoder_bias))

    def forward(self, x: Tensor) -> Tensor:
        """Reconstruct inputs of shape (n_rows, in_features)."""
        return self.decode(self.encode(x))

    def encoder_parameters(self) -> list[nn.Parameter]:
        """Return the weight and the bias of the encoder."""
        return [self.encoder_weight, self.encoder_bias]


class StackedNetwork(nn.Module):
    """Encoders one after the other, then a linear head: x -> h1 -> ... -> logits.

    Parameters
    ----------
    layers : iterable of AutoencoderLayer
        Each as wide at its input as the one before at its code; may be empty.
    head : Linear
        From the last code to one logit a class. Its softmax is part of the loss.

    Examples
    --------
    >>> import torch
    >>> network = StackedNetwork([AutoencoderLayer(4, 3)], torch.nn.Linear(3, 2))
    >>> network(torch.zeros(5, 4)).shape
    torch.Size([5, 2])
    """

    def __init__(self, layers: Iterable[AutoencoderLayer], head: nn.Linear):
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.head = head

    def encoders(self) -> list[AutoencoderLayer]:
        """Return the layers, from the input up."""
        return cast(list[AutoencoderLayer], list(self.layers))

    def encode(self, x: Tensor) -> Tensor:
        """Map inputs of shape (n_rows, n_features) to the codes of the last layer."""
        for layer in self.encoders():
            x = layer.encode(x)
        return x

    def forward(self, x: Tensor) -> Tensor:
        """Map inputs of shape (n_rows, n_features) to logits of shape (n_rows, n_classes)."""
        return self.head(self.encode(x))


def softmax_head(
    in_features: int, n_classes: int, *, bias: bool = True, dtype: torch.dtype = torch.float32
) -> nn.Linear:
    """Return a linear head for softmax regression, all zero: its problem is convex, so any start will do.

    Parameters
    ----------
    in_features : int
        Width of the last code.
    n_classes : int
    bias : bool, default=True
        Whether each class has an intercept.
    dtype : torch.dtype, default=torch.float32

    Returns
    -------
    head : Linear

    Examples
    --------
    >>> import torch
    >>> softmax_head(3, 2)(torch.ones(1, 3)).tolist()
    [[0.0, 0.0]]
    """
    head = nn.utils.skip_init(nn.Linear, in_features, n_classes, bias=bias, dtype=dtype)
    for parameter in head.parameters():
        nn.init.zeros_(parameter)
    return head


def _uniform(shape: tuple[int, int], bound: float, dtype: torch.dtype, generator: torch.Generator | None) -> Tensor:
    # Drawn in float64 so that a seed gives the same weights, up to rounding, in every type.
    return torch.empty(shape, dtype=torch.float64).uniform_(-bound, bound, generator=generator).to(dtype)
