"""The estimator that fills in missing values with what an autoencoder expects."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from numbers import Integral
from os import PathLike
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.base import OneToOneFeatureMixin, TransformerMixin
from sklearn.frozen import FrozenEstimator
from sklearn.utils import Tags
from sklearn.utils._param_validation import Interval, MissingValues

from layerwise.callbacks import Callback
from layerwise.checkpoint import Checkpoint
from layerwise.corruptions import Masking
from layerwise.estimators._checkpointing import checkpointed
from layerwise.estimators._checks import like_input, warn_of_target_rows
from layerwise.estimators._intake import as_rows, placeholder_of
from layerwise.estimators._sklearn_callbacks import relayed
from layerwise.estimators._wrapping import WrappingEstimator
from layerwise.estimators.autoencoder import Autoencoder
from layerwise.estimators.stack import StackedAutoencoder
from layerwise.objective import default_chunk_rows
from layerwise.solvers import Adam


class AutoencoderImputer(OneToOneFeatureMixin, TransformerMixin, WrappingEstimator):
    """Fills in missing values with the reconstructions of an autoencoder.

    In training missing values are 0 in the (scaled) input, as `Masking` makes others, and are left out of the loss. To
    fill in a row, its reconstruction takes their place; if asked, the row that results is reconstructed again.

    Parameters
    ----------
    autoencoder : StackedAutoencoder, Autoencoder or FrozenEstimator of a fitted one, default=None
        Cloned and trained on the rows given to `fit`; inside a `sklearn.frozen.FrozenEstimator` it is taken as it is.
        It should have a `Masking` corruption, the loss of which counts mostly at masked entries. None
        stands for 500 rectified units with linear outputs and standard scale, trained by 200 epochs of Adam with
        ``Masking(0.15, emphasis=(1, 0.05))``.
    missing_values : int, float, numpy.nan, pandas.NA or None, default=numpy.nan
        The number that stands for a value that is missing, such as 0, 99 or -999; rows are copied to put NaN in its
        place. NaN, None, ``pandas.NA`` and masked entries are missing in any case.
    n_passes : int, default=1
        How often each row is reconstructed, 1000 times at most. Training knows rows with gaps, not rows that were
        filled in: on those the network can run away (on a table with a third of its values missing the error grew from
        0.15 to 0.22 with 2 passes and 0.70 with 5). Check a number above 1 on values that you hide.
    random_state : int, RandomState instance or None, default=None
        For the autoencoder, if that has none of its own.
    callbacks : list of callable or None, default=None
        For the autoencoder, beside its own.
    checkpoint : str, path-like, Checkpoint or None, default=None
        Where `fit` keeps itself so that it can go on after an interruption, see `layerwise.Checkpoint`.

    Attributes
    ----------
    autoencoder_ : StackedAutoencoder or Autoencoder
        The trained autoencoder.
    empty_features_ : ndarray of int
        Columns of which training observed nothing.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features,)
        Where ``X`` had names.
    column_names_ : ndarray of shape (n_features,)
        As text, where ``X`` had names that are no text and no numbers from 0.

    References
    ----------
    L. Gondara and K. Wang, "MIDA: multiple imputation using denoising autoencoders", PAKDD 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from layerwise import AutoencoderImputer
    >>> X = np.linspace(-1, 1, 100)[:, None] * [1.0, 2.0, -1.0]
    >>> filled = AutoencoderImputer(random_state=0).fit(X).transform([[0.5, 1.0, np.nan]])
    >>> bool(abs(filled[0, 2] + 0.5) < 0.2)
    True
    """

    _parameter_constraints: ClassVar[dict] = WrappingEstimator._parameter_constraints | {
        "missing_values": [MissingValues(numeric_only=True), None],
        "n_passes": [Interval(Integral, 1, 1000, closed="both")],
    }

    def __init__(
        self,
        autoencoder: StackedAutoencoder | Autoencoder | FrozenEstimator | None = None,
        *,
        missing_values: Any = np.nan,
        n_passes: int = 1,
        random_state: Any = None,
        callbacks: Sequence[Callback] | None = None,
        checkpoint: str | PathLike[str] | Checkpoint | None = None,
    ):
        self.autoencoder = autoencoder
        self.missing_values = missing_values
        self.n_passes = n_passes
        self.random_state = random_state
        self.callbacks = callbacks
        self.checkpoint = checkpoint

    @relayed
    @checkpointed
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> AutoencoderImputer:
        """Train the autoencoder on what is observed.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)
            NaN, or ``missing_values``, where a value is missing.
        y : None
            Not used; rows of the shape of ``X`` are warned of.
        sample_weight : array-like of shape (n_samples,), default=None
            How often each row counts: a weight of 2 is the row given twice. None is once.

        Returns
        -------
        self : AutoencoderImputer
        """
        warn_of_target_rows(self, X, y)
        self._validate_params()
        X, template = _as_numbers(X), self._template()
        scan, _ = self._pretrain(template, X, sample_weight, allow_missing=True)
        rows = self.coder_.scale(scan)
        if self._placeholder is not None and not rows.has_missing:
            warnings.warn(
                f"missing_values={self.missing_values!r} stands nowhere in X, so that nothing counts as missing",
                UserWarning,
                stacklevel=2,
            )
        self.empty_features_ = (scan.lowest > scan.highest).nonzero()[:, 0].cpu().numpy()
        if len(self.empty_features_):
            warnings.warn(
                f"columns {self.empty_features_.tolist()} of X hold no values to learn from; they are filled with 0",
                UserWarning,
                stacklevel=2,
            )
        return self

    def transform(self, X: Any) -> Any:
        """Fill in the missing values of rows.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)

        Returns
        -------
        filled : ndarray or Tensor of shape (n_samples, n_features)
            What was observed is as it was; a column of which nothing was observed in training is 0.
        """
        X = _as_numbers(X)
        rows = self.coder_.rows(X, allow_missing=True)
        exact = rows.scaled(None).astype(torch.float64)
        results = torch.empty(len(rows), rows.n_features, dtype=torch.float64, device=rows.device)
        size = default_chunk_rows(rows)
        for (place, x), (_, original) in zip(rows.blocks(size), exact.blocks(size), strict=True):
            results[place] = torch.where(original.isnan(), self._fill(x), original)
        return like_input(results, X)

    @property
    def _placeholder(self) -> Any:
        return placeholder_of(self.missing_values)

    @torch.no_grad()
    def _fill(self, x: torch.Tensor) -> torch.Tensor:
        """Return a block of scaled rows with what is missing filled in, in the units of the rows."""
        coder = self.autoencoder_.coder_
        network = coder.network
        missing = x.isnan()
        filled = x.nan_to_num(nan=0.0)
        for _ in range(self.n_passes):
            filled = torch.where(missing, network(filled), filled)
        filled = coder.unscale(filled).double()
        filled[:, self.empty_features_] = 0.0
        return filled

    def __sklearn_tags__(self) -> Tags:
        """Say that NaN is accepted, and that float32 and float64 are kept."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _default_autoencoder(self) -> Autoencoder:
        return Autoencoder(
            500,
            activation="relu",
            output_activation="identity",
            scale="standard",
            alpha=2e-3,
            corruption=Masking(0.15, emphasis=(1, 0.05)),
            solver=Adam(200, learning_rate_init=5e-3, learning_rate="cosine", n_iter_no_change=200),
        )


def _as_numbers(X: Any) -> Any:
    """Return uint8 as floats: here it is a table of numbers, not intensities."""
    X = as_rows(X)
    if isinstance(X, torch.Tensor):
        return X.double() if X.dtype == torch.uint8 else X
    return X.astype(np.float64) if getattr(X, "dtype", None) == np.uint8 else X
