"""The networks as torch modules: one autoencoder layer, a stack of them unrolled, a stack of encoders with a head."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast

import torch
from torch import Tensor, nn

from layerwise.activations import Activation, as_given, get_activation
from layerwise.data.scaling import Scaling
from layerwise.products import apply_linear

__all__ = ["AutoencoderLayer", "StackedNetwork", "UnrolledAutoencoder"]


class AutoencoderLayer(nn.Module):
    """One autoencoder: x -> h = s(W1 x + b1) -> x^ = t(W2 h + b2).

    Parameters
    ----------
    in_features : int
        Width of the input (n).
    n_hidden : int
        Width of the code (h).
    activation : str or Activation, default="sigmoid"
        s: a key of `layerwise.activations.ACTIVATIONS`, or an object.
    output_activation : str, default="sigmoid"
        t: such a key.
    tied : bool, default=False
        Whether W2 is W1 transposed: one parameter, seen twice.
    dtype : torch.dtype, default=torch.float32
    generator : torch.Generator or None, default=None
        Draws the initial weights, uniform in +-sqrt(6 / (in_features + n_hidden + 1)), on the CPU.
        Biases begin at 0.

    Raises
    ------
    ValueError
        If an activation is not known, or more units are to be kept than there are.

    Attributes
    ----------
    encoder_weight : Parameter of shape (n_hidden, in_features)
    encoder_bias : Parameter of shape (n_hidden,)
    decoder_weight : Parameter of shape (in_features, n_hidden) or None
        None where it is tied to the encoder's.
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
        activation: str | Activation = "sigmoid",
        output_activation: str = "sigmoid",
        tied: bool = False,
        dtype: torch.dtype = torch.float32,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        self.in_features = in_features
        self.n_hidden = n_hidden
        self.activation = get_activation(activation)
        self.output_activation = get_activation(output_activation)
        self.activation.check_width(n_hidden)
        bound = (6 / (in_features + n_hidden + 1)) ** 0.5
        self.encoder_weight = nn.Parameter(_uniform((n_hidden, in_features), bound, dtype, generator))
        self.encoder_bias = nn.Parameter(torch.zeros(n_hidden, dtype=dtype))
        self.decoder_weight = None if tied else nn.Parameter(_uniform((in_features, n_hidden), bound, dtype, generator))
        self.decoder_bias = nn.Parameter(torch.zeros(in_features, dtype=dtype))

    def settings(self) -> dict[str, Any]:
        """Return what it was made with, but for type and generator: the arguments of a layer of the same shape."""
        return {
            "in_features": self.in_features,
            "n_hidden": self.n_hidden,
            "activation": as_given(self.activation),
            "output_activation": self.output_activation.name,
            "tied": self.decoder_weight is None,
        }

    @property
    def decoder_matrix(self) -> Tensor:
        """W2, of shape (in_features, n_hidden); where it is tied, a view of the encoder's weight."""
        return self.encoder_weight.T if self.decoder_weight is None else self.decoder_weight

    def pre_activation(self, x: Tensor) -> Tensor:
        """Map inputs of shape (n_rows, in_features) to W1 x + b1, of shape (n_rows, n_hidden)."""
        return apply_linear(x, self.encoder_weight, self.encoder_bias)

    def encode(self, x: Tensor) -> Tensor:
        """Map inputs of shape (n_rows, in_features) to codes of shape (n_rows, n_hidden)."""
        return self.activation.forward(self.pre_activation(x))

    def decode_logits(self, h: Tensor) -> Tensor:
        """Map codes of shape (n_rows, n_hidden) to W2 h + b2, of shape (n_rows, in_features)."""
        return apply_linear(h, self.decoder_matrix, self.decoder_bias)

    def decode(self, h: Tensor) -> Tensor:
        """Map codes of shape (n_rows, n_hidden) to reconstructions of shape (n_rows, in_features)."""
        return self.output_activation.forward(self.decode_logits(h))

    def forward(self, x: Tensor) -> Tensor:
        """Reconstruct inputs of shape (n_rows, in_features)."""
        return self.decode(self.encode(x))

    def encoder_parameters(self) -> list[nn.Parameter]:
        """Return the weight and the bias of the encoder."""
        return [self.encoder_weight, self.encoder_bias]

    def untie(self) -> None:
        """Give a tied decoder a weight of its own, equal to the encoder's so far."""
        if self.decoder_weight is None:
            self.decoder_weight = nn.Parameter(
                self.encoder_weight.detach().T.clone(memory_format=torch.contiguous_format)
            )


class UnrolledAutoencoder(nn.Module):
    """The layers of a stack as one deep autoencoder: all encoders, then all decoders in reverse.

    It has no parameters of its own: what trains it trains the layers.

    Parameters
    ----------
    layers : iterable of AutoencoderLayer
        From the input up, at least one.
    scaling : Scaling or None, default=None
        How `encode`, `decode` and `forward` scale the input, and the reconstruction back.

    References
    ----------
    G. E. Hinton and R. R. Salakhutdinov, "Reducing the dimensionality of data with neural networks", Science 313, 2006.

    Examples
    --------
    >>> import torch
    >>> network = UnrolledAutoencoder([AutoencoderLayer(4, 3), AutoencoderLayer(3, 2)])
    >>> network(torch.zeros(5, 4)).shape
    torch.Size([5, 4])
    """

    def __init__(self, layers: Iterable[AutoencoderLayer], scaling: Scaling | None = None):
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.scaling = scaling

    @property
    def first(self) -> AutoencoderLayer:
        """The layer at the input: its output activation is that of the whole."""
        return cast(AutoencoderLayer, self.layers[0])

    def encode(self, x: Tensor, drop: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """Map inputs of shape (n_rows, n_features) to the codes of the last layer.

        In training ``drop`` changes the codes of the layers below it.
        """
        return _encode(self.layers, x if self.scaling is None else self.scaling(x), drop)

    def decode_logits(self, h: Tensor) -> Tensor:
        """Map codes of the last layer to scaled reconstructions before their activation."""
        for layer in reversed(cast(list[AutoencoderLayer], list(self.layers)[1:])):
            h = layer.decode(h)
        return self.first.decode_logits(h)

    def decode(self, h: Tensor) -> Tensor:
        """Map codes of the last layer to reconstructions of shape (n_rows, n_features)."""
        x = self.first.output_activation.forward(self.decode_logits(h))
        return x if self.scaling is None else self.scaling.inverse(x)

    def forward(self, x: Tensor) -> Tensor:
        """Reconstruct inputs of shape (n_rows, n_features)."""
        return self.decode(self.encode(x))


class StackedNetwork(nn.Module):
    """Encoders one after the other, then a linear head: x -> h1 -> ... -> logits.

    Parameters
    ----------
    layers : iterable of AutoencoderLayer
        Each as wide at its input as the one before at its code; may be empty.
    head : Linear
        From the last code to one logit a class, the softmax of which is part of the loss; or to one output a target.

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

    def encode(self, x: Tensor, drop: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """Map inputs of shape (n_rows, n_features) to the codes of the last layer.

        In training ``drop`` changes the codes of the layers below it.
        """
        return _encode(self.layers, x, drop)

    def decode_logits(self, h: Tensor) -> Tensor:
        """Map codes of the last layer to outputs of shape (n_rows, n_outputs)."""
        return self.head(h)

    def forward(self, x: Tensor) -> Tensor:
        """Map inputs of shape (n_rows, n_features) to outputs of shape (n_rows, n_outputs)."""
        return self.decode_logits(self.encode(x))


class Linear(nn.Linear):
    """torch's linear layer, its product by `layerwise.products`."""

    def forward(self, input: Tensor) -> Tensor:
        """Map inputs of shape (..., in_features) to outputs of shape (..., out_features)."""
        if torch.jit.is_scripting():  # a script holds torch's function alone
            return nn.functional.linear(input, self.weight, self.bias)
        return apply_linear(input, self.weight, self.bias)


def linear_head(
    in_features: int, n_outputs: int, *, bias: bool = True, dtype: torch.dtype = torch.float32
) -> nn.Linear:
    """Return a linear head for softmax or linear regression, all zero: its problem is convex, so any start will do.

    Parameters
    ----------
    in_features : int
        Width of the last code.
    n_outputs : int
        One a class, or one a target.
    bias : bool, default=True
        Whether each output has an intercept.
    dtype : torch.dtype, default=torch.float32

    Returns
    -------
    head : Linear

    Examples
    --------
    >>> import torch
    >>> linear_head(3, 2)(torch.ones(1, 3)).tolist()
    [[0.0, 0.0]]
    """
    head = nn.utils.skip_init(Linear, in_features, n_outputs, bias=bias, dtype=dtype)
    for parameter in head.parameters():
        nn.init.zeros_(parameter)
    return head


def _encode(layers: Iterable[nn.Module], x: Tensor, drop: Callable[[Tensor], Tensor] | None) -> Tensor:
    """Return the codes of the last layer, with what ``drop`` makes of those of each layer below it."""
    for place, layer in enumerate(layers):
        x = cast(AutoencoderLayer, layer).encode(x if drop is None or place == 0 else drop(x))
    return x


def _uniform(shape: tuple[int, int], bound: float, dtype: torch.dtype, generator: torch.Generator | None) -> Tensor:
    # Drawn in float64 so that a seed gives the same weights, up to rounding, in every type.
    return torch.empty(shape, dtype=torch.float64).uniform_(-bound, bound, generator=generator).to(dtype)
