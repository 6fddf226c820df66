"""Data sets: MNIST from a folder, and the small part of it that is shipped with the package."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import NamedTuple

import numpy as np

from layerwise.data.idx import load_idx

_SMALL = Path(__file__).parent / "mnist_small"


class Digits(NamedTuple):
    """Images of digits and their labels, in a training and a test part.

    Attributes
    ----------
    X_train : ndarray of shape (n_train, n_features), uint8
        One image a row, its pixels row by row, 0 (background) to 255.
    y_train : ndarray of shape (n_train,), uint8
    X_test : ndarray of shape (n_test, n_features), uint8
    y_test : ndarray of shape (n_test,), uint8
    """

    X_train: np.ndarray
    y_train: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray


def load_mnist(folder: str | PathLike[str]) -> Digits:
    """Load MNIST, or a data set in its form, from a folder with its four files.

    Parameters
    ----------
    folder : str or path-like
        Holds ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte``, ``t10k-images-idx3-ubyte``
        and ``t10k-labels-idx1-ubyte``; also found as ``train-images.idx3-ubyte`` and so on, and with
        ``.gz``. Pixels stay uint8 (all of MNIST is 47 MB) and are scaled block by block in use.

    Returns
    -------
    digits : Digits

    Raises
    ------
    FileNotFoundError
        If one of the files is missing.
    ValueError
        If a file is damaged, or images and labels do not belong together.

    Examples
    --------
    >>> from layerwise.data import load_mnist
    >>> X_train, y_train, X_test, y_test = load_mnist("mnist")  # doctest: +SKIP
    """
    folder = Path(folder)
    X_train, y_train = _load_part(folder, "train")
    X_test, y_test = _load_part(folder, "t10k")
    if X_train.shape[1] != X_test.shape[1]:
        raise ValueError(
            f"{folder}: training images have {X_train.shape[1]} pixels, but test images have {X_test.shape[1]}"
        )
    return Digits(X_train, y_train, X_test, y_test)


def load_mnist_small() -> Digits:
    """Load the part of MNIST that is shipped with layerwise: 6,000 training and 1,000 test images.

    Returns
    -------
    digits : Digits
        The first 600 training and the first 100 test images of each digit, in their original order.
        By Y. LeCun, C. Cortes and C. J. C. Burges, under CC BY-SA 3.0.

    Examples
    --------
    >>> from layerwise.data import load_mnist_small
    >>> X_train, y_train, X_test, y_test = load_mnist_small()
    >>> X_train.shape, X_test.shape, X_train.dtype
    ((6000, 784), (1000, 784), dtype('uint8'))
    """
    return load_mnist(_SMALL)


def _load_part(folder: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    images = load_idx(_find(folder, f"{part}-images", "idx3-ubyte"))
    labels = load_idx(_find(folder, f"{part}-labels", "idx1-ubyte"))
    if images.ndim != 3 or labels.ndim != 1:
        raise ValueError(
            f"{folder}: {part}-images must have 3 axes and {part}-labels 1, but they have {images.ndim} and "
            f"{labels.ndim}"
        )
    if len(images) != len(labels):
        raise ValueError(f"{folder}: {len(images)} images but {len(labels)} labels in the {part} files")
    return images.reshape(len(images), -1), labels


def _find(folder: Path, stem: str, kind: str) -> Path:
    names = [f"{stem}{mark}{kind}{ending}" for mark in "-." for ending in ("", ".gz")]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise FileNotFoundError(f"{folder} holds no {names[0]} (looked for {', '.join(names)})")
