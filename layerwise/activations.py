"""Activation functions, each with its derivative written in terms of its output."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from numbers import Integral
from typing import ClassVar, NamedTuple, Protocol, overload

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval
from torch import Tensor
from torch.nn import functional as F

_aten = torch.ops.aten
_LEAK = 0.01


class Activation(Protocol):
    """What is needed of an activation; one that is also a scikit-learn estimator has parameters to search.

    Attributes
    ----------
    name : str
    low, high : float
        The range of the outputs.
    same_range : str
        A key of `ACTIVATIONS`, of a function with just this range.
    """

    @property
    def name(self) -> str:
        """Return what the activation is called."""

    @property
    def low(self) -> float:
        """Return the lowest output."""

    @property
    def high(self) -> float:
        """Return the highest output."""

    @property
    def same_range(self) -> str:
        """Return the name of an element-wise function with this range."""

    def forward(self, z: Tensor, /) -> Tensor:
        """Return h = s(z) for z of shape (n_rows, n_hidden); differentiable by autograd."""

    def forward_(self, z: Tensor, /) -> Tensor:
        """Return the same, written over ``z``."""

    def derivative(self, output: Tensor, /) -> Tensor:
        """Return s'(z) in terms of ``output = s(z)``; differentiable by autograd."""

    def backward_(self, gradient: Tensor, output: Tensor, /) -> Tensor:
        """Multiply ``gradient`` in place by s'(z), in one pass."""

    def check_width(self, n_hidden: int) -> None:
        """Refuse a number of units that it is not made for."""


class ElementWise(NamedTuple):
    """An element-wise function and its derivative.

    Attributes
    ----------
    name : str
    forward : callable
        ``forward(z) -> s(z)``; differentiable by autograd.
    forward_ : callable
        The same, written over ``z``.
    derivative : callable
        ``derivative(output) -> s'(z)``, where ``output = s(z)``; differentiable by autograd.
    backward_ : callable
        ``backward_(gradient, output)`` multiplies ``gradient`` in place by ``s'(z)``, in one pass.
    low, high : float
        The range of the outputs.
    """

    name: str
    forward: Callable[[Tensor], Tensor]
    forward_: Callable[[Tensor], Tensor]
    derivative: Callable[[Tensor], Tensor]
    backward_: Callable[[Tensor, Tensor], Tensor]
    low: float
    high: float

    def __reduce__(self) -> tuple:
        """Be pickled by name, as the functions cannot be."""
        return get_activation, (self.name,)

    @property
    def same_range(self) -> str:
        """Its own name."""
        return self.name

    def check_width(self, n_hidden: int) -> None:
        """Take any number of units."""


_TABLE = (
    ElementWise(
        "sigmoid",
        torch.sigmoid,
        torch.sigmoid_,
        lambda s: s * (1 - s),
        lambda g, s: _aten.sigmoid_backward.grad_input(g, s, grad_input=g),
        low=0.0,
        high=1.0,
    ),
    ElementWise(
        "tanh",
        torch.tanh,
        torch.tanh_,
        lambda s: 1 - s * s,
        lambda g, s: _aten.tanh_backward.grad_input(g, s, grad_input=g),
        low=-1.0,
        high=1.0,
    ),
    ElementWise(
        "relu",
        torch.relu,
        torch.relu_,
        lambda s: (s > 0).to(s.dtype),
        lambda g, s: _aten.threshold_backward.grad_input(g, s, 0, grad_input=g),
        low=0.0,
        high=math.inf,
    ),
    ElementWise(
        "leaky_relu",
        lambda z: F.leaky_relu(z, _LEAK),
        lambda z: F.leaky_relu_(z, _LEAK),
        lambda s: torch.ones_like(s).masked_fill_(s <= 0, _LEAK),
        lambda g, s: _aten.leaky_relu_backward.grad_input(g, s, _LEAK, True, grad_input=g),
        low=-math.inf,
        high=math.inf,
    ),
    ElementWise(
        "elu",
        F.elu,
        F.elu_,
        lambda s: torch.where(s > 0, 1.0, s + 1),
        lambda g, s: _aten.elu_backward.grad_input(g, 1, 1, 1, True, s, grad_input=g),
        low=-1.0,
        high=math.inf,
    ),
    ElementWise(
        "softplus",
        F.softplus,
        lambda z: torch.logaddexp(z, torch.zeros_like(z), out=z),
        lambda s: -torch.expm1(-s),
        lambda g, s: g.mul_(-torch.expm1(-s)),
        low=0.0,
        high=math.inf,
    ),
    ElementWise(
        "identity",
        lambda z: z,
        lambda z: z,
        torch.ones_like,
        lambda g, s: g,
        low=-math.inf,
        high=math.inf,
    ),
)
ACTIVATIONS = {activation.name: activation for activation in _TABLE}


class TopK(BaseEstimator):
    """Keep the k strongest units of each row and turn the others off: the codes of a k-sparse autoencoder.

    With the pre-activations z of a row, and z_(k) the k-th largest of them::

        h_j = max(z_j, 0)  if z_j >= z_(k)
        h_j = 0            otherwise

    So k units of a row are on: fewer where fewer are positive, more where others are exactly as strong as the k-th. The
    source keeps the k largest z, negative ones too, which differs only in rows with fewer than k positive z.

    The gradient goes through the units that are on. It does not see a unit take the place of another, where the loss
    jumps: batches (`Adam`, `SGD`) go over such places, the line search of `LBFGS` may end early at one.

    Parameters
    ----------
    k : int
        Units that are kept, at most as many as there are. With a small k from the start some units never come on and
        stay dead; train with a larger one first, then go on (``warm_start``) with the one that is wished.

    References
    ----------
    A. Makhzani and B. Frey, "k-Sparse autoencoders", 2013, section 2.1. arXiv:1312.5663.

    Examples
    --------
    >>> import torch
    >>> TopK(2).forward(torch.tensor([[0.1, 3.0, -1.0, 2.0], [-2.0, 0.5, -1.0, -3.0]]))
    tensor([[0.0000, 3.0000, 0.0000, 2.0000],
            [0.0000, 0.5000, 0.0000, 0.0000]])
    """

    _parameter_constraints: ClassVar[dict] = {"k": [Interval(Integral, 1, None, closed="left")]}

    name: ClassVar[str] = "top_k"
    low: ClassVar[float] = ACTIVATIONS["relu"].low
    high: ClassVar[float] = ACTIVATIONS["relu"].high
    same_range: ClassVar[str] = "relu"

    def __init__(self, k: int):
        self.k = k

    def forward(self, z: Tensor) -> Tensor:
        """Return h for z of shape (n_rows, n_hidden); differentiable by autograd."""
        h = torch.relu(z)
        weakest = h.detach().topk(self.k, dim=1).values[:, -1:]
        return h * (h >= weakest)

    def forward_(self, z: Tensor) -> Tensor:
        """Return the same, written over ``z``."""
        if not z.is_cpu:
            return z.copy_(self.forward(z))
        h = z.relu_()
        # Selection in NumPy takes an eighth of the time of `topk` (0.11 and 0.87 ms for 25 of 128 x 1000, float32).
        weakest = torch.from_numpy(np.partition(h.numpy(), -self.k, axis=1)[:, -self.k, None])
        return h.mul_(h >= weakest)

    def derivative(self, output: Tensor) -> Tensor:
        """Return dh/dz in terms of h, which is that of ReLU: 1 where a unit is on, else 0."""
        return ACTIVATIONS["relu"].derivative(output)

    def backward_(self, gradient: Tensor, output: Tensor) -> Tensor:
        """Multiply ``gradient`` in place by dh/dz, in terms of h."""
        return ACTIVATIONS["relu"].backward_(gradient, output)

    def check_width(self, n_hidden: int) -> None:
        """Refuse fewer units than are kept."""
        if not 1 <= self.k <= n_hidden:
            raise ValueError(
                f"activation={self!r} keeps {self.k} units of n_hidden={n_hidden}; choose k from 1 to {n_hidden}"
            )

    def find_ties(self, z: Tensor, tolerance: float) -> Tensor:
        """Return which rows of z, of shape (n_rows, n_hidden), have units that differ too little to be told apart.

        Of these rounding may decide which are kept; differences are shares of the strongest unit of the row.
        """
        strongest = torch.relu(z).topk(min(self.k + 1, z.shape[1]), dim=1).values
        weakest, others = strongest[:, self.k - 1 : self.k], strongest[:, self.k :]
        return ((weakest > 0) & (weakest - others < tolerance * strongest[:, :1])).any(dim=1)


# Activations with parameters, by name.
WITH_PARAMETERS: dict[str, type] = {"top_k": TopK}


@overload
def get_activation(activation: str) -> ElementWise: ...
@overload
def get_activation(activation: str | Activation) -> Activation: ...
def get_activation(activation: str | Activation) -> Activation:
    """Return the activation of this name, or a copy of an object that is one.

    Parameters
    ----------
    activation : str or Activation
        A key of `ACTIVATIONS`: ``"sigmoid"``, ``"tanh"``, ``"relu"``, ``"leaky_relu"`` (slope 0.01 below 0), ``"elu"``,
        ``"softplus"`` or ``"identity"``; or an object.

    Returns
    -------
    activation : Activation

    Raises
    ------
    ValueError
        If there is none of this name; the message lists the known ones.

    Examples
    --------
    >>> import torch
    >>> get_activation("sigmoid").forward(torch.zeros(1)).item()
    0.5
    """
    if not isinstance(activation, str):
        return copy.copy(activation)  # what is trained with it shall not change with the parameters of an estimator
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation={activation!r} is not known; choose one of {', '.join(ACTIVATIONS)}, or TopK(k)")
    return ACTIVATIONS[activation]


def as_given(activation: Activation) -> str | Activation:
    """Return what `get_activation` has made this activation of.

    Parameters
    ----------
    activation : Activation

    Returns
    -------
    activation : str or Activation

    Examples
    --------
    >>> as_given(get_activation("tanh")), as_given(TopK(10))
    ('tanh', TopK(k=10))
    """
    return activation.name if isinstance(activation, ElementWise) else activation
