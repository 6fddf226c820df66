"""What is built on an autoencoder: its training, or taking it over as it is."""

from __future__ import annotations

import abc
import copy
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils.validation import check_is_fitted

from layerwise import distributed
from layerwise.coder import Coder, Scans
from layerwise.estimators._checkpointing import CHECKPOINT, kept_fit
from layerwise.estimators._checks import check_rows, scan_rows
from layerwise.estimators._columns import LEARNED, compare_columns
from layerwise.estimators._parts import ComposedEstimator
from layerwise.estimators._record import all_callbacks
from layerwise.estimators.autoencoder import Autoencoder
from layerwise.estimators.stack import StackedAutoencoder
from layerwise.objective import with_gradients


class WrappingEstimator(ComposedEstimator, abc.ABC):
    """Trains a clone of ``autoencoder``, or takes a frozen one over, as ``autoencoder_``."""

    autoencoder: StackedAutoencoder | Autoencoder | FrozenEstimator | None
    random_state: Any
    callbacks: Any
    checkpoint: Any
    # The number that stands for a value that is missing, as NaN does.
    _placeholder: Any = None

    _parameter_constraints: ClassVar[dict] = {
        "autoencoder": [StackedAutoencoder, Autoencoder, FrozenEstimator, None],
        "random_state": ["random_state"],
        "callbacks": [list, tuple, None],
        "checkpoint": CHECKPOINT,
    }

    @abc.abstractmethod
    def _default_autoencoder(self) -> StackedAutoencoder | Autoencoder:
        """Return what ``autoencoder=None`` stands for."""

    def _resolve(self, name: str, part: Any) -> Any:
        if name == "autoencoder" and part is None:
            return self._default_autoencoder()
        return super()._resolve(name, part)

    def _template(self) -> StackedAutoencoder | Autoencoder:
        """Return the autoencoder that is asked for, taken out of its frozen wrapper."""
        template = self._resolve("autoencoder", self.autoencoder)
        if not isinstance(template, FrozenEstimator):
            template._validate_params()
            return template
        template = template.estimator
        if not isinstance(template, (StackedAutoencoder, Autoencoder)):
            raise ValueError(
                f"autoencoder=FrozenEstimator({type(template).__name__}) is none of layerwise; freeze a fitted "
                f"StackedAutoencoder or Autoencoder"
            )
        check_is_fitted(template)
        return template

    @property
    def coder_(self) -> Coder:
        """The coder of ``autoencoder_``, which checks rows for this estimator."""
        check_is_fitted(self)
        autoencoder = self.autoencoder_
        coder = autoencoder.coder_
        return replace(coder, check=partial(check_rows, self, dtype=coder.dtype, device=autoencoder.device))

    @with_gradients
    def _pretrain(
        self,
        template: StackedAutoencoder | Autoencoder,
        X: Any,
        weights: Any,
        X_val: Any = None,
        *,
        allow_missing: bool = False,
    ) -> Scans:
        """Set ``autoencoder_``: trained on the rows, or a copy of the frozen one; return the rows as they came."""
        frozen = isinstance(self.autoencoder, FrozenEstimator)
        seen = scan_rows(self, template, X, weights, X_val, reset=True, trained=frozen, allow_missing=allow_missing)
        if frozen:
            if template.n_features_in_ != self.n_features_in_:
                raise ValueError(
                    f"X has {self.n_features_in_} features, but the frozen autoencoder was fitted with "
                    f"{template.n_features_in_}"
                )
            with distributed.agreed():
                compare_columns(template, X)
            self.autoencoder_ = copy.deepcopy(template)
            return seen
        autoencoder = clone(template)
        if autoencoder.random_state is None:
            autoencoder.set_params(random_state=self.random_state)
        own = autoencoder.callbacks
        autoencoder.callbacks = [*(own or ()), *all_callbacks(self)]
        autoencoder._kept = kept_fit(self)
        vars(autoencoder).update({name: vars(self)[name] for name in LEARNED if name in vars(self)})
        self.autoencoder_ = autoencoder._fit(X, seen=seen)
        autoencoder.callbacks = own
        del autoencoder._kept
        return seen
