"""The callbacks of scikit-learn 1.9 and later (`sklearn.callback`), told what ours are told; before that, nothing."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # scikit-learn before 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Stands in for that of scikit-learn."""

    def with_callbacks(method: Callable[..., Any]) -> Callable[..., Any]:
        """Return the method as it is."""
        return method


from layerwise.callbacks import Step

Fit = TypeVar("Fit", bound=Callable[..., Any])


class Relay:
    """A callback of ours that passes every step on: a task for each stage, and one in it for each iteration.

    Parameters
    ----------
    estimator : estimator
        Whose `fit` runs within `relayed`.
    **data : dict
        ``X``, ``y`` and ``metadata`` of that fit, which scikit-learn's callbacks may ask for.

    Attributes
    ----------
    fitted_attributes : callable or None
        Once an estimator could be used, returns the fitted attributes that it would have if training ended now.
    """

    def __init__(self, estimator: Any, **data: Any):
        self.fitted_attributes: Callable[[], dict[str, Any]] | None = None
        self._estimator, self._data = estimator, data
        self._root = estimator._init_callback_context(max_subtasks=None)
        self._root.call_on_fit_task_begin(estimator=estimator, **data)
        self._stage: Any = None

    def __deepcopy__(self, memo: dict) -> Relay:
        """Be shared by the clones of an estimator."""
        return self

    def __call__(self, step: Step) -> bool:
        """Pass a step on; True stops."""
        if self._stage is None:
            self._stage = self._root.subcontext(task_name=step.stage, max_subtasks=step.max_iter)
            self._stage.call_on_fit_task_begin(estimator=self._estimator, **self._data)
        if step.status is not None:
            self._end(self._stage)
            self._stage = None
            return False
        iteration = self._stage.subcontext(task_name="iteration")
        iteration.call_on_fit_task_begin(estimator=self._estimator, **self._data)
        return self._end(iteration)

    def finish(self) -> None:
        """Say that the fit is over."""
        self._root.call_on_fit_task_end(estimator=self._estimator, reconstruction_attributes={}, **self._data)

    def _end(self, context: Any) -> bool:
        attributes = self.fitted_attributes
        # A deep copy: training goes on in the modules.
        copied = None if attributes is None else lambda: copy.deepcopy(attributes())
        return context.call_on_fit_task_end(estimator=self._estimator, reconstruction_attributes=copied, **self._data)


def relayed(fit: Fit) -> Fit:
    """Let the ``fit(X, y, sample_weight)`` of an estimator tell scikit-learn's callbacks, if it has such."""

    @with_callbacks
    @functools.wraps(fit)
    def run(self: Any, X: Any, y: Any = None, sample_weight: Any = None, **others: Any) -> Any:
        if not getattr(self, "_skl_callbacks", None) and not hasattr(self, "_parent_callback_ctx"):
            return fit(self, X, y, sample_weight, **others)
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        self._relay = Relay(self, X=X, y=y, metadata=metadata)
        try:
            fit(self, X, y, sample_weight, **others)
            self._relay.finish()
        finally:
            del self._relay
        return self

    return cast(Fit, run)
