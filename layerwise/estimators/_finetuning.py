"""What classifier and regressor have in common: a pre-trained stack, a head on it, and the training of both."""

from __future__ import annotations

import abc
import copy
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.base import BaseEstimator, clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from layerwise import stacking
from layerwise.callbacks import Callback, EarlyStopping
from layerwise.data.rows import Rows
from layerwise.estimators._checks import (
    DTYPES,
    check_part,
    check_rows,
    check_solver,
    keep_record,
    make_training,
    to_array,
    warn_unless_converged,
)
from layerwise.estimators.autoencoder import Autoencoder
from layerwise.estimators.stack import StackedAutoencoder
from layerwise.modules import StackedNetwork, linear_head
from layerwise.objective import Loss
from layerwise.solvers import SOLVERS, Solver

_DEPTHS: dict[Any, Any] = {"all": None, "head": 0}


class FineTunedEstimator(BaseEstimator, abc.ABC):
    """Pre-trains ``autoencoder``, puts a head on it, trains the head and as many layers as ``finetune`` says."""

    _parameter_constraints: ClassVar[dict] = {
        "autoencoder": [StackedAutoencoder, Autoencoder, FrozenEstimator, None],
        "finetune": [StrOptions({"all", "head"}), Interval(Integral, 0, None, closed="left")],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "fit_intercept": ["boolean"],
        "solver": [HasMethods("minimize"), StrOptions(set(SOLVERS))],
        "early_stopping": [EarlyStopping, None],
        "unlabeled": "no_validation",
        "random_state": ["random_state"],
        "callbacks": [list, tuple, None],
    }

    def __init__(
        self,
        autoencoder: StackedAutoencoder | Autoencoder | FrozenEstimator | None = None,
        *,
        finetune: str | int = "all",
        alpha: float = 1e-4,
        fit_intercept: bool = True,
        solver: Solver | str = "lbfgs",
        early_stopping: EarlyStopping | None = None,
        unlabeled: Any = None,
        random_state: Any = None,
        callbacks: Sequence[Callback] | None = None,
    ):
        self.autoencoder = autoencoder
        self.finetune = finetune
        self.alpha = alpha
        self.fit_intercept = fit_intercept
        self.solver = solver
        self.early_stopping = early_stopping
        self.unlabeled = unlabeled
        self.random_state = random_state
        self.callbacks = callbacks

    def transform(self, X: Any) -> np.ndarray:
        """Encode rows with the fine-tuned encoders.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        codes : ndarray of shape (n_samples, n_hidden)
            The activations of the last hidden layer.
        """
        rows = self._check_rows(X)
        return to_array(stacking.apply(self.network_.encode, rows), X)

    def _fit(
        self,
        X: Any,
        targets: torch.Tensor,
        labelled: np.ndarray,
        loss: Loss,
        validation: tuple[Any, torch.Tensor] | None,
    ) -> None:
        """Pre-train on all rows, then fine-tune with the targets of those that are labelled."""
        template = self._template()
        solver = check_solver(self.solver)
        rows = check_rows(self, X, dtype=template.dtype, device=template.device, reset=True)
        check_part(self.early_stopping)
        n_layers = len(template.layers) if isinstance(template, StackedAutoencoder) else 1
        depth = _DEPTHS.get(self.finetune, self.finetune)
        if depth is not None and depth > n_layers:
            raise ValueError(f"finetune={depth} asks for more layers than there are: {n_layers}; 'all' trains all")
        X_val = None if validation is None else validation[0]
        held_out = None if validation is None else (self._check_rows_for(template, X_val), validation[1])
        self.autoencoder_ = self._pretrain(template, X, X_val)
        self.network_ = self._build().to(rows.device)
        if self.fit_intercept:
            with torch.no_grad():
                self.network_.head.bias.copy_(self._initial_outputs(targets))
        if not labelled.all():
            rows = rows.subset(torch.from_numpy(np.flatnonzero(labelled)).to(rows.device))
        stages = stacking.finetune(
            self.network_,
            rows,
            targets,
            solver,
            loss,
            depth=depth,
            alpha=self.alpha,
            early_stopping=self.early_stopping,
            validation=held_out,
            training=make_training(self.random_state, self.callbacks, template.cache_size),
        )
        keep_record(self, stages[-1])
        warn_unless_converged(self, stages)

    def _outputs(self, X: Any) -> torch.Tensor:
        """Return what the head gives for each row."""
        rows = self._check_rows(X)
        return stacking.apply(self.network_, rows)

    def _check_rows(self, X: Any) -> Rows:
        check_is_fitted(self)
        return self._check_rows_for(self.autoencoder_, X)

    def _check_rows_for(self, autoencoder: StackedAutoencoder | Autoencoder, X: Any) -> Rows:
        return check_rows(self, X, dtype=autoencoder.dtype, device=autoencoder.device)

    def _template(self) -> StackedAutoencoder | Autoencoder:
        """Return the autoencoder that is asked for, taken out of its frozen wrapper."""
        if self.autoencoder is None:
            return StackedAutoencoder()
        if not isinstance(self.autoencoder, FrozenEstimator):
            self.autoencoder._validate_params()
            return self.autoencoder
        template = self.autoencoder.estimator
        if not isinstance(template, (StackedAutoencoder, Autoencoder)):
            raise ValueError(
                f"autoencoder=FrozenEstimator({type(template).__name__}) cannot be fine-tuned; freeze a fitted "
                f"StackedAutoencoder or Autoencoder"
            )
        check_is_fitted(template)
        return template

    def _pretrain(
        self, template: StackedAutoencoder | Autoencoder, X: Any, X_val: Any
    ) -> StackedAutoencoder | Autoencoder:
        if isinstance(self.autoencoder, FrozenEstimator):
            if template.n_features_in_ != self.n_features_in_:
                raise ValueError(
                    f"X has {self.n_features_in_} features, but the frozen autoencoder was fitted with "
                    f"{template.n_features_in_}"
                )
            return copy.deepcopy(template)
        autoencoder = clone(template)
        if self.callbacks is not None:
            autoencoder.set_params(callbacks=self.callbacks)
        if autoencoder.random_state is None:
            autoencoder.set_params(random_state=self.random_state)
        return autoencoder.fit(X, X_val=X_val)

    def _empty_modules(self) -> dict[str, torch.nn.Module]:
        """Return modules of the right shape for the fitted attributes that are modules."""
        return {"network_": self._build()}

    def _build(self) -> StackedNetwork:
        """Return a network that begins with copies of the trained layers, and a new head."""
        layers = copy.deepcopy(self.autoencoder_._modules())
        dtype = DTYPES[self.autoencoder_.dtype]
        return StackedNetwork(
            layers, linear_head(layers[-1].n_hidden, self._n_outputs, bias=self.fit_intercept, dtype=dtype)
        )


def find_labelled(y: np.ndarray, unlabeled: Any) -> np.ndarray:
    """Return a mask of the rows that have a label.

    Parameters
    ----------
    y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
    unlabeled : object
        The value of those that have none; None if all have one. NaN stands for itself.

    Returns
    -------
    labelled : ndarray of shape (n_samples,), bool
    """
    if unlabeled is None:
        return np.ones(len(y), dtype=bool)
    if np.ndim(unlabeled) != 0:
        raise ValueError(f"unlabeled={unlabeled!r} must be one value, which stands in y where there is no label")
    # NaN is what differs from itself.
    missing = np.asarray(y != y if unlabeled != unlabeled else y == unlabeled)
    labelled = ~(missing if missing.ndim == 1 else missing.any(axis=1))
    if not labelled.any():
        raise ValueError(f"y holds no labels: all {len(y)} are unlabeled={unlabeled!r}, but fine-tuning needs some")
    return np.asarray(labelled)
