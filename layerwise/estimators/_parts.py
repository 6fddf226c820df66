"""Parameters of parts by name: ``solver__max_iter``, ``sparsity__weight``."""

from __future__ import annotations

from typing import Any, Self

from sklearn.base import BaseEstimator

from layerwise.estimators._checks import refuse_flags
from layerwise.estimators._plain_state import as_plain, from_plain
from layerwise.estimators._sklearn_callbacks import CallbackSupportMixin
from layerwise.solvers import SOLVERS


class ComposedEstimator(CallbackSupportMixin, BaseEstimator):
    """Lets ``get_params`` and ``set_params`` reach into parts that are given by a name, such as ``solver="adam"``."""

    def __getstate__(self) -> dict[str, Any]:
        """Return the attributes with arrays in place of modules and tensors."""
        return as_plain(super().__getstate__())

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over what `__getstate__` gave; the modules are built anew."""
        super().__setstate__(from_plain(state))

    def _resolve(self, name: str, part: Any) -> Any:
        """Return the object that the value of a parameter stands for."""
        return SOLVERS[part]() if name == "solver" and isinstance(part, str) and part in SOLVERS else part

    def _validate_params(self) -> None:
        refuse_flags(self)
        super()._validate_params()

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Get the parameters of this estimator and, if ``deep``, of its parts as ``part__name``.

        Parameters
        ----------
        deep : bool, default=True

        Returns
        -------
        params : dict
        """
        params = super().get_params(deep=deep)
        if deep:
            for name in self._get_param_names():
                part = self._resolve(name, params[name])
                if part is not params[name]:
                    params |= {f"{name}__{key}": value for key, value in part.get_params().items()}
        return params

    def set_params(self, **params: Any) -> Self:
        """Set parameters of this estimator, and of its parts as ``part__name``.

        Parameters
        ----------
        **params : dict

        Returns
        -------
        self : estimator instance
        """
        for name in {key.partition("__")[0] for key in params if "__" in key} & set(self._get_param_names()):
            value = params.get(name, getattr(self, name))
            part = self._resolve(name, value)
            if not hasattr(part, "set_params"):
                nested = next(key for key in params if key.startswith(f"{name}__"))
                raise ValueError(
                    f"{nested}={params[nested]!r} cannot be set: {name}={value!r} of {type(self).__name__} has no "
                    f"parameters; set {name} to an object first"
                )
            if part is not value:
                params[name] = part
        return super().set_params(**params)
