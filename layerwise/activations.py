"""Activation functions, element by element, each with its derivative written in terms of its output."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class Activation(NamedTuple):
    """An element-wise function and its backward step.

    Attributes
    ----------
    forward : callable
        ``forward(z) -> s(z)``; differentiable by autograd.
    forward_ : callable
        The same, written over ``z``.
    backward_ : callable
        ``backward_(gradient, output)`` multiplies ``gradient`` in place by ``s'(z)``, where ``output = s(z)``.
    low, high : float
        The range of the outputs.
    """

    forward: Callable[[Tensor], Tensor]
    forward_: Callable[[Tensor], Tensor]
    backward_: Callable[[Tensor, Tensor], Tensor]
    low: float
    high: float


def _sigmoid_backward_(gradient: Tensor, output: Tensor) -> Tensor:
    """Gradient * s (1 - s), in one pass."""
    return torch.ops.aten.sigmoid_backward.grad_input(gradient, output, grad_input=gradient)


ACTIVATIONS = {
    "sigmoid": Activation(torch.sigmoid, torch.sigmoid_, _sigmoid_backward_, low=0.0, high=1.0),
}


def get_activation(name: str) -> Activation:
    """Return the activation of this name.

    Parameters
    ----------
    name : str
        A key of `ACTIVATIONS`.

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
