"""How much the rows of each class count in fine-tuning."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np
import torch

from layerwise import distributed
from layerwise.data.rows import Rows


def balanced_weights(places: np.ndarray, weights: np.ndarray | None, n_classes: int) -> np.ndarray:
    """Return n / (number of classes * n_c) of each class: n rows, n_c of them of the class, on all ranks, weighted.

    Parameters
    ----------
    places : ndarray of shape (n_samples,), int
        The class of each row of this rank.
    weights : ndarray of shape (n_samples,) or None
    n_classes : int

    Returns
    -------
    by_class : ndarray of shape (n_classes,)
        0 for a class without rows.

    Examples
    --------
    >>> balanced_weights(np.array([0, 0, 0, 2]), None, 3).tolist()
    [0.6666666666666666, 0.0, 2.0]
    """
    own = np.bincount(places, weights, minlength=n_classes).astype(float)
    counts = distributed.gather_rows(torch.from_numpy(own[None])).sum(dim=0).numpy()
    return counts.sum() / (np.count_nonzero(counts) * np.where(counts > 0, counts, np.inf))


def given_weights(class_weight: Mapping[Any, float], classes: np.ndarray) -> np.ndarray:
    """Return the weights of a dict in the order of the classes; 1 where there is none.

    As in scikit-learn, a label that is no class is refused if another class has no weight.

    Parameters
    ----------
    class_weight : mapping
    classes : ndarray of shape (n_classes,)
    """
    for label, weight in class_weight.items():
        if not isinstance(weight, Real) or not 0 <= weight < np.inf:
            raise ValueError(f"class_weight[{label!r}]={weight!r} must be a finite number that is not negative")
    labels = classes.tolist()
    unknown = [label for label in class_weight if label not in labels]
    if unknown and any(label not in class_weight for label in labels):
        raise ValueError(
            f"class_weight has {unknown[0]!r}, which is none of the classes: {', '.join(map(repr, labels))}"
        )
    return np.array([float(class_weight.get(label, 1.0)) for label in labels])


def weigh(rows: Rows, places: torch.Tensor, by_class: np.ndarray) -> None:
    """Multiply the weights of rows by those of their classes, in place.

    Parameters
    ----------
    rows : Rows of shape (n_samples, n_features)
    places : Tensor of shape (n_samples,), int64
        The class of each row.
    by_class : ndarray of shape (n_classes,)
    """
    factors = torch.from_numpy(by_class)[places].to(rows.device)
    rows.weights = factors if rows.weights is None else rows.weights * factors
    if not rows.weights.sum().isfinite():
        raise ValueError("the sum of sample_weight times class_weight overflows; divide the weights by a large number")
