"""Rows that repeat, as one row that counts as many: so that a small fit depends on neither order nor repetition."""

from __future__ import annotations

import numpy as np
import torch

from layerwise import distributed
from layerwise.data.rows import Rows

# Rows and values up to which rows are put in order: as many as one chunk of wide rows has. With many rows, one that
# repeats hardly counts. Heuristic choices.
_MOST_ROWS, _MOST_VALUES = 2_000, 2**23


def merge_repeated(rows: Rows, targets: torch.Tensor | None = None) -> tuple[Rows, torch.Tensor]:
    """Return each different row once, in an order that follows from what they hold, with the weight of all like it.

    Also where the first of each stood. Only rows with the same ``targets`` are like each other.

    Solvers amplify how a sum was rounded, step by step. The rows that are returned, and so every bit of a fit, are the
    same whether a row has weight 2 or comes twice, and in whatever order the rows came. Solvers that go through batches
    need no such rows: they draw each as often as it counts, in an order of what it holds. More than 2,000 rows, more
    than 8 million values, and the rows of several ranks or shards stay as they are.

    Examples
    --------
    >>> rows, positions = merge_repeated(Rows(torch.tensor([[2.0], [1.0], [2.0]])))
    >>> rows.take(torch.arange(2)).tolist(), rows.weights.tolist(), positions.tolist()
    ([[1.0], [2.0]], [1.0, 2.0], [1, 0])
    """
    n_rows, everywhere = len(rows), torch.arange(len(rows))
    few = 0 < n_rows <= _MOST_ROWS and n_rows * rows.n_features <= _MOST_VALUES
    if not few or len(rows.shards) > 1 or distributed.world_size() > 1:
        return rows, everywhere
    block = rows.astype(torch.float64).take(everywhere).cpu()
    if targets is not None:
        block = torch.hstack([block, targets.cpu().double().reshape(n_rows, -1)])
    values = block.numpy() + 0.0  # makes 0 of -0; compared as bytes, NaN equals NaN
    keys = values.view(np.dtype((np.void, values.itemsize * values.shape[1]))).ravel()
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    counts = np.bincount(inverse, None if rows.weights is None else rows.weights.cpu().numpy())
    order = np.lexsort(values[first].T)  # that of the numbers, not of their bytes, does not depend on their scale
    first, counts = first[order], counts[order]
    positions = torch.from_numpy(first)
    merged = rows.subset(positions)
    merged.weights = None if (counts == 1).all() else torch.from_numpy(counts).to(rows.device, torch.float64)
    return merged, positions
