"""The estimator that tells rows which an autoencoder cannot reconstruct."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from numbers import Real
from os import PathLike
from typing import Any, ClassVar, overload

import numpy as np
import torch
from sklearn.base import OutlierMixin
from sklearn.frozen import FrozenEstimator
from sklearn.utils import Tags
from sklearn.utils._param_validation import Interval

from layerwise import distributed, stacking
from layerwise.callbacks import Callback, Step
from layerwise.checkpoint import Checkpoint
from layerwise.coder import Coder
from layerwise.estimators._checkpointing import checkpointed
from layerwise.estimators._checks import like_input, warn_of_target_rows
from layerwise.estimators._sklearn_callbacks import relayed
from layerwise.estimators._wrapping import WrappingEstimator
from layerwise.estimators.autoencoder import Autoencoder
from layerwise.estimators.stack import StackedAutoencoder
from layerwise.solvers import LBFGS

# Bound of what rounding in float32 does to the distance of a row from its reconstruction, as a share of their sizes:
# four times what was found over stacks, widths and data. A row may come as float32 whatever the model computes in.
_ROUNDING = 4 * float(np.finfo(np.float32).eps)
# How far below the share a gap may lie, as a multiple of this bound: a threshold moved by so little is the same one.
_REACH = 30
_HUGE = np.finfo(np.float64).max / 8


class AutoencoderOutlierDetector(OutlierMixin, WrappingEstimator):
    """Finds rows that an autoencoder, trained on mostly normal ones, reconstructs badly.

    The error of a row x_i is taken in the scale of the training, so that every feature counts as it did there::

        error_i = 1/2 sum_k w_k (x^_ik - x_ik)^2

    where w_k is 1, or 1/n where feature k is one of a group of n.

    Parameters
    ----------
    autoencoder : StackedAutoencoder, Autoencoder or FrozenEstimator of a fitted one, default=None
        Cloned and trained on the rows given to `fit`; inside a `sklearn.frozen.FrozenEstimator` it is taken as it is.
        None stands for 32 tied tanh units with linear outputs that are trained for 30 iterations of L-BFGS: too short,
        with codes too narrow, to learn outliers among the training rows.
    contamination : float, default=0.1
        Share of the training rows that are taken for outliers, above 0 and up to 0.5, rounded down to whole rows. Rows
        whose errors are the same up to rounding get the same verdict: then there are fewer.
    feature_groups : array-like of shape (n_features,) or None, default=None
        A name for each feature; those of one name count as one, such as the columns that were made of one of text,
        or of dates: `layerwise.data.TableEncoder.get_feature_columns` gives them. None counts each feature.
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
    offset_ : float
        Rows whose score is below it are outliers: halfway between the training rows on either side, which differ by
        more than rounding; below them all where ``contamination`` is less than one row.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features,)
        Where ``X`` had names.
    column_names_ : ndarray of shape (n_features,)
        As text, where ``X`` had names that are no text and no numbers from 0.

    Examples
    --------
    >>> import numpy as np
    >>> from layerwise import AutoencoderOutlierDetector
    >>> line = np.linspace(-1, 1, 100)[:, None] * [1.0, 2.0, -1.0]
    >>> detector = AutoencoderOutlierDetector(random_state=0).fit(line)
    >>> detector.predict([[0.5, 1.0, -0.5], [0.5, -1.0, 0.5]])
    array([ 1, -1])
    >>> detector.reconstruction_error([[0.5, 1.0, 4.0]], per_feature=True).argmax(axis=1)
    array([2])
    """

    _parameter_constraints: ClassVar[dict] = WrappingEstimator._parameter_constraints | {
        "contamination": [Interval(Real, 0, 0.5, closed="right")],
        "feature_groups": ["array-like", None],
    }

    def __init__(
        self,
        autoencoder: StackedAutoencoder | Autoencoder | FrozenEstimator | None = None,
        *,
        contamination: float = 0.1,
        feature_groups: Sequence[Any] | None = None,
        random_state: Any = None,
        callbacks: Sequence[Callback] | None = None,
        checkpoint: str | PathLike[str] | Checkpoint | None = None,
    ):
        self.autoencoder = autoencoder
        self.contamination = contamination
        self.feature_groups = feature_groups
        self.random_state = random_state
        self.callbacks = callbacks
        self.checkpoint = checkpoint

    @property
    def coder_(self) -> Coder:
        """The coder of ``autoencoder_``, which weighs features by their groups."""
        coder = super().coder_
        if self.feature_groups is None:
            return coder
        _, group, sizes = np.unique(list(map(str, self.feature_groups)), return_inverse=True, return_counts=True)
        return replace(coder, feature_weights=torch.from_numpy(1 / sizes[group]))

    @relayed
    @checkpointed
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> AutoencoderOutlierDetector:
        """Train the autoencoder, then set the threshold by its errors on the same rows.

        Parameters
        ----------
        X : array-like, sparse matrix or Tensor of shape (n_samples, n_features)
        y : None
            Not used; rows of the shape of ``X`` are warned of.
        sample_weight : array-like of shape (n_samples,), default=None
            How often each row counts: a weight of 2 is the row given twice. None is once.

        Returns
        -------
        self : AutoencoderOutlierDetector
        """
        warn_of_target_rows(self, X, y)
        self._validate_params()
        scan, _ = self._pretrain(self._template(), X, sample_weight)
        if self.feature_groups is not None and len(self.feature_groups) != self.n_features_in_:
            raise ValueError(
                f"feature_groups has {len(self.feature_groups)} names, but X has {self.n_features_in_} features; each "
                f"needs one"
            )
        rows = self.coder_.scale(scan)
        scores = -self.coder_.errors(rows).cpu().numpy()
        sizes = stacking.apply(lambda x: torch.linalg.vector_norm(x, dim=1, dtype=torch.float64), rows).cpu().numpy()
        weights = np.ones(len(scores)) if rows.weights is None else rows.weights.cpu().numpy()
        columns = torch.from_numpy(np.stack([scores, sizes, weights], axis=1))
        scores, sizes, weights = distributed.gather_rows(columns).numpy().T
        self.offset_ = _choose_offset(scores, sizes, weights, self.contamination)
        return self

    @overload
    def reconstruction_error(self, X: torch.Tensor, *, per_feature: bool = ...) -> torch.Tensor: ...
    @overload
    def reconstruction_error(self, X: Any, *, per_feature: bool = ...) -> np.ndarray: ...
    def reconstruction_error(self, X: Any, *, per_feature: bool = False) -> Any:
        """Return how badly rows are reconstructed, in the scale of the training.

        Parameters
        ----------
        X : array-like, sparse matrix or Tensor of shape (n_samples, n_features)
        per_feature : bool, default=False
            Whether to return the terms of the sum, which say what is unusual about a row.

        Returns
        -------
        errors : ndarray or Tensor of shape (n_samples,) or (n_samples, n_features)
            At least 0. The features of a row add up to its error; ``feature_names_in_`` names them, where the training
            rows had names.
        """
        errors = self._errors(X, per_feature=per_feature)
        return like_input(errors, X)

    @overload
    def score_samples(self, X: torch.Tensor) -> torch.Tensor: ...
    @overload
    def score_samples(self, X: Any) -> np.ndarray: ...
    def score_samples(self, X: Any) -> Any:
        """Return minus the error of each row: the higher, the more normal.

        Parameters
        ----------
        X : array-like, sparse matrix or Tensor of shape (n_samples, n_features)

        Returns
        -------
        scores : ndarray or Tensor of shape (n_samples,)
        """
        return -self.reconstruction_error(X)

    @overload
    def decision_function(self, X: torch.Tensor) -> torch.Tensor: ...
    @overload
    def decision_function(self, X: Any) -> np.ndarray: ...
    def decision_function(self, X: Any) -> Any:
        """Return the score of each row less ``offset_``: negative for outliers.

        Parameters
        ----------
        X : array-like, sparse matrix or Tensor of shape (n_samples, n_features)

        Returns
        -------
        scores : ndarray or Tensor of shape (n_samples,)
        """
        return like_input(-self._errors(X) - self.offset_, X)

    @overload
    def predict(self, X: torch.Tensor) -> torch.Tensor: ...
    @overload
    def predict(self, X: Any) -> np.ndarray: ...
    def predict(self, X: Any) -> Any:
        """Return 1 for normal rows and -1 for outliers.

        Parameters
        ----------
        X : array-like, sparse matrix or Tensor of shape (n_samples, n_features)

        Returns
        -------
        labels : ndarray or Tensor of shape (n_samples,), int
        """
        return like_input(torch.where(-self._errors(X) < self.offset_, -1, 1), X)

    def __sklearn_tags__(self) -> Tags:
        """Say what is accepted: sparse rows too."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _errors(self, X: Any, *, per_feature: bool = False) -> torch.Tensor:
        coder = self.coder_
        return coder.errors(coder.rows(X), per_feature=per_feature)

    def _default_autoencoder(self) -> Autoencoder:
        return Autoencoder(
            32,
            activation="tanh",
            output_activation="identity",
            tied=True,
            alpha=0.1,
            solver=LBFGS(history_size=5),
            callbacks=[_is_enough],
        )


def _is_enough(step: Step) -> bool:
    """Stop training before outliers are learnt by heart."""
    return step.iteration >= 30


def _choose_offset(scores: np.ndarray, sizes: np.ndarray, weights: np.ndarray, share: float) -> float:
    """Return the threshold that at most this share of the total weight lies below: halfway between two rows.

    Rows that differ by rounding only are not parted: they all stay above. Where rows are so dense that hardly any
    differ by more, the widest of the gaps next to the share is taken.

    Parameters
    ----------
    scores : ndarray of shape (n_rows,)
        Minus the errors.
    sizes : ndarray of shape (n_rows,)
        Norms of the rows, in the scale of the errors.
    weights : ndarray of shape (n_rows,)
    share : float
    """
    order = np.argsort(scores)
    order = order[weights[order] > 0]
    scores, sizes = (np.nan_to_num(values[order], posinf=_HUGE, neginf=-_HUGE) for values in (scores, sizes))
    reached = np.cumsum(weights[order]) / weights.sum()
    # Sums of weights that should be the same differ by rounding.
    wanted = int(np.searchsorted(reached, share + 1e-12, side="right"))

    distances = np.sqrt(-2 * scores)
    slack = _ROUNDING * (sizes + distances + np.median(sizes))
    with np.errstate(over="ignore"):
        low, high = -0.5 * (distances + slack) ** 2, -0.5 * np.maximum(distances - slack, 0) ** 2
    # Entry k is the gap that has k rows below it; the first, below all rows, is clear of the lowest one.
    middle = np.concatenate([[2 * low[0] - scores[0]], scores[:-1] / 2 + scores[1:] / 2])
    width = np.concatenate([[scores[0] - middle[0]], np.diff(scores)])
    clear = (np.concatenate([[-np.inf], high[:-1]]) < middle) & (middle < low)

    nearest = np.searchsorted(scores, scores[wanted] - _REACH * (scores[wanted] - low[wanted]))
    places = np.arange(wanted, nearest - 1, -1)
    place = places[clear[places].argmax() if clear[places].any() else width[places].argmax()]
    return float(middle[place])
