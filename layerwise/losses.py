"""Losses between an output and its target, summed over the rows of a block."""

from __future__ import annotations

import torch
from torch import Tensor


def squared_error(output: Tensor, target: Tensor, *, out: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Half the squared error, 1/2 sum_i sum_k (output_ik - target_ik)^2, and its gradient.

    Parameters
    ----------
    output : Tensor of shape (n_rows, n_features)
    target : Tensor of shape (n_rows, n_features)
    out : Tensor of shape (n_rows, n_features) or None, default=None
        Where to write the gradient; None makes a new tensor.

    Returns
    -------
    value : Tensor of shape (), float64
        The sum over rows and features; row sums are taken in the type of ``output``, the rest in float64.
    gradient : Tensor of shape (n_rows, n_features)
        output - target.

    Examples
    --------
    >>> import torch
    >>> value, gradient = squared_error(torch.tensor([[1.0, 3.0]]), torch.tensor([[1.0, 1.0]]))
    >>> value.item(), gradient.tolist()
    (2.0, [[0.0, 2.0]])
    """
    gradient = torch.sub(output, target, out=out)
    return 0.5 * torch.linalg.vector_norm(gradient, dim=1).double().square().sum(), gradient
