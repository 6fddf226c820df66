"""Whitening: linear maps that make columns uncorrelated and of equal variance."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from scipy.linalg import eigh
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils import check_array
from sklearn.utils._param_validation import Interval
from sklearn.utils.extmath import svd_flip
from sklearn.utils.validation import check_is_fitted, validate_data


class _Whitening(TransformerMixin, BaseEstimator):
    """What both have in common: rows less their mean go through a linear map, and back."""

    def fit(self, X: Any, y: Any = None) -> Self:
        """Find the mean of rows, and the linear map that whitens them.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Values are taken as they are; uint8 is not scaled.
        y : None
            Not used.

        Returns
        -------
        self : PCAWhitening or ZCAWhitening

        Raises
        ------
        ValueError
            If a parameter is wrong, ``X`` is not finite, or ``epsilon=0`` and the data do not vary in all directions
            that are kept.
        """
        self._validate_params()
        self._learn(validate_data(self, X, dtype=np.float64, ensure_min_samples=2))
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Whiten rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        Y : ndarray of shape (n_samples, n_features), float64
            With ``n_components`` columns where only so many are kept.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        return self._whiten(X - self.mean_)

    def inverse_transform(self, X: Any) -> np.ndarray:
        """Map whitened rows back: exactly where all components are kept, else to the projection on those kept.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            As `transform` returns it.

        Returns
        -------
        rows : ndarray of shape (n_samples, n_features), float64
        """
        check_is_fitted(self)
        X = check_array(X, dtype=np.float64, input_name="X")
        n_columns = self._n_features_out
        if X.shape[1] != n_columns:
            raise ValueError(f"X has shape {X.shape}, but whitened rows of shape (n_samples, {n_columns}) are expected")
        return self._unwhiten(X) + self.mean_

    @property
    def _n_features_out(self) -> int:
        return len(self.eigenvalues_)


class PCAWhitening(ClassNamePrefixFeaturesOutMixin, _Whitening):
    """Rotate rows to their principal axes and divide each coordinate by its standard deviation.

    With the mean mu of m rows and the eigenvectors u_j and eigenvalues lambda_j of their covariance
    1/m sum_i (x_i - mu)(x_i - mu)'::

        y_j = u_j'(x - mu) / sqrt(lambda_j + epsilon)

    Parameters
    ----------
    n_components : int or None, default=None
        How many coordinates to keep, those of the largest eigenvalues; None keeps all.
    epsilon : float, default=1e-5
        Added to the eigenvalues, so that coordinates which hardly vary, mostly noise, are not blown up. It is on the
        scale of the squared values: choose it relative to ``eigenvalues_``. With 0 the covariance of the result is
        exactly the identity, and the data must vary along all coordinates kept.

    Attributes
    ----------
    mean_ : ndarray of shape (n_features,)
    components_ : ndarray of shape (n_components, n_features)
        The eigenvectors u_j, one a row, in the order of falling eigenvalues.
    eigenvalues_ : ndarray of shape (n_components,)
        The variances lambda_j along them.
    scale_ : ndarray of shape (n_components,)
        What the coordinates are divided by, sqrt(lambda_j + epsilon).
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features,)
        Where ``X`` had names.

    References
    ----------
    A. Ng, J. Ngiam, C. Y. Foo, Y. Mai, C. Suen, UFLDL tutorial, "Whitening".

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(500, 3)) * [1, 5, 10]
    >>> Y = PCAWhitening(n_components=2).fit_transform(X)
    >>> bool(np.allclose(np.cov(Y.T, bias=True), np.eye(2), atol=1e-6))
    True
    """

    _parameter_constraints: ClassVar[dict] = {
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "epsilon": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(self, n_components: int | None = None, epsilon: float = 1e-5):
        self.n_components = n_components
        self.epsilon = epsilon

    def _learn(self, X: np.ndarray) -> None:
        n_components = X.shape[1] if self.n_components is None else self.n_components
        if n_components > X.shape[1]:
            raise ValueError(
                f"n_components={n_components} is too large: X has {X.shape[1]} features, so at most that many can be "
                f"kept; None keeps all"
            )
        self.mean_, eigenvalues, components = _principal_axes(X)
        self.eigenvalues_, self.components_ = eigenvalues[:n_components], components[:n_components]
        self.scale_ = _scale(eigenvalues, n_components, self.epsilon, len(X))

    def _whiten(self, centred: np.ndarray) -> np.ndarray:
        return centred @ self.components_.T / self.scale_

    def _unwhiten(self, X: np.ndarray) -> np.ndarray:
        return X * self.scale_ @ self.components_


class ZCAWhitening(OneToOneFeatureMixin, _Whitening):
    """Whiten rows and rotate them back, so that they stay as close to themselves as whitened rows can be.

    With the mean mu of m rows, the matrix U of the eigenvectors of their covariance 1/m sum_i (x_i - mu)(x_i - mu)',
    and its eigenvalues lambda_j::

        y = U diag(1 / sqrt(lambda_j + epsilon)) U' (x - mu)

    Whitened images still look like images.

    Parameters
    ----------
    epsilon : float, default=1e-5
        Added to the eigenvalues, so that directions which hardly vary, mostly noise, are not blown up. It is on the
        scale of the squared values: choose it relative to ``eigenvalues_``; the UFLDL tutorial takes 0.1 for colour
        patches in [0, 1]. With 0 the covariance of the result is exactly the identity, and the data must vary
        in all directions.

    Attributes
    ----------
    mean_ : ndarray of shape (n_features,)
    eigenvalues_ : ndarray of shape (n_features,)
        The variances lambda_j along the principal axes, falling.
    whitening_, dewhitening_ : ndarray of shape (n_features, n_features)
        The symmetric matrix that whitens, and its inverse.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features,)
        Where ``X`` had names.

    References
    ----------
    A. J. Bell, T. J. Sejnowski, "The 'independent components' of natural scenes are edge filters", Vision Research
    37(23), 1997.

    A. Ng, J. Ngiam, C. Y. Foo, Y. Mai, C. Suen, UFLDL tutorial, "Whitening".

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(500, 3)) * [1, 5, 10]
    >>> Y = ZCAWhitening().fit_transform(X)
    >>> bool(np.allclose(np.cov(Y.T, bias=True), np.eye(3), atol=1e-4))
    True
    """

    _parameter_constraints: ClassVar[dict] = {"epsilon": [Interval(Real, 0, None, closed="left")]}

    def __init__(self, epsilon: float = 1e-5):
        self.epsilon = epsilon

    def _learn(self, X: np.ndarray) -> None:
        self.mean_, self.eigenvalues_, components = _principal_axes(X)
        scale = _scale(self.eigenvalues_, X.shape[1], self.epsilon, len(X))
        self.whitening_ = components.T / scale @ components
        self.dewhitening_ = components.T * scale @ components

    def _whiten(self, centred: np.ndarray) -> np.ndarray:
        return centred @ self.whitening_

    def _unwhiten(self, X: np.ndarray) -> np.ndarray:
        return X @ self.dewhitening_


def _principal_axes(X: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return mean, eigenvalues (falling) and eigenvectors (one a row) of the covariance 1/m (X - mu)'(X - mu)."""
    mean = X.mean(axis=0)
    centred = X - mean
    eigenvalues, vectors = eigh(centred.T @ centred / len(X))
    # An eigenvector's sign is arbitrary; scikit-learn's rule makes it the same on every machine.
    _, components = svd_flip(None, vectors.T[::-1], u_based_decision=False)
    return mean, eigenvalues[::-1].clip(min=0), components


def _scale(eigenvalues: np.ndarray, n_components: int, epsilon: float, n_samples: int) -> np.ndarray:
    """Return sqrt(lambda + epsilon) of the largest eigenvalues; refuse to divide by one that is only rounding."""
    rounding = max(n_samples, len(eigenvalues)) * np.finfo(np.float64).eps * eigenvalues[0]
    rank = np.count_nonzero(eigenvalues > rounding)
    if epsilon == 0 and rank < n_components:
        raise ValueError(
            f"epsilon=0 cannot be used: the {n_components} components to whiten include {n_components - rank} along "
            f"which X does not vary; set epsilon to a small positive number, for example 1e-5"
        )
    return np.sqrt(eigenvalues[:n_components] + epsilon)
