"""Activation functions, element by element, each with its derivative written in terms of its output."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

_aten = torch.ops.aten
_LEAK = 0.01


class Activation(NamedTuple):
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


_TABLE = (
    Activation(
        "sigmoid",
        torch.sigmoid,
        torch.sigmoid_,
        lambda s: s * (1 - s),
        lambda g, s: _aten.sigmoid_backward.grad_input(g, s, grad_input=g),
        low=0.0,
        high=1.0,
    ),
    Activation(
        "tanh",
        torch.tanh,
        torch.tanh_,
        lambda s: 1 - s * s,
        lambda g, s: _aten.tanh_backward.grad_input(g, s, grad_input=g),
        low=-1.0,
        high=1.0,
    ),
    Activation(
        "relu",
        torch.relu,
        torch.relu_,
        lambda s: (s > 0).to(s.dtype),
        lambda g, s: _aten.threshold_backward.grad_input(g, s, 0, grad_input=g),
        low=0.0,
        high=math.inf,
    ),
    Activation(
        "leaky_relu",
        lambda z: F.leaky_relu(z, _LEAK),
        lambda z: F.leaky_relu_(z, _LEAK),
        lambda s: torch.ones_like(s).masked_fill_(s <= 0, _LEAK),
        lambda g, s: _aten.leaky_relu_backward.grad_input(g, s, _LEAK, True, grad_input=g),
        low=-math.inf,
        high=math.inf,
    ),
    Activation(
        "elu",
        F.elu,
        F.elu_,
        lambda s: torch.where(s > 0, 1.0, s + 1),
        lambda g, s: _aten.elu_backward.grad_input(g, 1, 1, 1, True, s, grad_input=g),
        low=-1.0,
        high=math.inf,
    ),
    Activation(
        "softplus",
        F.softplus,
        lambda z: torch.logaddexp(z, torch.zeros_like(z), out=z),
        lambda s: -torch.expm1(-s),
        lambda g, s: g.mul_(-torch.expm1(-s)),
        low=0.0,
        high=math.inf,
    ),
    Activation(
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


def get_activation(name: str) -> Activation:
    """Return the activation of this name.

    Parameters
    ----------
    name : str
        A key of `ACTIVATIONS`: ``"sigmoid"``, ``"tanh"``, ``"relu"``, ``"leaky_relu"`` (slope 0.01 below 0), ``"elu"``,
        ``"softplus"`` or ``"identity"``.

    Returns
    -------
    activation : Activation

    Raises
    ------
    ValueError
        If there is none; the message lists the known ones.

    Examples
    --------
    >>> import torch
    >>> get_activation("sigmoid").forward(torch.zeros(1)).item()
    0.5
    """
    if name not in ACTIVATIONS:
        raise ValueError(f"activation={name!r} is not known; choose one of {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]
