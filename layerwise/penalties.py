"""Penalties that are added to a loss: weight decay, sparsity of the codes, contraction of the encoder, and others."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Real
from typing import Any, ClassVar, NamedTuple, Protocol

import torch
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval
from torch import Tensor

__all__ = ["KLSparsity", "L1Sparsity", "Seen", "Sparsity", "Term"]

# Mean activations are kept this far from 0 and from 1, so that a unit that is always off or on costs much but not
# infinitely much. The reciprocals must be finite in float32 too, the second number must not be rounded to it.
_LOWEST, _HIGHEST = 1e-30, 1 - 2**-53


def weight_decay(weights: Iterable[Tensor], alpha: float) -> Tensor:
    """Weight decay, ``alpha/2 sum |W|^2``, over weight matrices; biases are not decayed.

    Parameters
    ----------
    weights : iterable of Tensor
    alpha : float
        The factor; its gradient is ``alpha * W``.

    Returns
    -------
    value : Tensor of shape (), float64

    Examples
    --------
    >>> import torch
    >>> weight_decay([torch.ones(2, 3)], alpha=0.5).item()
    1.5
    """
    squares = [torch.dot(weight.reshape(-1), weight.reshape(-1)).double() for weight in weights]
    return 0.5 * alpha * sum(squares, torch.zeros((), dtype=torch.float64))


class Seen(NamedTuple):
    """What a term of the objective sees of some rows.

    Attributes
    ----------
    x : Tensor of shape (n_rows, n_features)
        The input, with noise on it where there is a corruption, and 0 where values are missing.
    clean : Tensor of shape (n_rows, n_features)
        The same without the noise.
    z : Tensor of shape (n_rows, n_hidden) or None
        Pre-activations of the codes; None where the module does not give them.
    h : Tensor of shape (n_rows, n_hidden)
        Codes.
    logits : Tensor of shape (n_rows, n_outputs)
        Outputs before their activation.
    module : Module
        The network.
    """

    x: Tensor
    clean: Tensor
    z: Tensor | None
    h: Tensor
    logits: Tensor
    module: Any


class Term(Protocol):
    """What is needed of a term that the objective averages over rows.

    Attributes
    ----------
    name : str
        What the term is called in the parts of the value.
    """

    name: str

    def of_rows(self, seen: Seen, /) -> Tensor:
        """Return the term of each row, of shape (n_rows,), differentiable by autograd."""


def sum_over_rows(term: Term, seen: Seen, row_weight: Tensor | None) -> Tensor:
    """Return a term summed over rows, each as often as it counts.

    Parameters
    ----------
    term : Term
    seen : Seen
    row_weight : Tensor of shape (n_rows, 1) or None
        Weights of the rows; None is 1 everywhere.

    Returns
    -------
    value : Tensor of shape (), float64
    """
    by_row = term.of_rows(seen).double()
    return (by_row if row_weight is None else by_row * row_weight[:, 0]).sum()


class Sparsity(Protocol):
    """What is needed of a penalty of the codes; one that is also a scikit-learn estimator has parameters to search.

    Attributes
    ----------
    on_mean : bool
        Whether `value` takes the mean activations over all rows, or the codes of some rows.
    target : float or None
        The mean activation that it asks for, shown in training beside that which is reached; None if it asks for none.
    """

    on_mean: ClassVar[bool]

    @property
    def target(self) -> float | None:
        """Return the mean activation that is asked for."""

    def value(self, activations: Tensor, /) -> Tensor:
        """Return the penalty, differentiable by autograd.

        Parameters
        ----------
        activations : Tensor of shape (n_hidden,) or (n_rows, n_hidden)
            With ``on_mean`` averages over all rows, as shares of the activation's range; otherwise codes.

        Returns
        -------
        value : Tensor of shape () or (n_rows,)
            With ``on_mean`` the penalty; otherwise that of each row, which the objective averages over all of them.
        """


class KLSparsity(BaseEstimator):
    """Keep the mean activation of every hidden unit near a small target.

    Adds to the loss::

        weight * sum_j KL(target || mean_j)
        KL(p || q) = p log(p / q) + (1 - p) log((1 - p) / (1 - q))

    where mean_j is the activation of hidden unit j averaged over *all* training rows, as a share of the activation's
    range: h itself for sigmoid, (1 + h) / 2 for tanh. It grows large, but stays finite, where a unit is always off or
    always on.

    Parameters
    ----------
    target : float, default=0.05
        The wished mean activation (rho), between 0 and 1, both excluded. Needs an activation with a finite range.
    weight : float, default=3.0
        The factor of the penalty (beta).

    References
    ----------
    A. Ng, "Sparse autoencoder", CS294A lecture notes, 2011, section 3.

    Examples
    --------
    >>> import torch
    >>> penalty = KLSparsity(target=0.5, weight=2.0)
    >>> penalty.value(torch.tensor([0.5, 0.25], dtype=torch.float64)).item()
    0.287...
    """

    _parameter_constraints: ClassVar[dict] = {
        "target": [Interval(Real, 0, 1, closed="neither")],
        "weight": [Interval(Real, 0, None, closed="left")],
    }

    #: Acts on the mean of the codes over all rows.
    on_mean: ClassVar[bool] = True

    def __init__(self, target: float = 0.05, weight: float = 3.0):
        self.target = target
        self.weight = weight

    def value(self, mean_activation: Tensor) -> Tensor:
        """Return the penalty for these mean activations.

        Parameters
        ----------
        mean_activation : Tensor of shape (n_hidden,)
            Averages over all rows, as shares of the activation's range: each in [0, 1].

        Returns
        -------
        value : Tensor of shape (), float64
        """
        p, q = self.target, mean_activation.double().clamp(_LOWEST, _HIGHEST)
        on = p * torch.log(p / q)
        off = (1 - p) * torch.log((1 - p) / (1 - q))
        return self.weight * (on + off).sum()


class L1Sparsity(BaseEstimator):
    """Keep activations near 0, one row at a time.

    Adds to the loss, with m rows of codes h_i::

        weight/m sum_i sum_j |h_ij|

    Parameters
    ----------
    weight : float, default=1e-3
        The factor of the penalty.

    Examples
    --------
    >>> import torch
    >>> L1Sparsity(weight=0.5).value(torch.tensor([[1.0, -3.0]])).tolist()
    [2.0]
    """

    _parameter_constraints: ClassVar[dict] = {"weight": [Interval(Real, 0, None, closed="left")]}
    #: Acts on the codes of each row.
    on_mean: ClassVar[bool] = False
    target = None

    def __init__(self, weight: float = 1e-3):
        self.weight = weight

    def value(self, codes: Tensor) -> Tensor:
        """Return the penalty of each row.

        Parameters
        ----------
        codes : Tensor of shape (n_rows, n_hidden)

        Returns
        -------
        value : Tensor of shape (n_rows,)
        """
        return self.weight * codes.abs().sum(dim=1)


class CodeTerm:
    """A penalty of the codes of each row as a term.

    Parameters
    ----------
    sparsity : Sparsity
        One that is not ``on_mean``.
    """

    name = "sparsity"

    def __init__(self, sparsity: Sparsity):
        self.sparsity = sparsity

    def of_rows(self, seen: Seen) -> Tensor:
        """Return the penalty of each row, of shape (n_rows,)."""
        return self.sparsity.value(seen.h)


class Contraction:
    """Contraction of the encoder of a dense layer, ``factor |dh/dx|_F^2`` of each row.

    For an element-wise activation s, and for one that keeps some units as they are, the Jacobian has a closed form::

        |dh/dx|_F^2 = sum_j s'(z_j)^2 sum_k W_jk^2

    Parameters
    ----------
    factor : float

    References
    ----------
    S. Rifai et al., "Contractive auto-encoders", ICML 2011, equation 7.

    Examples
    --------
    >>> import torch
    >>> from layerwise.modules import AutoencoderLayer
    >>> layer = AutoencoderLayer(2, 1)
    >>> _ = layer.load_state_dict(layer.state_dict() | {"encoder_weight": torch.tensor([[2.0, 0.0]])})
    >>> x = torch.zeros(1, 2)
    >>> Contraction(1.0).of_rows(Seen(x, x, None, torch.tensor([[0.5]]), x, layer)).tolist()
    [0.25]
    """

    name = "contraction"

    def __init__(self, factor: float):
        self.factor = factor

    def of_rows(self, seen: Seen) -> Tensor:
        """Return the penalty of each row, of shape (n_rows,); s' is written in terms of the codes."""
        slopes = seen.module.activation.derivative(seen.h).square()
        return self.factor * (slopes @ seen.module.encoder_weight.square().sum(dim=1))


SPARSITIES: dict[str, Any] = {"kl": KLSparsity, "l1": L1Sparsity}
