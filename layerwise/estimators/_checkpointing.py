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
from layerwise.data.mapped_rows import total_weight
from layerwise.data.rows import Rows

Fit = TypeVar("Fit", bound=Callable[..., Any])

# Parameters that change nothing in the result, or belong to the session.
_OTHERS = ("callbacks", "checkpoint", "cache_size", "device", "warm_start")
# Bytes of rows that are digested at once: what fits into the cache of a processor; on a GPU what keeps it busy.
_AT_ONCE = {"cpu": 2**19, "cuda": 2**25}
# Odd numbers of 64 bits, as they mix well (Steele, Lea and Flood, "Fast splittable pseudorandom number generators").
_ODD = (0x9E3779B97F4A7C15 - 2**64, 0xBF58476D1CE4E5B9 - 2**64, 0x94D049BB133111EB - 2**64)
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


def describe_rows(rows: Rows, *ranges: torch.Tensor) -> dict[str, Any]:
    """Return what tells the rows of all ranks, and their weights, from others; however they are dealt out.

    Parameters
    ----------
    rows : Rows of shape (n_samples, n_features)
        Those of this rank.
    *ranges : Tensor of shape (n_features,)
        The lowest and the highest value of each column over all ranks, where they are known.
    """
    n_rows = total_weight(rows)
    weights = None if rows.weights is None else digest_of_all(rows.weights.cpu(), np.ones(len(rows), dtype=bool))
    return {
        "rows": int(n_rows) if n_rows.is_integer() else n_rows,
        "columns": rows.n_features,
        **({"digest of column ranges": digest(ranges)} if ranges else {}),
        "digest of values": f"{digest_of_rows(rows):016x}",
        "digest of weights": weights,
    }


def digest_of_rows(rows: Rows) -> int:
    """Return a number that differs where a value of a row of any rank does, its type, or its place.

    It depends neither on how rows are dealt out or lie in memory, nor on the device. All of them are read once.

    Parameters
    ----------
    rows : Rows of shape (n_samples, n_features)
        Those of this rank; as they came, not as they are scaled.
    """
    own = rows.scaled(None).astype(getattr(torch, rows.value_type))  # blocks are not converted
    n_bytes = rows.n_features * own.dtype.itemsize
    keys = _keys(-(-n_bytes // 8), rows.device)
    before = sum(distributed.gather_counts([len(rows)])[: distributed.rank()])
    total = torch.zeros((), dtype=torch.int64, device=rows.device)
    for place, block in own.blocks(max(1, _AT_ONCE[rows.device.type] // n_bytes)):
        places = torch.arange(before + place.start, before + place.stop, device=rows.device)
        total += _mix(_sum_words(_as_words(block), keys) + _mix(places)).sum()
    kind = int.from_bytes(rows.value_type.encode(), "little")
    return (sum(distributed.gather_counts([int(total)])) + kind) % 2**64


def hash_rows(block: torch.Tensor) -> torch.Tensor:
    """Return a number of 64 bits for each row, the same for rows of the same bytes wherever they stand."""
    words = _as_words(block)
    return _mix(_sum_words(words, _keys(words.shape[1], words.device)))


def _keys(n_words: int, device: torch.device) -> torch.Tensor:
    """Return an odd number for each word of a row."""
    return _mix(torch.arange(1, n_words + 1, device=device)) | 1


def _sum_words(words: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    """Return a sum over the words of each row, each of them with its key."""
    hashed = words >> 29
    hashed ^= words
    hashed *= keys  # wraps around, as the sum does
    return hashed.sum(dim=1)


def _as_words(block: torch.Tensor) -> torch.Tensor:
    """Return the bytes of each row as whole numbers of 64 bits, filled up with zeros."""
    n_columns, per_word = block.shape[1], 8 // block.dtype.itemsize
    if n_columns % per_word or not block.is_contiguous():
        wide = block.new_zeros(len(block), -(-n_columns // per_word) * per_word)
        wide[:, :n_columns] = block
        block = wide
    return block.view(torch.int64)


def _mix(numbers: torch.Tensor) -> torch.Tensor:
    """Return whole numbers of 64 bits, each bit of which depends on all bits of those given."""
    mixed = numbers * _ODD[0]
    for shift, odd in zip((30, 27), _ODD[1:], strict=True):
        mixed ^= mixed >> shift
        mixed *= odd
    return mixed ^ (mixed >> 31)


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
