"""What of a model can be carried away: an estimator of layerwise, perhaps behind an imputer."""

from __future__ import annotations

from typing import Any, NamedTuple

from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from layerwise.data.count_scaler import CountScaler
from layerwise.data.table_encoder import TableEncoder
from layerwise.estimators import (
    Autoencoder,
    AutoencoderImputer,
    AutoencoderOutlierDetector,
    StackedAutoencoder,
    StackedClassifier,
    StackedRegressor,
)
from layerwise.inspection import bare

# What can be carried away, and what it is for: a coder has codes and reconstructions alone.
_KINDS = {
    Autoencoder: "coder",
    StackedAutoencoder: "coder",
    StackedClassifier: "classifier",
    StackedRegressor: "regressor",
    AutoencoderOutlierDetector: "detector",
    AutoencoderImputer: "imputer",
}


class Parts(NamedTuple):
    """A model taken apart.

    Attributes
    ----------
    imputer : AutoencoderImputer or None
        What fills in the rows before the estimator gets them.
    estimator : estimator of layerwise
    feature_names : list of str or None
        Of the columns that the first of the two takes, where they have names.
    counts : CountScaler or None, default=None
        What scales the rows first, if they are counts.
    """

    imputer: AutoencoderImputer | None
    estimator: Any
    feature_names: list[str] | None
    counts: CountScaler | None = None

    @property
    def kind(self) -> str:
        """``"coder"``, ``"classifier"``, ``"regressor"``, ``"detector"`` or ``"imputer"``."""
        return next(kind for cls, kind in _KINDS.items() if isinstance(self.estimator, cls))

    @property
    def first(self) -> Any:
        """The one that takes the rows."""
        return self.imputer or self.estimator

    @property
    def n_features(self) -> int:
        """Columns of the rows."""
        return int(self.first.n_features_in_)

    @property
    def fills_in(self) -> bool:
        """Whether NaN is filled in."""
        return isinstance(self.first, AutoencoderImputer)

    @property
    def intensities(self) -> bool:
        """Whether training saw uint8, so that floats must lie in [0, 1]."""
        return self.first.coder_.intensities

    @property
    def reads_uint8_as_intensities(self) -> bool:
        """Whether uint8 stands for intensities from 0 to 1; an imputer reads numbers."""
        return not self.fills_in and self.first.coder_.reads_intensities


def take_apart(model: BaseEstimator) -> Parts:
    """Return the parts of a fitted model that can be carried away.

    Parameters
    ----------
    model : estimator of layerwise, or Pipeline of ("table", TableEncoder), ("imputer", AutoencoderImputer) and such one
        In place of the imputer there may be a ("counts", CountScaler); reconstructions are those of scaled counts then.
        The first two may be missing. The encoder of a table is left out: what remains takes the columns it makes.

    Returns
    -------
    parts : Parts

    Raises
    ------
    ValueError
        If there is a step of another kind.
    sklearn.exceptions.NotFittedError
        If the model is not fitted.
    """
    estimator = bare(model)
    if not isinstance(estimator, tuple(_KINDS)):
        raise ValueError(
            f"a {type(estimator).__name__} cannot be exported; known are {', '.join(cls.__name__ for cls in _KINDS)}"
        )
    check_is_fitted(estimator)
    before = [step for step in model.steps[:-1] if step[1] != "passthrough"] if isinstance(model, Pipeline) else []
    table = before.pop(0)[1] if before and isinstance(before[0][1], TableEncoder) else None
    counts = before.pop(0)[1] if before and isinstance(before[0][1], CountScaler) else None
    imputer = before.pop(0)[1] if before and counts is None and isinstance(before[0][1], AutoencoderImputer) else None
    if before:
        name, step = before[0]
        raise ValueError(
            f"step {name!r} of the pipeline is a {type(step).__name__}, which cannot be exported; before the model "
            f"there may be a TableEncoder, and a CountScaler or an AutoencoderImputer (columns are scaled by "
            f"scale= of the model)"
        )
    first: Any = estimator if imputer is None else imputer
    names = getattr(first, "feature_names_in_", getattr(first, "column_names_", None))
    names = names if table is None else table.get_feature_names_out()
    return Parts(imputer, estimator, None if names is None else [str(name) for name in names], counts)
