"""What a fit leaves behind: the record of its stages, and what is to be said of them."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state

from layerwise import distributed
from layerwise.callbacks import Callback, Step, call_all
from layerwise.estimators._checkpointing import kept_fit
from layerwise.solvers import Status
from layerwise.stages import Stage, Training

# What to do about stages that did not converge, the worst first.
_REMEDIES = {
    Status.DIVERGED: "Lower learning_rate_init",
    Status.STILL: "Raise learning_rate_init, or lower a penalty that is very large",
    Status.MAX_ITER: "Raise max_iter of the solver, or its tol",
}


class RecordMixin:
    """The fitted attributes that tell how training went: those of the last stage, and ``history_`` of all."""

    history_: list[dict[str, Any]]

    def _last(self, name: str) -> Any:
        """Return an entry of the record of the last stage."""
        if not self.history_:
            raise AttributeError(
                f"{type(self).__name__} has no {name}_: its weights came from elsewhere, and nothing is known of their "
                f"training"
            )
        return self.history_[-1][name]

    @property
    def loss_(self) -> float:
        """The objective over all rows, at the end."""
        return self._last("loss")

    @property
    def loss_curve_(self) -> list[float]:
        """The objective after every iteration; of stochastic solvers its average over each epoch."""
        return self._last("loss_curve")

    @property
    def validation_loss_curve_(self) -> list[float]:
        """The loss of the validation rows after every iteration; empty without such."""
        return self._last("validation_loss_curve")

    @property
    def n_iter_(self) -> int:
        """Steps of the solver; epochs of stochastic ones."""
        return self._last("n_iter")

    @property
    def n_evaluations_(self) -> int:
        """Evaluations of the objective; batches of stochastic solvers."""
        return self._last("n_evaluations")

    @property
    def converged_(self) -> bool:
        """Whether a minimum was found, as far as the tolerances and the arithmetic allow."""
        return self._last("converged")


def describe(stage: Stage, earlier: Sequence[dict[str, Any]] = ()) -> dict[str, Any]:
    """Return the record of a stage, joined to the last of the same name among the earlier ones."""
    record = {
        "stage": stage.name,
        "loss": stage.loss,
        "loss_curve": stage.loss_curve,
        "validation_loss_curve": stage.validation_loss_curve,
        "n_iter": stage.n_iter,
        "n_evaluations": stage.n_evaluations,
        "seconds": stage.seconds,
        "converged": stage.converged,
        "status": stage.status.value,
    }
    if stage.alpha is not None:
        record["alpha"] = stage.alpha
    for before in [before for before in earlier if before["stage"] == stage.name][-1:]:
        for name in ("loss_curve", "validation_loss_curve", "n_iter", "n_evaluations", "seconds"):
            record[name] = before[name] + record[name]
    return record


def all_callbacks(estimator: Any) -> list[Callback]:
    """Return the callbacks of an estimator, and what tells those of scikit-learn."""
    relay = vars(estimator).get("_relay")
    return [*(estimator.callbacks or ()), *([] if relay is None else [relay])]


def make_training(
    estimator: Any, cache_size: float, *, states: Mapping[str, Any] | None, one_iteration: bool
) -> Training:
    """Return what the stages of a fit share; the seed is that of rank 0."""
    seed = check_random_state(estimator.random_state).randint(np.iinfo(np.int32).max)
    seed = distributed.gather_counts([int(seed)])[0]
    kept = kept_fit(estimator)
    callbacks = all_callbacks(estimator)
    for callback in callbacks:
        if not callable(callback):
            raise ValueError(
                f"callbacks holds {callback!r}, which cannot be called; a callback takes a Step (early stopping has a "
                f"parameter of its own, early_stopping)"
            )
    return Training(
        callback=call_all([*callbacks, _stop] if one_iteration else callbacks),
        seed=seed if kept is None else kept.seed(seed),
        cache_bytes=int(min(cache_size * 1e6, sys.maxsize)),
        states=states or {},
        keeper=kept,
    )


def keep_states(estimator: Any, stages: Sequence[Stage], *, one_iteration: bool) -> None:
    """Keep what the solvers have learnt, where a later call may go on with it."""
    vars(estimator).pop("_states", None)
    if estimator.warm_start or one_iteration:
        kept = {stage.name: (stage.state, stage.running) for stage in stages if stage.state is not None}
        estimator._states = kept


def _stop(step: Step) -> bool:
    return True


def warn_unless_converged(estimator: BaseEstimator, stages: Sequence[Stage]) -> None:
    """Warn once about all stages that used up their iterations or went wrong; who stops one knows it."""
    unfinished = [stage for stage in stages if stage.status in _REMEDIES]
    if unfinished:
        reasons = "; ".join(f"{stage.name} {_reason(stage)}" for stage in unfinished)
        remedy = next(_REMEDIES[status] for status in _REMEDIES if any(stage.status is status for stage in unfinished))
        warnings.warn(
            f"{type(estimator).__name__} did not converge: {reasons}. {remedy}.",
            ConvergenceWarning,
            stacklevel=4,
        )


def _reason(stage: Stage) -> str:
    gradient = "" if stage.max_gradient is None else f", max |gradient| {stage.max_gradient:.2g}"
    return f"{stage.status.value} (loss {stage.loss:.6g}{gradient})"
