"""Losses of a block of rows, each with its gradient by the network's last pre-activation z.

All are ``loss(z, target) -> (value, gradient)``: ``value`` is the sum over the rows and their outputs as a float64
tensor of shape (), ``gradient`` its derivative by ``z``, in the shape of ``z``. Nothing here divides by the number of
rows; that is the objective's.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from layerwise.activations import ACTIVATIONS, Activation

# loss(z, target, weight=) -> (value, gradient)
Loss = Callable[..., tuple[Tensor, Tensor]]
_IDENTITY = ACTIVATIONS["identity"]


def squared_error(
    z: Tensor,
    target: Tensor,
    activation: Activation = _IDENTITY,
    *,
    weight: Tensor | None = None,
    out: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Half the squared error, 1/2 sum_i sum_k w_ik (t(z_ik) - target_ik)^2.

    Parameters
    ----------
    z : Tensor of shape (n_rows, n_outputs)
        Written over with the outputs t(z).
    target : Tensor of shape (n_rows, n_outputs)
    activation : Activation, default=that of name "identity"
        The function t.
    weight : Tensor of shape (n_rows, n_outputs) or (n_rows, 1) or None, default=None
        Weights w of the entries, or of whole rows; None is 1 everywhere.
    out : Tensor of shape (n_rows, n_outputs) or None, default=None
        Where to write the gradient; None makes a new tensor.

    Returns
    -------
    value : Tensor of shape (), float64
        Row sums are taken in the type of ``z``, the rest in float64.
    gradient : Tensor of shape (n_rows, n_outputs)
        w (t(z) - target) t'(z).

    Examples
    --------
    >>> import torch
    >>> value, gradient = squared_error(torch.tensor([[1.0, 3.0]]), torch.tensor([[1.0, 1.0]]))
    >>> value.item(), gradient.tolist()
    (2.0, [[0.0, 2.0]])
    """
    output = activation.forward_(z)
    gradient = torch.sub(output, target, out=out)
    if weight is None:
        value = torch.linalg.vector_norm(gradient, dim=1).double().square().sum()
    else:
        value = torch.linalg.vecdot(gradient * weight, gradient).double().sum()
        gradient.mul_(weight)
    return 0.5 * value, activation.backward_(gradient, output)


def binary_cross_entropy(
    z: Tensor, target: Tensor, activation: Activation, *, weight: Tensor | None = None, out: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Cross-entropy, -sum_ik w_ik [target_ik log p_ik + (1 - target_ik) log(1 - p_ik)], from logits: p = sigmoid(z).

    Parameters
    ----------
    z : Tensor of shape (n_rows, n_outputs)
        Written over.
    target : Tensor of shape (n_rows, n_outputs)
        In [0, 1].
    activation : Activation
        The sigmoid; it is part of the loss.
    weight : Tensor of shape (n_rows, n_outputs) or (n_rows, 1) or None, default=None
        Weights w of the entries, or of whole rows; None is 1 everywhere.
    out : Tensor of shape (n_rows, n_outputs) or None, default=None
        Where to write the gradient; None makes a new tensor.

    Returns
    -------
    value : Tensor of shape (), float64
        Row sums are taken in the type of ``z``, the rest in float64.
    gradient : Tensor of shape (n_rows, n_outputs)
        w (sigmoid(z) - target).

    Examples
    --------
    >>> import torch
    >>> from layerwise.activations import get_activation
    >>> value, gradient = binary_cross_entropy(torch.zeros(1, 1), torch.ones(1, 1), get_activation("sigmoid"))
    >>> round(value.item(), 4), gradient.tolist()
    (0.6931, [[-0.5]])
    """
    losses = F.binary_cross_entropy_with_logits(z, target, weight, reduction="none")
    gradient = torch.sub(activation.forward_(z), target, out=out)
    if weight is not None:
        gradient.mul_(weight)
    return losses.sum(dim=1).double().sum(), gradient


def cross_entropy(z: Tensor, target: Tensor, *, weight: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Cross-entropy of classes, -sum_i w_i log softmax(z_i)[target_i]; stable for any logits.

    Parameters
    ----------
    z : Tensor of shape (n_rows, n_classes)
    target : Tensor of shape (n_rows,), int64
        Index of the class of each row.
    weight : Tensor of shape (n_rows, 1) or None, default=None
        Weights w of the rows; None is 1 everywhere.

    Returns
    -------
    value : Tensor of shape (), float64
    gradient : Tensor of shape (n_rows, n_classes)
        w times softmax(z) minus 1 at the class of the row.

    Examples
    --------
    >>> import torch
    >>> value, gradient = cross_entropy(torch.zeros(1, 2), torch.tensor([1]))
    >>> round(value.item(), 4), gradient.tolist()
    (0.6931, [[0.5, -0.5]])
    """
    log_p = torch.log_softmax(z, dim=1)
    losses = F.nll_loss(log_p, target, reduction="none").double()
    gradient = log_p.exp_()
    gradient[torch.arange(len(z), device=z.device), target] -= 1
    if weight is None:
        return losses.sum(), gradient
    return torch.dot(losses, weight[:, 0].double()), gradient.mul_(weight)


# How well a reconstruction t(z) fits its input.
LOSSES = {"squared_error": squared_error, "binary_cross_entropy": binary_cross_entropy}


def reconstruction_loss(name: str, activation: Activation) -> Loss:
    """Return the loss ``loss(z, target, weight=, out=)`` of reconstructions t(z).

    Parameters
    ----------
    name : str
        A key of `LOSSES`.
    activation : Activation
        The function t.

    Returns
    -------
    loss : callable

    Raises
    ------
    ValueError
        If there is none of this name, or it does not go with the activation.

    Examples
    --------
    >>> import torch
    >>> from layerwise.activations import get_activation
    >>> value, _ = reconstruction_loss("squared_error", get_activation("relu"))(torch.ones(1, 2), torch.zeros(1, 2))
    >>> round(value.item(), 4)
    1.0
    """
    if name not in LOSSES:
        raise ValueError(f"loss={name!r} is not known; choose one of {', '.join(LOSSES)}")
    if name == "binary_cross_entropy" and activation.name != "sigmoid":
        raise ValueError(
            f"loss='binary_cross_entropy' compares probabilities, but output_activation={activation.name!r} "
            f"gives none; choose output_activation='sigmoid' or loss='squared_error'"
        )
    return functools.partial(LOSSES[name], activation=activation)
