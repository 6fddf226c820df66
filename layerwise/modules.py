"""The networks as torch modules: one autoencoder layer, a stack of them unrolled, a stack of encoders with a head."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, cast

import torch
from torch import Tensor, nn

from layerwise.activations import TopK, get_activation
from layerwise.corruptions import Corruption
from layerwise.data.scaling import Scaling
from layerwise.losses import LOSSES
from layerwise.penalties import Sparsity
from layerwise.products import apply_linear

__all__ = ["AutoencoderLayer", "StackedNetwork", "UnrolledAutoencoder"]


class AutoencoderLayer(nn.Module):
    """One autoencoder: x -> h = s(W1 x + b1) -> x^ = t(W2 h + b2), with the penalties it is trained with.

    Parameters
    ----------
    in_features : int
        Width of the input (n).
    n_hidden : int
        Width of the code (h).
    activation : str or TopK, default="sigmoid"
        s: a key of `layerwise.activations.ACTIVATIONS`, or an object.
    output_activation : str, default="sigmoid"
        t: such a key.
    loss : str, default="squared_error"
        Name of the loss of a reconstruction, a key of `layerwise.losses.LOSSES`; ``"binary_cross_entropy"`` needs the
        output activation sigmoid.
    tied : bool, default=False
        Whether W2 is W1 transposed: one parameter, seen twice.
    alpha : float, default=0.0
        Factor of the weight decay, ``alpha/2 |W|^2`` for each weight parameter.
    sparsity : KLSparsity, L1Sparsity or None, default=None
        Penalty of the codes.
    corruption : Masking, SaltAndPepper, Gaussian or None, default=None
        Noise on the input in training; `encode` and `decode` never add it.
    contraction : float, default=0.0
        Factor of the penalty ``|dh/dx|_F^2`` of a row.
    dtype : torch.dtype, default=torch.float32
    generator : torch.Generator or None, default=None
        Draws the initial weights, uniform in +-sqrt(6 / (in_features + n_hidden + 1)), on the CPU.
        Biases begin at 0.

    Raises
    ------
    ValueError
        If a name is not known, loss or sparsity do not go with the activations, or more units are to be kept than there
        are.

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
        activation: str | TopK = "sigmoid",
        output_activation: str = "sigmoid",
        loss: str = "squared_error",
        tied: bool = False,
        alpha: float = 0.0,
        sparsity: Sparsity | None = None,
        corruption: Corruption | None = None,
        contraction: float = 0.0,
        dtype: torch.dtype = torch.float32,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        if loss not in LOSSES:
            raise ValueError(f"loss={loss!r} is not known; choose one of {', '.join(LOSSES)}")
        if loss == "binary_cross_entropy" and output_activation != "sigmoid":
            raise ValueError(
                f"loss='binary_cross_entropy' compares probabilities, but output_activation={output_activation!r} "
                f"gives none; choose output_activation='sigmoid' or loss='squared_error'"
            )
        self.in_features = in_features
        self.n_hidden = n_hidden
        self.activation = get_activation(activation)
        self.output_activation = get_activation(output_activation)
        if isinstance(activation, TopK) and not 1 <= activation.k <= n_hidden:
            raise ValueError(
                f"activation={activation!r} keeps {activation.k} units of n_hidden={n_hidden}; choose k from 1 to "
                f"{n_hidden}"
            )
        if sparsity is not None and sparsity.on_mean and not math.isfinite(self.activation.high - self.activation.low):
            raise ValueError(
                f"sparsity={sparsity!r} needs activations with a lowest and a highest value, but "
                f"activation={activation!r} has none; choose activation='sigmoid' or 'tanh', or sparsity=L1Sparsity()"
            )
        self.loss = LOSSES[loss]
        self.alpha = alpha
        self.sparsity = sparsity
        self.corruption = corruption
        self.contraction = contraction
        bound = (6 / (in_features + n_hidden + 1)) ** 0.5
        self.encoder_weight = nn.Parameter(_uniform((n_hidden, in_features), bound, dtype, generator))
        self.encoder_bias = nn.Parameter(torch.zeros(n_hidden, dtype=dtype))
        self.decoder_weight = None if tied else nn.Parameter(_uniform((in_features, n_hidden), bound, dtype, generator))
        self.decoder_bias = nn.Parameter(torch.zeros(in_features, dtype=dtype))

    def settings(self) -> dict[str, Any]:
        """Return what it was made with, but for type and generator: the arguments of a layer of the same shape."""
        activation = self.activation
        return {
            "in_features": self.in_features,
            "n_hidden": self.n_hidden,
            "activation": activation if isinstance(activation, TopK) else activation.name,
            "output_activation": self.output_activation.name,
            "loss": next(name for name, loss in LOSSES.items() if loss is self.loss),
            "tied": self.decoder_weight is None,
            "alpha": self.alpha,
            "sparsity": self.sparsity,
            "corruption": self.corruption,
            "contraction": self.contraction,
        }

    @property
    def decoder_matrix(self) -> Tensor:
        """W2, of shape (in_features, n_hidden); where it is tied, a view of the encoder's weight."""
        return self.encoder_weight.T if self.decoder_weight is None else self.decoder_weight

    def encode(self, x: Tensor) -> Tensor:
        """Map inputs of shape (n_rows, in_features) to codes of shape (n_rows, n_hidden)."""
        return self.activation.forward(apply_linear(x, self.encoder_weight, self.encoder_bias))

    def decode_logits(self, h: Tensor) -> Tensor:
        """Map codes of shape (n_rows, n_hidden) to W2 h + b2, of shape (n_rows, in_features)."""
        return apply_linear(h, self.decoder_matrix, self.decoder_bias)

    def decode(self, h: Tensor) -> Tensor:
        """Map codes of shape (n_rows, n_hidden) to reconstructions of shape (n_rows, in_features)."""
        return self.output_activation.forward(self.decode_logits(h))

    def forward(self, x: Tensor) -> Tensor:
        """Reconstruct inputs of shape (n_rows, in_features)."""
        return self.decode(self.encode(x))

    def reconstruction_loss(
        self, z: Tensor, target: Tensor, *, weight: Tensor | None = None, out: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the loss of reconstructions, summed over rows, and its gradient; see `layerwise.losses`.

        Parameters
        ----------
        z : Tensor of shape (n_rows, in_features)
            What `decode_logits` gave; written over.
        target : Tensor of shape (n_rows, in_features)
            The rows.
        weight : Tensor of shape (n_rows, in_features) or (n_rows, 1) or None, default=None
            Weights of the entries, or of whole rows; None is 1 everywhere.
        out : Tensor of shape (n_rows, in_features) or None, default=None
            Where to write the gradient; None makes a new tensor.

        Returns
        -------
        value : Tensor of shape (), float64
        gradient : Tensor of shape (n_rows, in_features)
            With respect to ``z``.
        """
        return self.loss(z, target, self.output_activation, weight=weight, out=out)

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
        """The layer at the input: its output activation and its loss are those of the whole."""
        return cast(AutoencoderLayer, self.layers[0])

    def logits(self, x: Tensor) -> Tensor:
        """Return the reconstruction of scaled inputs before its output activation, of shape (n_rows, n_features)."""
        layers = cast(list[AutoencoderLayer], list(self.layers))
        for layer in layers:
            x = layer.encode(x)
        for layer in reversed(layers[1:]):
            x = layer.decode(x)
        return self.first.decode_logits(x)

    def encode(self, x: Tensor) -> Tensor:
        """Map inputs of shape (n_rows, n_features) to the codes of the last layer."""
        x = x if self.scaling is None else self.scaling(x)
        for layer in cast(list[AutoencoderLayer], list(self.layers)):
            x = layer.encode(x)
        return x

    def decode(self, h: Tensor) -> Tensor:
        """Map codes of the last layer to reconstructions of shape (n_rows, n_features)."""
        for layer in reversed(cast(list[AutoencoderLayer], list(self.layers))):
            h = layer.decode(h)
        return h if self.scaling is None else self.scaling.inverse(h)

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

    def encode(self, x: Tensor) -> Tensor:
        """Map inputs of shape (n_rows, n_features) to the codes of the last layer."""
        for layer in self.encoders():
            x = layer.encode(x)
        return x

    def forward(self, x: Tensor) -> Tensor:
        """Map inputs of shape (n_rows, n_features) to outputs of shape (n_rows, n_outputs)."""
        return self.head(self.encode(x))


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


def _uniform(shape: tuple[int, int], bound: float, dtype: torch.dtype, generator: torch.Generator | None) -> Tensor:
    # Drawn in float64 so that a seed gives the same weights, up to rounding, in every type.
    return torch.empty(shape, dtype=torch.float64).uniform_(-bound, bound, generator=generator).to(dtype)
