"""Rows of an array in their own type, handed out in the type of the computation."""

from __future__ import annotations

import copy
import mmap
import warnings
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from scipy import sparse

from layerwise import distributed
from layerwise.data.read_ahead import read_ahead

# Bytes of rows on disk that are read into memory at once, and of a subset that is copied, at most: enough for MNIST.
# To gather the rows of a subset anew costs about 1 % of an evaluation in memory, but random reads on disk.
_SMALL = 2**26


class Rows:
    """A matrix of samples that stays where it is, in its own type, and is converted one block of rows at a time.

    Rows on disk (a memory map) are read block by block, the next one on a thread while one is in use; so are rows that
    do not fit on the device, and the rows of sparse matrices, which are dense within a block only.

    Parameters
    ----------
    X : ndarray, Tensor or sparse matrix (CSR) of shape (n_samples, n_features), uint8, float16, float32 or float64
        uint8 is read as intensities from 0 to 255 and scaled to [0, 1], unless `as_numbers` says otherwise. Not copied
        on the CPU, unless it is a small memory map. NaN is a missing value.
    dtype : torch.dtype, default=torch.float32
        The type of the blocks.
    device : str or torch.device, default="cpu"
        Where the blocks are. All rows are moved there, in their own type, if they take at most half of the memory that
        is free; otherwise they stay on the host.
    weights : array-like of shape (n_samples,) or None, default=None
        How often each row counts; None is once.
    shards : sequence of slice or None, default=None
        The ranges of rows that sums are taken over one by one, see `layerwise.distributed`; None is as many of equal
        length as a rank has.

    Attributes
    ----------
    weights : Tensor of shape (n_samples,), float64, or None
    shards : list of slice
    has_missing : bool
        Whether there is a NaN; known after `column_ranges`.

    Examples
    --------
    >>> import numpy as np
    >>> rows = Rows(np.array([[0, 255], [51, 0], [255, 255]], dtype=np.uint8))
    >>> [block.tolist() for _, block in rows.blocks(2)]
    [[[0.0, 1.0], [0.2..., 0.0]], [[1.0, 1.0]]]
    """

    def __init__(
        self,
        X: np.ndarray | torch.Tensor | sparse.csr_array | sparse.csr_matrix,
        *,
        dtype: torch.dtype = torch.float32,
        device: str | torch.device = "cpu",
        weights: np.ndarray | torch.Tensor | None = None,
        shards: Sequence[slice] | None = None,
    ):
        self.dtype = dtype
        self.device = torch.empty(0, device=device).device  # "cuda" gets its number
        self.shards = cut(distributed.split(X.shape[0], distributed.n_shards())) if shards is None else list(shards)
        self.weights = None if weights is None else torch.as_tensor(weights, dtype=torch.float64, device=self.device)
        self.has_missing = False
        self._are_numbers = False
        self._scaling: Callable[[torch.Tensor], torch.Tensor] | None = None
        self._positions: torch.Tensor | None = None
        self._values: Any  # a tensor, or what stands for one
        if sparse.issparse(X):
            self._streams = True
            self._values = _CompressedRows(X)
            return
        if isinstance(X, np.ndarray) and min(X.strides) < 0:
            X = X.copy()  # torch has no views that run backwards
        with warnings.catch_warnings():
            # torch warns of read-only arrays such as memory maps; rows are never written to.
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")
            values = torch.as_tensor(X)
        far = _is_mapped(X) or (values.device.type == "cpu" and self.device.type == "cuda")
        self._streams = far and values.nbytes > _room(self.device)
        self._values = values if self._streams else values.to(self.device, copy=far)

    def __len__(self) -> int:
        return len(self._values if self._positions is None else self._positions)

    @property
    def n_features(self) -> int:
        """Number of columns."""
        return self._values.shape[1]

    @property
    def is_uint8(self) -> bool:
        """Whether the rows are bytes that are read as intensities."""
        return self._values.dtype == torch.uint8 and not self._are_numbers

    @property
    def value_type(self) -> str:
        """Name of the type that the rows are kept in."""
        return str(self._values.dtype).removeprefix("torch.")

    def astype(self, dtype: torch.dtype) -> Rows:
        """Return the same rows, handed out in another type."""
        other = copy.copy(self)
        other.dtype = dtype
        return other

    def as_numbers(self) -> Rows:
        """Return the same rows, of which uint8 are numbers like others and no intensities."""
        other = copy.copy(self)
        other._are_numbers = True
        return other

    def scaled(self, scaling: Callable[[torch.Tensor], torch.Tensor] | None) -> Rows:
        """Return the same rows, each block mapped by a function that keeps its shape; None leaves them as they are.

        The function is applied before rows of float64 are rounded to a smaller type.
        """
        other = copy.copy(self)
        other._scaling = scaling
        return other

    def blocks(self, size: int, shard: slice | None = None) -> Generator[tuple[slice, torch.Tensor], None, None]:
        """Yield all rows in order, at most ``size`` at a time; no block reaches from one shard into the next.

        Parameters
        ----------
        size : int
            Rows a block.
        shard : slice or None, default=None
            The shard to yield; None is all of them.

        Yields
        ------
        place : slice
            Which rows these are.
        block : Tensor of shape (n_block, n_features)
            Valid until the next one is asked for: where rows are gathered or converted, blocks share one buffer.
        """
        shards = self.shards if shard is None else [shard]
        places = [
            slice(start, min(start + size, shard.stop))
            for shard in shards
            for start in range(shard.start, shard.stop, size)
        ]
        shape = min(size, len(self)), self.n_features
        gathered = converted = None
        if self._positions is not None and not self._streams:
            gathered = torch.empty(shape, dtype=self._values.dtype, device=self.device)
        if self._values.dtype != self.dtype and self._scaling is None:
            converted = torch.empty(shape, dtype=self.dtype, device=self.device)
        # Closed here: Python 3.12 leaves what a closed generator holds as it is.
        with closing(self._read_all(places, gathered)) as read:
            for place, values in zip(places, read, strict=True):
                yield place, self._convert(values, converted)

    def batches(self, parts: Iterable[torch.Tensor]) -> Generator[torch.Tensor, None, None]:
        """Yield the rows at one tensor of positions after the other, reading ahead where rows are read.

        Parameters
        ----------
        parts : iterable of Tensor of shape (n_block,), int64
            On any device.

        Yields
        ------
        block : Tensor of shape (n_block, n_features)
            As from `take`.
        """
        with closing(self._read_all(parts)) as read:
            for values in read:
                yield self._convert(values)

    def take(self, positions: torch.Tensor) -> torch.Tensor:
        """Return the rows at these positions as one block of its own.

        Parameters
        ----------
        positions : Tensor of shape (n_block,), int64
            On any device.

        Returns
        -------
        block : Tensor of shape (n_block, n_features)
        """
        return self._convert(self._read(positions))

    def subset(self, positions: torch.Tensor) -> Rows:
        """Return the rows at these positions as rows.

        They are copied, in their own type, if they take no more than 64 MB; otherwise only the positions are kept.

        Parameters
        ----------
        positions : Tensor of shape (n_subset,), int64
            On any device. Those of one shard come before those of the next, and rows are read faster where all are in
            order.

        Returns
        -------
        rows : Rows of shape (n_subset, n_features)
        """
        chosen = copy.copy(self)
        chosen.shards = cut(
            [len(positions)]
            if len(self.shards) == 1
            else [int(((positions >= shard.start) & (positions < shard.stop)).sum()) for shard in self.shards]
        )
        if self.weights is not None:
            chosen.weights = self.weights[positions.to(self.device)]
        if len(positions) * self.n_features * self._values.itemsize <= _SMALL:
            chosen._values, chosen._positions = self._read(positions).to(self.device), None
            chosen._streams = False
        else:
            # Half of the memory, and no view that keeps a longer tensor alive.
            kept = torch.int32 if len(self._values) < 2**31 else torch.int64
            chosen._positions = self._locate(positions).to(kept, copy=True)
        return chosen

    def _locate(self, positions: torch.Tensor) -> torch.Tensor:
        """Return where in ``_values`` these rows are."""
        positions = positions.to(self._values.device)
        return positions if self._positions is None else self._positions.index_select(0, positions)

    def _read_all(
        self, parts: Iterable[slice | torch.Tensor], out: torch.Tensor | None = None
    ) -> Generator[torch.Tensor, None, None]:
        """Return the rows of each part in their own type, read ahead where they are streamed."""
        return read_ahead(self._read, parts) if self._streams else (self._read(part, out) for part in parts)

    def _read(self, part: slice | torch.Tensor, out: torch.Tensor | None = None) -> torch.Tensor:
        """Return rows in their own type: gathered ones copied (to ``out`` if that is given), streamed ones always."""
        where: slice | torch.Tensor
        if isinstance(part, slice):
            where = part if self._positions is None else self._positions[part]
        else:
            where = self._locate(part)
        if not self._streams:
            if isinstance(where, slice):
                # Products may round by where in memory a matrix begins: that must not depend on the number of ranks.
                return self._values[where].clone() if len(self.shards) > 1 else self._values[where]
            return torch.index_select(self._values, 0, where, out=None if out is None else out[: len(where)])
        # NumPy copies on this thread alone; torch would start a second team of threads beside that of the products.
        if isinstance(self._values, _CompressedRows):
            read = self._values.read(where)
        else:
            values = self._values.numpy()
            read = torch.from_numpy(values[where].copy() if isinstance(where, slice) else values[where.numpy()])
        return read.pin_memory() if self.device.type == "cuda" else read

    def _convert(self, values: torch.Tensor, out: torch.Tensor | None = None) -> torch.Tensor:
        """Return rows in the type of the computation, on the device."""
        # The memory of a pinned tensor is not used again before its copy is done: torch's allocator sees to that.
        values = values.to(self.device, non_blocking=True)
        if self._scaling is not None and values.dtype == torch.float64:
            return self._scaling(values).to(self.dtype)
        if values.dtype != self.dtype:
            block = values.to(self.dtype) if out is None else out[: len(values)].copy_(values)
            values = block.mul_(1 / 255) if self.is_uint8 else block
        return values if self._scaling is None else self._scaling(values)

    def column_ranges(self, name: str = "X", *, allow_missing: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the smallest and the largest value of each column, in the scale of the blocks; see `has_missing`.

        Parameters
        ----------
        name : str, default="X"
            What the error calls the rows.
        allow_missing : bool, default=False
            Whether NaN is left out of account instead of refused.

        Returns
        -------
        lowest, highest : Tensor of shape (n_features,), float64
            Infinite, and in the wrong order, where a column has no value.

        Raises
        ------
        ValueError
            If there is a NaN or an infinity; names the first such place.
        """
        wide = self.astype(torch.float64) if self._values.dtype == torch.float64 else self
        lowest = torch.full((self.n_features,), torch.inf, dtype=torch.float64, device=self.device)
        highest = -lowest
        for place, block in wide.blocks(max(1, 2**20 // max(1, self.n_features))):
            low, high = block.amin(dim=0).double(), block.amax(dim=0).double()
            if allow_missing and low.isnan().any():
                self.has_missing = True
                missing = block.isnan()
                low = block.masked_fill(missing, torch.inf).amin(dim=0).double()
                high = block.masked_fill(missing, -torch.inf).amax(dim=0).double()
                wild = bool((low == -torch.inf).any() or (high == torch.inf).any())
            else:
                wild = not bool((low.isfinite() & high.isfinite()).all())
            if wild:
                row, column = torch.nonzero(block.isinf() if allow_missing else ~block.isfinite())[0].tolist()
                found = "NaN" if torch.isnan(block[row, column]) else "infinity"
                remedy = "fill them in with layerwise.AutoencoderImputer"
                if found == "infinity":
                    remedy = "put NaN in its place" if allow_missing else "put numbers in its place"
                raise ValueError(
                    f"{name} contains {'infinity' if allow_missing else 'NaN or infinity'}: "
                    f"{name}[{place.start + row}, {column}] is {found}; remove such rows, or {remedy}"
                )
            lowest, highest = torch.minimum(lowest, low), torch.maximum(highest, high)
        return lowest, highest


class _CompressedRows:
    """A sparse matrix, as `Rows` needs it of a tensor."""

    def __init__(self, X: sparse.csr_array | sparse.csr_matrix):
        self._matrix = X.tocsr()
        self.shape = X.shape
        self.dtype = torch.from_numpy(np.empty(0, X.dtype)).dtype
        self.itemsize = X.dtype.itemsize
        self.device = torch.device("cpu")

    def __len__(self) -> int:
        return self.shape[0]

    def read(self, where: slice | torch.Tensor) -> torch.Tensor:
        """Return these rows, dense."""
        return torch.from_numpy(self._matrix[where if isinstance(where, slice) else where.numpy()].toarray())


def cut(lengths: Sequence[int]) -> list[slice]:
    """Return the ranges of these lengths, one after the other.

    Examples
    --------
    >>> cut([2, 1])
    [slice(0, 2, None), slice(2, 3, None)]
    """
    return [slice(stop - length, stop) for length, stop in zip(lengths, accumulate(lengths), strict=True)]


def _is_mapped(X: np.ndarray | torch.Tensor) -> bool:
    """Return whether an array is a memory map of a file, or a view of one."""
    owner: object = X
    while isinstance(owner, np.ndarray):
        owner = owner.base
    return isinstance(owner, mmap.mmap)


def _room(device: torch.device) -> int:
    """Return how many bytes of rows may be brought to a device at once, from a disk or from the host."""
    return torch.cuda.mem_get_info(device)[0] // 2 if device.type == "cuda" else _SMALL
