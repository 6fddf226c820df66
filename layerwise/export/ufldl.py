"""Weights of the UFLDL exercises (Octave, MATLAB, or their port of 2014 to Python) as fitted estimators."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from layerwise.estimators import Autoencoder, StackedClassifier
from layerwise.estimators._restoring import fitted_autoencoder, fitted_classifier
from layerwise.export._weights import as_floats, check_width


def from_ufldl_theta(
    theta: ArrayLike, n_features: int, n_hidden: int, *, order: Literal["C", "F"] = "C", **parameters: Any
) -> Autoencoder:
    """Return a fitted autoencoder from the parameter vector of the exercise "Sparse autoencoder".

    Parameters
    ----------
    theta : array-like of shape (2 * n_features * n_hidden + n_hidden + n_features,)
        W1 (n_hidden, n_features), W2 (n_features, n_hidden), b1 and b2, one after the other; a single column or row, as
        `layerwise.data.load_mat` reads it, will do.
    n_features : int
        Width of the input, ``visibleSize``.
    n_hidden : int
        Width of the code, ``hiddenSize``.
    order : {"C", "F"}, default="C"
        How the matrices were made flat: ``"C"`` row by row, as NumPy does, ``"F"`` column by column, as ``W1(:)`` in
        Octave and MATLAB.
    **parameters : dict
        Further parameters of `Autoencoder`, for training that goes on and for how it computes: ``alpha`` is lambda,
        ``sparsity=KLSparsity(target, weight)`` is rho and beta, ``dtype="float64"`` keeps every digit.

    Returns
    -------
    autoencoder : Autoencoder
        Fitted, without scaling: rows must be what the exercise fed to it, such as intensities from 0 to 1.

    Raises
    ------
    ValueError
        If theta is not as long as the widths demand, or not finite.

    References
    ----------
    A. Ng et al., "UFLDL tutorial", exercise "Sparse autoencoder", 2011.

    Examples
    --------
    >>> import numpy as np
    >>> theta = np.random.default_rng(0).normal(size=2 * 6 * 2 + 2 + 6)
    >>> autoencoder = from_ufldl_theta(theta, 6, 2, dtype="float64")
    >>> bool((autoencoder.coefs_[0].T.ravel() == theta[:12]).all())
    True
    """
    check_width(n_features=n_features, n_hidden=n_hidden)
    shapes = [(n_hidden, n_features), (n_features, n_hidden), (n_hidden,), (n_features,)]
    W1, W2, b1, b2 = _cut(theta, shapes, order, f"n_features={n_features} and n_hidden={n_hidden}")
    weights = {"encoder_weight": W1, "decoder_weight": W2, "encoder_bias": b1, "decoder_bias": b2}
    return fitted_autoencoder(Autoencoder(int(n_hidden), scale=None, **parameters), weights)


def from_ufldl_stack(
    theta: ArrayLike,
    n_features: int,
    layers: Sequence[int],
    n_classes: int,
    *,
    order: Literal["C", "F"] = "C",
    classes: ArrayLike | None = None,
    **parameters: Any,
) -> StackedClassifier:
    """Return a fitted classifier from the parameter vector of the exercise "Deep networks for digit classification".

    Parameters
    ----------
    theta : array-like of shape (n_parameters,)
        Softmax weights (n_classes, n_last), then of every layer from the first up its weights (n_hidden, n_inputs) and
        biases, as ``stack2params`` puts them.
    n_features : int
        Width of the input.
    layers : sequence of int
        Width of the code of every layer, from the first up.
    n_classes : int
        Number of classes.
    order : {"C", "F"}, default="C"
        How the matrices were made flat: ``"C"`` row by row, as NumPy does, ``"F"`` column by column, as Octave and
        MATLAB do.
    classes : array-like of shape (n_classes,), default=None
        The classes, in order; None is 0, 1, ... The Octave exercise trains with 1, ..., 10, where 10 is the digit 0:
        ``classes=[1, 2, 3, 4, 5, 6, 7, 8, 9, 0]``.
    **parameters : dict
        Further parameters of the layers, each an `Autoencoder`, such as ``dtype="float64"``.

    Returns
    -------
    classifier : StackedClassifier
        Fitted, without scaling and intercepts of the head, of which the exercise has none. Fine-tuned networks hold no
        decoders: those of ``autoencoder_`` are the transposed encoders, and do not reconstruct well.

    Raises
    ------
    ValueError
        If theta is not as long as the widths demand, or not finite; or classes are not as many or occur twice.

    References
    ----------
    A. Ng et al., "UFLDL tutorial", exercise "Implement deep networks for digit classification", 2011.

    Examples
    --------
    >>> import numpy as np
    >>> theta = np.random.default_rng(0).normal(size=2 * 3 + 3 * 6 + 3)
    >>> classifier = from_ufldl_stack(theta, 6, [3], 2, classes=["no", "yes"])
    >>> classifier.predict_proba(np.zeros((1, 6))).shape
    (1, 2)
    """
    if np.ndim(layers) != 1 or len(layers) == 0:
        raise ValueError(f"layers={layers!r} must be a list of at least one layer, for example [200, 200]")
    check_width(n_features=n_features, n_classes=n_classes, **{f"layers[{k}]": n for k, n in enumerate(layers)})
    if n_classes == 1:
        raise ValueError("n_classes=1, but a classifier needs at least two classes")
    widths = [n_features, *layers]
    shapes: list[tuple[int, ...]] = [(n_classes, widths[-1])]
    for n_inputs, n_hidden in pairwise(widths):
        shapes += [(n_hidden, n_inputs), (n_hidden,)]
    given = f"n_features={n_features}, layers={[int(n) for n in layers]} and n_classes={n_classes}"
    head, *arrays = _cut(theta, shapes, order, given)
    fitted = [
        fitted_autoencoder(
            Autoencoder(len(b), scale=None, tied=True, **parameters),
            {"encoder_weight": W, "encoder_bias": b, "decoder_bias": np.zeros(W.shape[1])},
        )
        for W, b in zip(arrays[::2], arrays[1::2], strict=True)
    ]
    labels = np.arange(n_classes) if classes is None else np.asarray(classes)
    if labels.shape != (n_classes,) or len(np.unique(labels)) != n_classes:
        raise ValueError(f"classes={labels.tolist()} must be {n_classes} different labels, as n_classes={n_classes}")
    return fitted_classifier(fitted, head, labels)


def _cut(theta: ArrayLike, shapes: Sequence[tuple[int, ...]], order: Literal["C", "F"], given: str) -> list[np.ndarray]:
    """Return the arrays that a vector holds one after the other."""
    if order not in ("C", "F"):
        raise ValueError(f"order={order!r} is not known; choose 'C' (row by row) or 'F' (column by column)")
    vector = as_floats(theta, "theta")
    if vector.size != max(vector.shape, default=0):
        raise ValueError(f"theta has shape {vector.shape}, but a vector is expected")
    sizes = [int(np.prod(shape)) for shape in shapes]
    if vector.size != sum(sizes):
        raise ValueError(f"theta has {vector.size} values, but {given} need {sum(sizes)}: {_written(shapes)}")
    pieces = np.split(vector.ravel(), np.cumsum(sizes)[:-1])
    return [np.reshape(piece, shape, order=order) for piece, shape in zip(pieces, shapes, strict=True)]


def _written(shapes: Sequence[tuple[int, ...]]) -> str:
    return " + ".join(" x ".join(map(str, shape)) for shape in shapes)
