"""Many processes as one: rank and world size (0 of 1 when alone), and the few messages that ranks exchange.

The rows of a fit are dealt out to ranks in ranges, one shard a rank. Sums over all rows are sums over shards. With
``deterministic=True`` there are always `VIRTUAL_SHARDS` of them, whatever the number of ranks, and they are added in
their order.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from layerwise.errors import PeerError

__all__ = ["joint", "rank", "share", "world_size"]

# Shards in all under ``deterministic=True``: 1, 2, 4 or 8 ranks have equally many each.
VIRTUAL_SHARDS = 8

if hasattr(os, "register_at_fork"):
    # The threads of torch's products do not live on in a forked process, which would wait for them for ever.
    os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


@dataclass(frozen=True)
class _World:
    """The ranks that take part."""

    rank: int = 0
    size: int = 1
    n_shards: int = 1  # of this rank
    deterministic: bool = False
    group: Any = None


_ALONE = _World()
_world = _ALONE


def rank() -> int:
    """Return the number of this process among those that fit together, from 0."""
    return _world.rank


def world_size() -> int:
    """Return how many processes fit together; 1 when alone."""
    return _world.size


def n_shards() -> int:
    """Return how many shards of rows this rank has."""
    return _world.n_shards


def is_deterministic() -> bool:
    """Whether sums are taken shard by shard, in the same order however many ranks there are."""
    return _world.deterministic


def is_launched() -> bool:
    """Whether a launcher such as torchrun started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and "RANK" in os.environ


@contextmanager
def joint(*, deterministic: bool = False, timeout: float = 300.0) -> Iterator[None]:
    """Let the processes that torchrun started fit together: each gives `fit` its own share of the rows.

    Within the block every ``fit`` and ``partial_fit`` is one fit over the rows of all ranks, and leaves the same model
    on each; all ranks must call it, with the same parameters. What is no fit (`transform`, `predict`, `score`) goes on
    with the rows that it is given, on each rank alone. Without a launcher there is one rank, and nothing changes.

    Parameters
    ----------
    deterministic : bool, default=False
        Whether 1, 2, 4 and 8 ranks agree to the last bit, if their processes have the same number of threads and each
        rank's rows are its `share`. Sums are then taken shard by shard, which sends eight times as much.
    timeout : float, default=300.0
        Seconds to wait for another rank before this one gives up: more than ranks may be apart after reading their
        rows, or after a pass over them.

    Raises
    ------
    ValueError
        If ``deterministic`` and the number of ranks does not divide 8.
    ConnectionError
        If the other ranks cannot be reached, one of them is lost, or has come to other parameters.

    Examples
    --------
    Started by ``torchrun --nproc-per-node=2 program.py``, where ``rows.npy`` is larger than memory::

        X = np.load("rows.npy", mmap_mode="r")
        with layerwise.distributed.joint():
            stack = StackedAutoencoder([200, 50], random_state=0).fit(layerwise.distributed.share(X))
        if layerwise.distributed.rank() == 0:
            layerwise.save(stack, "runs/stack")
    """
    global _world
    if _world is not _ALONE:
        raise RuntimeError("layerwise.distributed.joint is within another one; one is enough")
    started = False
    if is_launched() and not dist.is_initialized():
        with _peers():
            dist.init_process_group(_backend(), timeout=timedelta(seconds=timeout))
        started = True
    try:
        _world = _enter(deterministic, timeout)
        yield
    finally:
        _world = _ALONE
        if started:
            dist.destroy_process_group()


def _enter(deterministic: bool, timeout: float) -> _World:
    n_ranks = dist.get_world_size() if dist.is_initialized() else 1
    shards = _count_shards(deterministic, n_ranks)
    if n_ranks == 1:
        return _World(n_shards=shards, deterministic=deterministic)
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    with _peers():  # a group of our own: messages cannot be mistaken for those of the program around
        group = dist.new_group(backend=_backend(), timeout=timedelta(seconds=timeout))
    return _World(dist.get_rank(), n_ranks, shards, deterministic, group)


def make_deterministic() -> None:
    """Let what follows in `joint` be as under ``deterministic=True``; on all ranks, before they have rows."""
    global _world
    _world = replace(_world, n_shards=_count_shards(True, _world.size), deterministic=True)


def _count_shards(deterministic: bool, n_ranks: int) -> int:
    if deterministic and VIRTUAL_SHARDS % n_ranks:
        raise ValueError(
            f"deterministic=True needs 1, 2, 4 or {VIRTUAL_SHARDS} ranks, but there are {n_ranks}; start so many"
        )
    return VIRTUAL_SHARDS // n_ranks if deterministic else 1


def _backend() -> str:
    if not torch.cuda.is_available():
        return "gloo"
    # NCCL refuses two ranks on one GPU.
    shared = int(os.environ.get("LOCAL_WORLD_SIZE", "1")) > torch.cuda.device_count()
    return f"cpu:gloo,cuda:{'gloo' if shared else 'nccl'}"


@contextmanager
def _peers() -> Iterator[None]:
    """Say in a sentence that another rank is lost."""
    try:
        yield
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        number, n_ranks = os.environ.get("RANK", _world.rank), os.environ.get("WORLD_SIZE", _world.size)
        raise ConnectionError(
            f"rank {number} of {n_ranks} cannot reach the others: one of them ended, or was silent for too "
            f"long ({reason}); start all of them again, and go on from the last checkpoint if there is one"
        ) from error


# Who has which rows.


def split(n_rows: int, n_parts: int) -> list[int]:
    """Return how many rows each of some parts has, the longer ones first.

    Examples
    --------
    >>> split(10, 4)
    [3, 3, 2, 2]
    """
    return [n_rows // n_parts + (part < n_rows % n_parts) for part in range(n_parts)]


def share_bounds(n_rows: int) -> tuple[int, int]:
    """Return the first of ``n_rows`` rows that belong to this rank, and the one after the last.

    Examples
    --------
    >>> share_bounds(10)
    (0, 10)
    """
    lengths = split(n_rows, _world.size * _world.n_shards)
    first = _world.rank * _world.n_shards
    return sum(lengths[:first]), sum(lengths[: first + _world.n_shards])


def share(rows: Any) -> Any:
    """Return the rows of an array, memory map or other sequence that belong to this rank, a range of them.

    Parameters
    ----------
    rows : array-like, sparse matrix or data frame of n_samples rows
        The same on every rank. A memory map is not read.

    Returns
    -------
    share : the same kind
        All rows when alone.

    Examples
    --------
    >>> share([1, 2, 3])
    [1, 2, 3]
    """
    start, stop = share_bounds(rows.shape[0] if hasattr(rows, "shape") else len(rows))
    return rows[start:stop]


# Messages. All ranks must send the same ones in the same order.


def sum_shards(shards: Sequence[Tensor]) -> Tensor:
    """Add up the tensors of all shards of all ranks; the same bits on each.

    Parameters
    ----------
    shards : sequence of Tensor
        One for each shard of this rank, all of one shape. They may be overwritten.

    Returns
    -------
    total : Tensor
        Of the same shape and type.
    """
    if _world.size > 1 and not _world.deterministic:
        with _peers():
            dist.all_reduce(shards[0], group=_world.group)
        return shards[0]
    total = None
    for owner in range(_world.size):
        for shard in shards:
            if _world.size > 1:
                shard = shard if owner == _world.rank else torch.empty_like(shard)
                with _peers():
                    dist.broadcast(shard, group_src=owner, group=_world.group)
            total = shard if total is None else total.add_(shard)
    assert total is not None
    return total


def gather_rows(values: Tensor) -> Tensor:
    """Return the rows of all ranks, in the order of ranks.

    Parameters
    ----------
    values : Tensor of shape (n_own, ...)
        As many rows as this rank has; the other axes are the same on all.
    """
    if _world.size == 1:
        return values
    lengths = gather_counts([len(values)])
    padded = values.new_zeros(max(lengths), *values.shape[1:])
    padded[: len(values)] = values
    gathered = [torch.empty_like(padded) for _ in lengths]
    with _peers():
        dist.all_gather(gathered, padded, group=_world.group)
    return torch.cat([part[:length] for part, length in zip(gathered, lengths, strict=True)])


def gather_counts(counts: Sequence[int]) -> list[int]:
    """Return the whole numbers of all ranks one after the other; each rank gives equally many."""
    if _world.size == 1:
        return list(counts)
    own = torch.tensor(counts, dtype=torch.int64)
    gathered = [torch.empty_like(own) for _ in range(_world.size)]
    with _peers():
        dist.all_gather(gathered, own, group=_world.group)
    return torch.cat(gathered).tolist()


def gather_bytes(data: bytes) -> list[bytes]:
    """Return what each rank has to say."""
    if _world.size == 1:
        return [data]
    lengths = gather_counts([len(data)])
    flat = gather_rows(torch.frombuffer(bytearray(data), dtype=torch.uint8) if data else torch.empty(0).byte())
    return [part.numpy().tobytes() for part in flat.split(lengths)]


def gather_arrays(array: np.ndarray) -> list[np.ndarray]:
    """Return the arrays of all ranks, of numbers or text (objects become text; nothing is pickled)."""
    if _world.size == 1:
        return [array]
    buffer = io.BytesIO()
    np.save(buffer, array.astype(str) if array.dtype.hasobject else array, allow_pickle=False)
    return [np.load(io.BytesIO(data), allow_pickle=False) for data in gather_bytes(buffer.getvalue())]


def unique(values: np.ndarray) -> np.ndarray:
    """Return the different values that any rank has, in order.

    Examples
    --------
    >>> unique(np.array([2, 1, 2])).tolist()
    [1, 2]
    """
    found = [array for array in gather_arrays(np.unique(values)) if len(array)]
    return np.unique(np.concatenate(found)) if found else np.unique(values)


def broadcast(values: Tensor) -> Tensor:
    """Return the tensor of rank 0, whose shape and type are those of the others."""
    if _world.size > 1:
        values = values.clone()
        with _peers():
            dist.broadcast(values, group_src=0, group=_world.group)
    return values


def broadcast_bytes(data: bytes | None) -> bytes:
    """Return what rank 0 has to say; the others give None."""
    return gather_bytes(data or b"")[0]


def maximum(values: Tensor) -> Tensor:
    """Return the largest of all ranks, entry by entry."""
    if _world.size > 1:
        values = values.clone()
        with _peers():
            dist.all_reduce(values, dist.ReduceOp.MAX, group=_world.group)
    return values


def any_rank(flag: bool) -> bool:
    """Whether any rank says so."""
    return any(gather_counts([flag]))


def agree(flag: bool, theta: Tensor) -> bool:
    """Whether any rank wishes to stop; all must stand at the same parameters.

    Raises
    ------
    ConnectionError
        If the parameters differ.
    """
    if _world.size == 1:
        return flag
    whole = theta.contiguous().view(torch.int64 if theta.dtype == torch.float64 else torch.int32)
    answers = gather_counts([flag, int(whole.sum())])  # wraps around
    if len(set(answers[1::2])) > 1:
        raise ConnectionError(
            f"the {_world.size} ranks have come apart: their parameters differ. All must run the same versions on the "
            f"same kind of machine, with the same number of threads and the same settings"
        )
    return any(answers[::2])


@contextmanager
def agreed() -> Iterator[None]:
    """Let an error that one rank meets in the block, which sends no messages, end the block on all of them."""
    error: Exception | None = None
    try:
        yield
    except Exception as met:
        error = met
    if _world.size > 1:
        sentences = gather_bytes(b"" if error is None else " ".join(str(error).split()).encode() or b"error")
        speaker = next((rank for rank, sentence in enumerate(sentences) if sentence), None)
        if speaker is not None and error is None:
            raise PeerError(f"rank {speaker}: {sentences[speaker].decode()}")
    if error is not None:
        raise error


def check_same(what: str, value: str) -> None:
    """Refuse to go on where ranks have not the same ``value`` of something."""
    values = [data.decode() for data in gather_bytes(value.encode())]
    other = next((rank for rank, theirs in enumerate(values) if theirs != values[0]), None)
    if other is not None:
        raise ValueError(
            f"{what} must be the same on all ranks, but is {values[0]} on rank 0 and {values[other]} on rank {other}"
        )
