"""Estimators that predict: a stack of autoencoders with a head."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_array, column_or_1d

from layerwise.estimators._checks import DTYPES, check_same_length, to_array
from layerwise.estimators._finetuning import FineTunedEstimator, find_labelled
from layerwise.losses import cross_entropy, squared_error


class StackedClassifier(ClassifierMixin, FineTunedEstimator):
    """A stack of autoencoders with a softmax head, fine-tuned with labels.

    Fitting pre-trains the stack on the rows, unless it is frozen; trains the head on its codes; and then, unless
    ``finetune="head"``, the layers with it. The last two minimise, with m labelled rows x_i of classes y_i and the
    weights theta of the head::

        -1/m sum_i log p(y_i | x_i)  +  alpha/2 |theta|^2

    Parameters
    ----------
    autoencoder : StackedAutoencoder, Autoencoder or FrozenEstimator of a fitted one, default=None
        Cloned and pre-trained on the rows given to `fit`; inside a `sklearn.frozen.FrozenEstimator` it is the
        starting point as it is, and is not changed. None stands for ``StackedAutoencoder()``. Its ``dtype``, ``device``
        and ``cache_size`` hold for the classifier too.
    finetune : {"all", "head"} or int, default="all"
        How many layers labels train, from the head down: ``"head"``, or 0, leaves the encoders as pre-training made
        them (for few labels).
    alpha : float, default=1e-4
        Factor of the weight decay of the head, see above.
    fit_intercept : bool, default=True
        Whether each class has an intercept; it does not decay.
    solver : LBFGS, SGD, Adam, "lbfgs", "sgd" or "adam", default="lbfgs"
        What minimises; a name stands for the default object.
    early_stopping : EarlyStopping or None, default=None
        Ends a stage when the loss of held-out rows stops falling, and keeps the best parameters.
    unlabeled : object, default=None
        The value in ``y`` (for example -1) of rows that have no label and that only pre-training uses.
    random_state : int, RandomState instance or None, default=None
        Draws the initial weights of the stack, if that has no ``random_state`` of its own; and the order of batches and
        the rows to hold out. The head begins at 0.
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
    loss_curve_, validation_loss_curve_ : list of float
        The objective, and the loss of the validation rows, after every iteration of the last stage.
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

    def fit(self, X: Any, y: Any, *, X_val: Any = None, y_val: Any = None) -> StackedClassifier:
        """Pre-train on the rows, then fine-tune with their labels.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            uint8 is read as intensities from 0 to 255 and scaled to [0, 1]; it stays uint8 in memory.
        y : array-like of shape (n_samples,)
            Class labels, numbers or strings.
        X_val : array-like of shape (n_validation, n_features), default=None
            Rows to follow the loss of, for early stopping if that is asked for; None holds out a share for it.
        y_val : array-like of shape (n_validation,), default=None
            Their labels.

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
        check_same_length(X, y, "X", "y")
        y = column_or_1d(y, warn=True)
        labelled = find_labelled(y, self.unlabeled)
        check_classification_targets(y[labelled])
        self.classes_, indices = np.unique(y[labelled], return_inverse=True)
        if len(self.classes_) < 2:
            found = ", ".join(map(str, self.classes_)) or "none"
            raise ValueError(f"y holds one class only ({found}), but a classifier needs at least two")
        validation = None
        if X_val is None and y_val is not None:
            raise ValueError("y_val is given without X_val, the rows that it belongs to")
        if X_val is not None:
            check_same_length(X_val, y_val, "X_val", "y_val")
            y_val = column_or_1d(y_val)
            unknown = np.setdiff1d(y_val, self.classes_)
            if len(unknown):
                classes = ", ".join(map(str, self.classes_))
                raise ValueError(f"y_val holds {unknown[0]}, which is no class of y; those are {classes}")
            validation = (X_val, torch.from_numpy(np.searchsorted(self.classes_, y_val)))
        self._fit(X, torch.from_numpy(indices.astype(np.int64)), labelled, cross_entropy, validation)
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
        best = self._outputs(X).argmax(dim=1)
        return self.classes_[best.cpu().numpy()]

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
        return to_array(self._outputs(X).softmax(dim=1), X)

    @property
    def _n_outputs(self) -> int:
        return len(self.classes_)

    def _initial_outputs(self, targets: torch.Tensor) -> torch.Tensor:
        return torch.zeros(self._n_outputs)


class StackedRegressor(RegressorMixin, FineTunedEstimator):
    """A stack of autoencoders with a linear head, fine-tuned with targets.

    Fitting pre-trains the stack on the rows, unless it is frozen; trains the head on its codes; and then, unless
    ``finetune="head"``, the layers with it. The last two minimise, with m labelled rows of targets y_i, outputs y^_i
    and the weights theta of the head::

        1/(2m) sum_i |y^_i - y_i|^2  +  alpha/2 |theta|^2

    Targets are taken as they are; where they are far from the size of 1, wrap this in
    `sklearn.compose.TransformedTargetRegressor`.

    Parameters
    ----------
    autoencoder : StackedAutoencoder, Autoencoder or FrozenEstimator of a fitted one, default=None
        Cloned and pre-trained on the rows given to `fit`; inside a `sklearn.frozen.FrozenEstimator` it is the
        starting point as it is, and is not changed. None stands for ``StackedAutoencoder()``. Its ``dtype``, ``device``
        and ``cache_size`` hold for the regressor too.
    finetune : {"all", "head"} or int, default="all"
        How many layers targets train, from the head down: ``"head"``, or 0, leaves the encoders as pre-training made
        them (for few labels).
    alpha : float, default=1e-4
        Factor of the weight decay of the head, see above.
    fit_intercept : bool, default=True
        Whether each output has an intercept; it does not decay, and begins at the mean of its target.
    solver : LBFGS, SGD, Adam, "lbfgs", "sgd" or "adam", default="lbfgs"
        What minimises; a name stands for the default object.
    early_stopping : EarlyStopping or None, default=None
        Ends a stage when the loss of held-out rows stops falling, and keeps the best parameters.
    unlabeled : object, default=None
        The value in ``y`` (for example ``float("nan")``) of rows that have no target and that only pre-training uses.
    random_state : int, RandomState instance or None, default=None
        Draws the initial weights of the stack, if that has no ``random_state`` of its own; and the order of batches and
        the rows to hold out. The head's weights begin at 0.
    callbacks : list of callable or None, default=None
        Each is called with a `layerwise.callbacks.Step` after every iteration, those of pre-training included;
        returning True ends the stage.

    Attributes
    ----------
    autoencoder_ : StackedAutoencoder or Autoencoder
        The stack as pre-training left it.
    network_ : layerwise.modules.StackedNetwork
        The trained torch module.
    n_outputs_ : int or None
        Columns of ``y``; None where it had one axis.
    loss_, loss_curve_, validation_loss_curve_, n_iter_, n_evaluations_, converged_
        The record of the last stage, as in `StackedClassifier`.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Where ``X`` had names.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.preprocessing import minmax_scale
    >>> from layerwise import Autoencoder, LBFGS, StackedRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> autoencoder = Autoencoder(8, solver=LBFGS(max_iter=50))
    >>> regressor = StackedRegressor(autoencoder, solver=LBFGS(max_iter=100), random_state=0)
    >>> regressor.fit(minmax_scale(X), y / 100).score(minmax_scale(X), y / 100) > 0.4
    True
    """

    def fit(self, X: Any, y: Any, *, X_val: Any = None, y_val: Any = None) -> StackedRegressor:
        """Pre-train on the rows, then fine-tune with their targets.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            uint8 is read as intensities from 0 to 255 and scaled to [0, 1]; it stays uint8 in memory.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        X_val : array-like of shape (n_validation, n_features), default=None
            Rows to follow the loss of, for early stopping if that is asked for; None holds out a share for it.
        y_val : array-like of shape (n_validation,) or (n_validation, n_outputs), default=None
            Their targets.

        Returns
        -------
        self : StackedRegressor

        Raises
        ------
        ValueError
            If a parameter is wrong, ``X`` is not finite or out of range, or ``y`` does not fit.
        FloatingPointError
            If an objective overflows at its starting point.
        """
        self._validate_params()
        check_same_length(X, y, "X", "y")
        y = np.asarray(y)
        labelled = find_labelled(y, self.unlabeled)
        targets = self._check_targets(y[labelled], "y")
        self.n_outputs_ = None if y.ndim == 1 else y.shape[1]
        validation = None
        if X_val is None and y_val is not None:
            raise ValueError("y_val is given without X_val, the rows that it belongs to")
        if X_val is not None:
            check_same_length(X_val, y_val, "X_val", "y_val")
            y_val = np.asarray(y_val)
            if y_val.shape[1:] != y.shape[1:]:
                raise ValueError(f"y_val has shape {y_val.shape}, but y has {y.shape}; they must have the same columns")
            validation = (X_val, self._check_targets(y_val, "y_val"))
        self._fit(X, targets, labelled, squared_error, validation)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Return the outputs for each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            As ``y`` was in `fit`.
        """
        outputs = self._outputs(X).cpu().numpy()
        return outputs[:, 0] if self.n_outputs_ is None else outputs

    @property
    def _n_outputs(self) -> int:
        return self.n_outputs_ or 1

    def _check_targets(self, y: np.ndarray, name: str) -> torch.Tensor:
        """Return targets of shape (n_samples, n_outputs) in the type of the computation."""
        y = check_array(y, ensure_2d=False, dtype=np.float64, input_name=name)
        return torch.from_numpy(y.reshape(len(y), -1)).to(DTYPES[self._template().dtype])

    def _initial_outputs(self, targets: torch.Tensor) -> torch.Tensor:
        return targets.double().mean(dim=0)
