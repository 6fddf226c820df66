"""What users pass as labels and targets, so that what is missing in them is NaN or None, and the rest of one kind."""

from __future__ import annotations

import warnings
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from scipy import sparse

from layerwise.data.profiles import as_number, find_twins
from layerwise.estimators._intake import fill_masked, refuse_kind
from layerwise.labels import find_missing, has_label, is_missing

_PRETRAIN_ONLY = "say unlabeled=float('nan') to let rows without a label serve pre-training only, or leave them out"
# Texts that NumPy and pandas write where a value is missing.
_EMPTY = ("", "nan", "NaN", "<NA>", "NaT", "None")


def read_labels(y: Any, name: str = "y") -> np.ndarray:
    """Return labels, targets or weights as an array, objects with None where one is missing.

    Parameters
    ----------
    y : array-like, Tensor, or column of pandas, polars or Arrow
    name : str, default="y"
        What errors call them.

    Returns
    -------
    labels : ndarray
        Numbers of any type, or text. Labels of which some are missing, and are no floats, are objects.

    Raises
    ------
    ValueError
        If they are sparse, complex, or not read from where they are yet.
    """
    refuse_kind(y, name)
    if sparse.issparse(y):
        raise ValueError(f"{name} is a sparse matrix, but an array is needed; pass {name}.toarray()")
    if isinstance(y, torch.Tensor):
        y = y.detach()
        labels = (y.float() if y.dtype == torch.bfloat16 else y).numpy(force=True)
    elif isinstance(y, np.ma.MaskedArray):
        labels = fill_masked(y, None)
    else:
        labels = np.asarray(y)
        if isinstance(y, (list, tuple)) and labels.dtype.kind in "US":  # numbers and gaps among text become text
            apart = np.asarray(y, dtype=object)
            labels = labels if all(isinstance(value, (str, bytes)) for value in apart.flat) else apart
    if labels.dtype.kind == "c":
        raise ValueError(f"Complex data not supported: {name} holds complex numbers")
    if labels.dtype.kind == "T":
        labels = labels.astype(object)
    if labels.dtype.kind != "O" or not labels.ndim:
        return labels
    missing = find_missing(labels)
    if missing.any():
        labels = labels.copy()
        labels[missing] = None
    return labels


def settle(labels: np.ndarray, name: str = "y") -> np.ndarray:
    """Return labels of which none is missing in the type that they have, where they are objects; text stays as it is.

    Raises
    ------
    ValueError
        If numbers and text are mixed, or they are neither.
    """
    if labels.dtype.kind != "O":
        return labels
    text = [isinstance(value, str) for value in labels.flat]
    if all(text):
        return labels
    if any(text):
        number = next(value for value in labels.flat if not isinstance(value, str))
        word = next(value for value in labels.flat if isinstance(value, str))
        raise ValueError(
            f"{name} holds text beside other values, such as {word!r:.65} and {number!r:.65}; make all of them text, "
            f"or all of them numbers"
        )
    plain = np.array(labels.tolist())
    if plain.dtype.kind == "O":
        try:
            plain = plain.astype(np.float64)  # of Decimal and the like
        except (TypeError, ValueError):
            kinds = ", ".join(sorted({type(value).__name__ for value in labels.flat}))
            raise ValueError(f"{name} holds values of type {kinds}, but numbers or text are needed") from None
    return plain


def read_numbers(targets: np.ndarray, name: str = "y") -> np.ndarray:
    """Return targets as numbers: text of which all are numbers is read, with a warning.

    Raises
    ------
    ValueError
        If there is other text, or if they are dates.
    """
    if targets.dtype.kind in "mM":
        raise ValueError(
            f"{name} holds dates or times, but a regressor needs numbers; make numbers of them first, such as days "
            f"since a certain one"
        )
    if targets.dtype.kind not in "USO" or not targets.size:
        return targets
    try:
        numbers = targets.astype(np.float64)
    except ValueError as error:
        text = next(value for value in targets.flat if as_number(value) is None)
        raise ValueError(
            f"{name} holds text such as {str(text)!r:.65}, but a regressor needs numbers; StackedClassifier takes text "
            f"as classes"
        ) from error
    warnings.warn(
        f"{name} holds numbers written as text, such as {str(targets.flat[0])!r:.65}; they are read as numbers",
        UserWarning,
        stacklevel=2,
    )
    return numbers


def refuse_missing(y: np.ndarray, labelled: np.ndarray, name: str = "y", *, remedy: str = _PRETRAIN_ONLY) -> None:
    """Refuse NaN and None in the place of a label."""
    places = np.flatnonzero(~has_label(y) & labelled)
    if len(places):
        raise ValueError(
            f"{name} contains NaN or None in {len(places)} of {len(y)} rows, the first of them {name}[{places[0]}]; "
            f"{remedy}"
        )


def refuse_near_miss(y: np.ndarray, unlabeled: Any) -> None:
    """Refuse a value for rows without a label that no label is, but one is in another type.

    Raises
    ------
    ValueError
        If it is a number and the labels text or the other way round, or if it is negative and became a positive number
        in labels without sign.
    """
    if y.dtype.kind == "u" and isinstance(unlabeled, Integral) and unlabeled < 0:
        other: Any = int(unlabeled) % 2 ** (8 * y.dtype.itemsize)
        if (y == other).any():
            raise ValueError(
                f"unlabeled={unlabeled!r} cannot stand in y of type {y.dtype}, which holds {other} there; make y "
                f"signed before -1 is put in, or say unlabeled={other}"
            )
        return
    values = y.ravel().tolist()
    others = [value for value in values if isinstance(value, str) is not isinstance(unlabeled, str)]
    twin = next((value for value in others if _is_same(value, unlabeled)), None)
    if twin is not None:
        kinds = ("text", "a number") if isinstance(unlabeled, str) else ("a number", "text")
        raise ValueError(f"unlabeled={unlabeled!r} is {kinds[0]}, but in y it is {kinds[1]}; say unlabeled={twin!r}")


def tell_odd_classes(classes: np.ndarray, unlabeled: Any) -> str | None:
    """Say in a sentence which classes of text are rather one, or rather none; None without such."""
    texts = [str(value) for value in classes] if classes.dtype.kind in "UO" else []
    told = [
        f"the classes {', '.join(map(repr, group))} differ only in blanks or case, and are learnt as {len(group)}"
        for group in find_twins(texts)[:5]
    ]
    empty = next((text for text in texts if text.strip() in _EMPTY), None)
    if empty is not None:
        remedy = f"; say unlabeled={empty!r} if such rows have no label" if unlabeled is None else ""
        told.append(f"the text {empty!r} is learnt as a class{remedy}")
    return f"y holds labels that may be mistakes: {'; '.join(told)}" if told else None


def _is_same(value: Any, unlabeled: Any) -> bool:
    """Whether text and a number, or a gap, mean the same."""
    text, number = (value, unlabeled) if isinstance(value, str) else (unlabeled, value)
    if is_missing(number):
        return text.strip() in _EMPTY
    return isinstance(number, Real) and as_number(text) == number
