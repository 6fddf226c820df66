"""Estimators that predict: a stack of autoencoders with a head."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from numbers import Real
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d

from layerwise import stacking
from layerwise.callbacks import Callback, call_all
from layerwise.estimators._checks import (
    DTYPES,
    check_rows,
    check_solver,
    keep_record,
    to_array,
    warn_unless_converged,
)
from layerwise.estimators.transformers import Autoencoder, StackedAutoencoder
from layerwise.modules import StackedNetwork, softmax_head
from layerwise.solvers import LBFGS, SOLVERS


class StackedClassifier(ClassifierMixin, BaseEstimator):
    """A stack of autoencoders with a softmax head, fine-tuned with labels.

    Fitting pre-trains the stack on the rows, unless it is frozen; trains the head on its codes; and then, unless
    ``finetune="head"``, the whole network from there. The last two minimise, with m rows x_i of classes y_i and the
    weights theta of the head::

        -1/m sum_i log p(y_i | x_i)  +  alpha/2 |theta|^2

    Parameters
    ----------
    autoencoder : StackedAutoencoder, Autoencoder or FrozenEstimator of a fitted one, default=None
        Cloned and pre-trained on the rows given to `fit`; inside a `sklearn.frozen.FrozenEstimator` it is the
        starting point as it is, and is not changed. None stands for ``StackedAutoencoder()``. Its ``dtype`` and
        ``device`` hold for the classifier too.
    finetune : {"all", "head"}, default="all"
        ``"head"`` leaves the encoders as pre-training made them (for few labels).
    alpha : float, default=1e-4
        Factor of the weight decay of the head, see above.
    fit_intercept : bool, default=True
        Whether each class has an intercept; it does not decay.
    solver : LBFGS or "lbfgs", default="lbfgs"
        What minimises; the name stands for the default object.
    random_state : int, RandomState instance or None, default=None
        Draws the initial weights of the stack, if that has no ``random_state`` of its own. The head begins at 0.
    callbacks : list of callable or None, default=None
        Each is called with a `layerwise.callbacks.Step` after every iteration, those of pre-training included;
        returning True ends the stage.

    Attributes
    ----------
    autoencoder_ : StackedAutoencoder or Autoencoder
        The stack as pre-training left it.
    network_ : layerwise.modules.StackedNetwork
        The trained torch module.
    classes_ : ndarray of shape (n_classes,)
    loss_ : float
        The objective at the end.
    loss_curve_ : list of float
        The objective after every iteration of the last stage.
    n_iter_, n_evaluations_ : int
        Steps of the solver, and evaluations of the objective, in the last stage.
    converged_ : bool
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Where ``X`` had names.

    References
    ----------
    A. Ng et al., "UFLDL tutorial", exercise "Implement deep networks for digit classification", 2011.

    Examples
    --------
    >>> from layerwise import Autoencoder, LBFGS, StackedAutoencoder, StackedClassifier
    >>> from layerwise.data import load_mnist_small
    >>> X_train, y_train, X_test, y_test = load_mnist_small()
    >>> stack = StackedAutoencoder([Autoencoder(50, solver=LBFGS(max_iter=10))])
    >>> classifier = StackedClassifier(stack, solver=LBFGS(max_iter=30), random_state=0)
    >>> classifier.fit(X_train[::5], y_train[::5]).score(X_test, y_test) > 0.8
    True
    """

    _parameter_constraints: ClassVar[dict] = {
        "autoencoder": [StackedAutoencoder, Autoencoder, FrozenEstimator, None],
        "finetune": [StrOptions({"all", "head"})],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "fit_intercept": ["boolean"],
        "solver": [LBFGS, StrOptions(set(SOLVERS))],
        "random_state": ["random_state"],
        "callbacks": [list, tuple, None],
    }

    def __init__(
        self,
        autoencoder: StackedAutoencoder | Autoencoder | FrozenEstimator | None = None,
        *,
        finetune: str = "all",
        alpha: float = 1e-4,
        fit_intercept: bool = True,
        solver: LBFGS | str = "lbfgs",
        random_state: Any = None,
        callbacks: Sequence[Callback] | None = None,
    ):
        self.autoencoder = autoencoder
        self.finetune = finetune
        self.alpha = alpha
        self.fit_intercept = fit_intercept
        self.solver = solver
        self.random_state = random_state
        self.callbacks = callbacks

    def fit(self, X: Any, y: Any) -> StackedClassifier:
        """Pre-train on the rows, then fine-tune with their labels.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            uint8 is read as intensities from 0 to 255 and scaled to [0, 1]; it stays uint8 in memory.
        y : array-like of shape (n_samples,)
            Class labels, numbers or strings.

        Returns
        -------
        self : StackedClassifier

        Raises
        ------
        ValueError
            If a parameter is wrong, ``X`` is not finite or out of range, or ``y`` does not fit.
        FloatingPointError
            If an objective overflows at its starting point.
        """
        self._validate_params()
        solver = check_solver(self.solver)
        template = self._template()
        rows = check_rows(self, X, dtype=template.dtype, device=template.device, reset=True)
        targets = self._check_targets(y, len(rows))
        self.autoencoder_ = self._pretrain(template, X)
        self.network_ = self._build().to(rows.device)
        stages = stacking.finetune(
            self.network_,
            rows,
            targets,
            solver,
            depth=self.finetune,
            alpha=self.alpha,
            callback=call_all(self.callbacks),
        )
        keep_record(self, stages[-1])
        warn_unless_converged(self, stages)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable class of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        y : ndarray of shape (n_samples,)
        """
        rows = self._check_rows(X)
        return self.classes_[stacking.apply(self.network_, rows).argmax(dim=1).cpu().numpy()]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probability of each class.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        p : ndarray of shape (n_samples, n_classes)
            In the order of ``classes_``.
        """
        rows = self._check_rows(X)
        return to_array(stacking.apply(self.network_, rows).softmax(dim=1), X)

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

    def _check_rows(self, X: Any) -> Any:
        check_is_fitted(self)
        return check_rows(self, X, dtype=self.autoencoder_.dtype, device=self.autoencoder_.device)

    def _check_targets(self, y: Any, n_samples: int) -> torch.Tensor:
        """Set ``classes_`` and return the index of the class of each row."""
        y = column_or_1d(y, warn=True)
        if len(y) != n_samples:
            raise ValueError(f"X has {n_samples} rows, but y has {len(y)} labels; each row needs one")
        check_classification_targets(y)
        self.classes_, indices = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"y holds one class only ({self.classes_[0]!r}), but a classifier needs at least two")
        return torch.from_numpy(indices.astype(np.int64, copy=False))

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

    def _pretrain(self, template: StackedAutoencoder | Autoencoder, X: Any) -> StackedAutoencoder | Autoencoder:
        if isinstance(self.autoencoder, FrozenEstimator):
            if template.n_features_in_ != self.n_features_in_:
                raise ValueError(
                    f"X has {self.n_features_in_} features, but the frozen autoencoder was fitted with "
                    f"{template.n_features_in_}"
                )
            return template
        autoencoder = clone(template)
        if self.callbacks is not None:
            autoencoder.set_params(callbacks=self.callbacks)
        if autoencoder.random_state is None:
            autoencoder.set_params(random_state=self.random_state)
        return autoencoder.fit(X)

    def _empty_modules(self) -> dict[str, torch.nn.Module]:
        """Return modules of the right shape for the fitted attributes that are modules."""
        return {"network_": self._build()}

    def _build(self) -> StackedNetwork:
        """Return a network that begins with copies of the trained layers, and a new head."""
        layers = copy.deepcopy(self.autoencoder_._modules())
        head = softmax_head(
            layers[-1].n_hidden,
            len(self.classes_),
            bias=self.fit_intercept,
            dtype=DTYPES[self.autoencoder_.dtype],
        )
        return StackedNetwork(layers, head)
