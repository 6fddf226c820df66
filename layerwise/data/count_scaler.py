"""Counts, as sequencing gives them, on one scale: each row divided by its sum, and logarithms."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted, validate_data

_TYPES = [np.float64, np.float32]


class CountScaler(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    r"""Bring rows of counts to one library size, and take logarithms; what is sparse stays so.

    .. math:: x'_{ij} = \log\Bigl(1 + t\, x_{ij} \Big/ \sum_k x_{ik}\Bigr)

    with the target :math:`t`, the median of the sums of the rows of the training that are not all 0. A row of zeros
    stays one. It is what ``scanpy.pp.normalize_total`` does, followed by ``scanpy.pp.log1p`` [1]_, except that the
    target is learned: rows that come later are brought to the same scale.

    Parameters
    ----------
    library_size : bool, default=True
        Whether to divide each row by its sum, and to multiply by the target.
    log1p : bool, default=True
        Whether to take the logarithm of 1 + x then.

    Attributes
    ----------
    target_sum_ : float
        The target; 1 where all rows are zeros.
    n_features_in_ : int
        Number of columns.

    References
    ----------
    .. [1] F. A. Wolf, P. Angerer and F. J. Theis, "SCANPY: large-scale single-cell gene expression data analysis",
       Genome Biology 19, 15 (2018).

    Examples
    --------
    >>> X = np.array([[1.0, 3.0], [6.0, 2.0], [0.0, 0.0]])
    >>> CountScaler(log1p=False).fit_transform(X)
    array([[1.5, 4.5],
           [4.5, 1.5],
           [0. , 0. ]])
    """

    def __init__(self, *, library_size: bool = True, log1p: bool = True):
        self.library_size = library_size
        self.log1p = log1p

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn the target.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Counts, or other numbers that are not negative.
        y : None
            Not used.

        Returns
        -------
        self : estimator instance
        """
        sums = _sum_rows(self._check(X, reset=True))
        self.target_sum_ = float(np.median(sums[sums > 0])) if (sums > 0).any() else 1.0
        return self

    def transform(self, X: Any) -> Any:
        """Bring rows to the scale that was learned.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        X_new : ndarray or CSR matrix of shape (n_samples, n_features)
            In the type of ``X`` if that is float32, otherwise float64.
        """
        check_is_fitted(self)
        X = self._check(X, reset=False).copy()
        values = X.data if sparse.issparse(X) else X
        if self.library_size:
            sums = _sum_rows(X)
            factors = (self.target_sum_ / np.where(sums > 0, sums, 1.0)).astype(X.dtype)
            values *= np.repeat(factors, np.diff(X.indptr)) if sparse.issparse(X) else factors[:, None]
        if self.log1p:
            np.log1p(values, out=values)
        return X

    def inverse_transform(self, X: Any) -> np.ndarray:
        """Return counts as rows of the target size have them: how large a row was is not kept.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        X_original : ndarray of shape (n_samples, n_features)
        """
        check_is_fitted(self)
        X = np.asarray(X)
        return np.expm1(X) if self.log1p else X

    def _check(self, X: Any, *, reset: bool) -> Any:
        X = validate_data(self, X, reset=reset, dtype=_TYPES, accept_sparse="csr")
        values = X.data if sparse.issparse(X) else X
        if values.size and values.min() < 0:
            raise ValueError(
                f"Negative values in data passed to {type(self).__name__}: X holds {values.min():g}, but counts are "
                f"not negative; rows that have been scaled or centred already are passed without it"
            )
        return X

    def __sklearn_tags__(self) -> Tags:
        """Say what is accepted: sparse rows, no negative values; float32 and float64 are kept."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = tags.input_tags.positive_only = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _sum_rows(X: Any) -> np.ndarray:
    """Return the sum of each row, as float64."""
    return np.asarray(X.sum(axis=1, dtype=np.float64)).reshape(-1)
