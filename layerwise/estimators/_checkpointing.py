"""`fit` with a checkpoint: which fit it is, and going on with it."""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Callable, Iterable
from os import PathLike
from typing import Any, TypeVar, cast

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.frozen import FrozenEstimator

from layerwise import distributed
from layerwise.checkpoint import Checkpoint, KeptFit

Fit = TypeVar("Fit", bound=Callable[..., Any])

# Parameters that change nothing in the result, or belong to the session.
_OTHERS = ("callbacks", "checkpoint", "cache_size", "device", "warm_start")
# What the parameter may be.
CHECKPOINT = [str, PathLike, Checkpoint, None]


def checkpointed(fit: Fit) -> Fit:
    """Let the ``fit`` of an estimator keep itself where its parameter ``checkpoint`` says, and go on from there."""

    @functools.wraps(fit)
    def run(self: Any, X: Any, y: Any = None, sample_weight: Any = None, **others: Any) -> Any:
        checkpoint = self.checkpoint
        if isinstance(checkpoint, (str, PathLike)):
            checkpoint = Checkpoint(checkpoint)
        if not isinstance(checkpoint, Checkpoint):  # None, or what `fit` will refuse
            return fit(self, X, y, sample_weight, **others)
        if getattr(self, "warm_start", False):
            raise ValueError(
                f"checkpoint={str(checkpoint.folder)!r} and warm_start=True do not go together: the one goes on with "
                f"the same fit, the other begins where the last one ended; leave one of them out"
            )
        with checkpoint.open({"estimator": _describe(self)}) as self._kept:
            try:
                return fit(self, X, y, sample_weight, **others)
            finally:
                del self._kept

    return cast(Fit, run)


def kept_fit(estimator: Any) -> KeptFit | None:
    """Return what keeps the fit that an estimator is in, if something does."""
    return vars(estimator).get("_kept")


def digest(tensors: Iterable[torch.Tensor]) -> str:
    """Return a short text that differs where numbers do."""
    total = hashlib.sha256()
    for tensor in tensors:
        total.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return total.hexdigest()[:16]


def digest_of_all(values: torch.Tensor, chosen: np.ndarray) -> int:
    """Return a number that differs where those of all ranks do, or stand at other rows; however they are dealt out.

    Parameters
    ----------
    values : Tensor of shape (n_chosen, ...)
    chosen : ndarray of shape (n_samples,), bool
        The rows of this rank that they belong to.
    """
    before = sum(distributed.gather_counts([len(chosen)])[: distributed.rank()])
    odd = 2 * (before + torch.from_numpy(np.flatnonzero(chosen))) + 1
    bits = values.double().reshape(len(values), -1).view(torch.int64)
    weights = 2 * torch.arange(bits.shape[1]) + 1
    hashed = (bits ^ (bits >> 29)) * odd[:, None] * weights  # wraps around, as the sums do
    return sum(distributed.gather_counts([int((hashed ^ (hashed >> 31)).sum())])) % 2**64


def _describe(value: Any) -> Any:
    """Return what JSON can hold of a parameter, enough to tell fits apart."""
    if isinstance(value, FrozenEstimator):
        return {"kind": "FrozenEstimator", "estimator": _describe(value.estimator), "weights": _weights(value)}
    if isinstance(value, BaseEstimator):
        params = value.get_params(deep=False)
        described = {name: _describe(param) for name, param in params.items() if name not in _OTHERS}
        return {"kind": type(value).__name__} | described
    if isinstance(value, (list, tuple)):
        return [_describe(item) for item in value]
    if isinstance(value, dict):  # labels of any type are the keys of class_weight
        return {
            repr(key.item() if isinstance(key, np.generic) else key): _describe(item) for key, item in value.items()
        }
    if isinstance(value, np.generic):
        return _describe(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if value is None or isinstance(value, (bool, int, float, str)) else type(value).__name__


def _weights(frozen: FrozenEstimator) -> str:
    """Return a digest of what a frozen autoencoder has learnt."""
    layers = getattr(frozen.estimator, "_trained_layers", ())
    modules = [vars(layer).get(name) for layer in layers for name in ("layer_", "scaling_")]
    return digest(tensor for module in modules if module is not None for tensor in module.state_dict().values())
