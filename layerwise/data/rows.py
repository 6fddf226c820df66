"""Rows of an array in their own type, or computed from other rows; handed out in the type of the computation."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator

import numpy as np
import torch


class Rows:
    """A matrix of samples that stays as it is and is converted one block of rows at a time.

    Parameters
    ----------
    X : ndarray or Tensor of shape (n_samples, n_features), uint8, float32 or float64
        uint8 is read as intensities from 0 to 255 and scaled to [0, 1]. Not copied on the CPU.
    dtype : torch.dtype, default=torch.float32
        The type of the blocks.
    device : str or torch.device, default="cpu"
        Where the blocks are; all rows are moved there, in their own type.

    Examples
    --------
    >>> import numpy as np
    >>> rows = Rows(np.array([[0, 255], [51, 0], [255, 255]], dtype=np.uint8))
    >>> [block.tolist() for _, block in rows.blocks(2)]
    [[[0.0, 1.0], [0.2..., 0.0]], [[1.0, 1.0]]]
    """

    def __init__(
        self,
        X: np.ndarray | torch.Tensor,
        *,
        dtype: torch.dtype = torch.float32,
        device: str | torch.device = "cpu",
    ):
        if isinstance(X, np.ndarray) and min(X.strides) < 0:
            X = X.copy()  # torch has no views that run backwards
        with warnings.catch_warnings():
            # torch warns of read-only arrays such as memory maps; rows are never written to.
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")
            self._values = torch.as_tensor(X).to(device)
        self._scale = 1 / 255 if self._values.dtype == torch.uint8 else None
        self.dtype = dtype

    def __len__(self) -> int:
        return self._values.shape[0]

    @property
    def n_features(self) -> int:
        """Number of columns."""
        return self._values.shape[1]

    @property
    def device(self) -> torch.device:
        """Where the blocks are."""
        return self._values.device

    def blocks(self, size: int) -> Iterator[tuple[slice, torch.Tensor]]:
        """Yield all rows in order, at most ``size`` at a time.

        Parameters
        ----------
        size : int
            Rows a block.

        Yields
        ------
        place : slice
            Which rows these are.
        block : Tensor of shape (n_block, n_features)
            Valid until the next one is asked for: where rows are converted, blocks share one buffer.
        """
        buffer = None
        for start in range(0, len(self), size):
            place = slice(start, min(start + size, len(self)))
            values = self._values[place]
            if values.dtype == self.dtype:
                yield place, values
                continue
            if buffer is None:
                buffer = torch.empty(values.shape, dtype=self.dtype, device=self.device)
            block = buffer[: len(values)].copy_(values)
            yield place, block if self._scale is None else block.mul_(self._scale)

    def take(self, positions: torch.Tensor) -> torch.Tensor:
        """Return the rows at these positions as one block of its own.

        Parameters
        ----------
        positions : Tensor of shape (n_block,), int64
            On the device of the rows.

        Returns
        -------
        block : Tensor of shape (n_block, n_features)
        """
        block = self._values[positions].to(self.dtype)
        return block if self._scale is None else block.mul_(self._scale)

    def subset(self, positions: torch.Tensor) -> Rows:
        """Return the rows at these positions as rows, copied in their own type."""
        return Rows(self._values[positions], dtype=self.dtype, device=self.device)

    def range(self, name: str = "X") -> tuple[float, float]:
        """Return the smallest and the largest value, in the scale of the blocks.

        Parameters
        ----------
        name : str, default="X"
            What the error calls the rows.

        Returns
        -------
        lowest, highest : float

        Raises
        ------
        ValueError
            If there is a NaN or an infinity; names the first such place.
        """
        lowest, highest = float("inf"), float("-inf")
        for place, block in self.blocks(max(1, 2**20 // max(1, self.n_features))):
            low, high = (bound.item() for bound in block.aminmax())
            if not (np.isfinite(low) and np.isfinite(high)):
                row, column = torch.nonzero(~torch.isfinite(block))[0].tolist()
                found = "NaN" if torch.isnan(block[row, column]) else "infinity"
                raise ValueError(
                    f"{name} contains NaN or infinity: {name}[{place.start + row}, {column}] is {found}; remove such "
                    f"rows, or fill them in, for example with sklearn.impute.SimpleImputer"
                )
            lowest, highest = min(lowest, low), max(highest, high)
        return lowest, highest


class MappedRows:
    """Rows that are computed from other rows, anew whenever they are asked for.

    Parameters
    ----------
    rows : Rows or MappedRows of shape (n_samples, n_inputs)
    function : callable
        Maps a block of shape (n_block, n_inputs) to one of shape (n_block, n_features), row by row.
    n_features : int

    Examples
    --------
    >>> import numpy as np
    >>> rows = MappedRows(Rows(np.ones((3, 2), dtype=np.float32)), lambda block: 2 * block, n_features=2)
    >>> [block.tolist() for _, block in rows.blocks(2)]
    [[[2.0, 2.0], [2.0, 2.0]], [[2.0, 2.0]]]
    """

    def __init__(self, rows: Rows | MappedRows, function: Callable[[torch.Tensor], torch.Tensor], *, n_features: int):
        self._rows = rows
        self._function = torch.no_grad()(function)
        self.n_features = n_features

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def dtype(self) -> torch.dtype:
        """Type of the blocks."""
        return self._rows.dtype

    @property
    def device(self) -> torch.device:
        """Where the blocks are."""
        return self._rows.device

    def blocks(self, size: int) -> Iterator[tuple[slice, torch.Tensor]]:
        """Yield all rows in order, at most ``size`` at a time, as `Rows.blocks` does."""
        for place, block in self._rows.blocks(size):
            yield place, self._function(block)

    def take(self, positions: torch.Tensor) -> torch.Tensor:
        """Return the rows at these positions as one block."""
        return self._function(self._rows.take(positions))

    def subset(self, positions: torch.Tensor) -> MappedRows:
        """Return the rows at these positions as rows."""
        return MappedRows(self._rows.subset(positions), self._function, n_features=self.n_features)


AnyRows = Rows | MappedRows
