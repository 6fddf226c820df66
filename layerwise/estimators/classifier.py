"""The estimator that predicts classes: a stack of autoencoders with a softmax head."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any, ClassVar, overload

import numpy as np
import torch
from sklearn.base import ClassifierMixin
from sklearn.frozen import FrozenEstimator
from sklearn.utils import assert_all_finite
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from layerwise import distributed
from layerwise.callbacks import Callback, EarlyStopping
from layerwise.checkpoint import Checkpoint
from layerwise.corruptions import Corruption
from layerwise.estimators._checkpointing import checkpointed
from layerwise.estimators._checks import like_input
from layerwise.estimators._class_weight import balanced_weights, given_weights
from layerwise.estimators._finetuning import FineTunedEstimator
from layerwise.estimators._labels import read_labels, refuse_missing, settle, tell_odd_classes
from layerwise.estimators._linear import fit_logistic
from layerwise.estimators._sklearn_callbacks import relayed
from layerwise.estimators.autoencoder import Autoencoder
from layerwise.estimators.stack import StackedAutoencoder
from layerwise.losses import cross_entropy
from layerwise.penalties import Sparsity
from layerwise.solvers import Solver


class StackedClassifier(ClassifierMixin, FineTunedEstimator):
    """A stack of autoencoders with a softmax head, fine-tuned with labels.

    Fitting pre-trains the stack on the rows, unless it is frozen; trains the head on its codes; and then, unless
    ``finetune="head"``, the layers with it. The last two minimise, with m labelled rows x_i of classes y_i and the
    weights theta of the head::

        -1/m sum_i log p(y_i | x_i)  +  alpha/2 |theta|^2

    With weights w_i, ``sample_weight`` times that of the class of the row, it is
    ``-1/(sum_i w_i) sum_i w_i log p(y_i | x_i)``.

    Parameters
    ----------
    autoencoder : StackedAutoencoder, Autoencoder or FrozenEstimator of a fitted one, default=None
        Cloned and pre-trained on the rows given to `fit`; inside a `sklearn.frozen.FrozenEstimator` it is the
        starting point as it is, and is not changed. None stands for ``StackedAutoencoder()``. Its ``dtype``, ``device``
        and ``cache_size`` hold for the classifier too.
    finetune : {"all", "head"} or int, default="all"
        How many layers labels train, from the head down: ``"head"``, or 0, leaves the encoders as pre-training made
        them (for few labels).
    init : {"zero", "linear"}, default="zero"
        How the network begins. ``"zero"`` trains the head from 0 on the codes, then the layers with it. ``"linear"``
        begins as logistic regression (L2 penalty, its strength by five folds) of the columns: each layer gets one
        more unit for each column, in which its activation is all but linear, and the head begins with the coefficients
        of that model; the pre-trained units begin with zero weights to the head. The head is not trained alone then.
        ``decay="start"`` keeps the network near the linear model.
    alpha : float or list of float, default=1e-4
        Factor of the weight decay of the head, see above. Of a list the one is chosen that is best for the samples that
        ``early_stopping`` holds out; ``history_[-1]["alpha"]`` is the choice.
    decay : {"zero", "start"}, default="zero"
        What decays: the weights of the head, to 0; or all that is trained, to the values that this call of ``fit``
        begins the stage with, ``alpha/2 |theta - theta_0|^2``.
    dropout : float, default=0.0
        Share of the codes of each layer that fine-tuning sets to 0, drawn anew for every batch, the others divided by
        ``1 - dropout``; from 0 to below 1. The head alone, and predictions, have none.
    corruption : Masking, SaltAndPepper, Gaussian or None, default=None
        Noise on the input of the lowest layer that fine-tuning trains.
    sparsity : KLSparsity, L1Sparsity or None, default=None
        Penalty of the last codes in fine-tuning.
    fit_intercept : bool, default=True
        Whether each class has an intercept; it does not decay.
    solver : LBFGS, SGD, Adam, "lbfgs", "sgd" or "adam", default="lbfgs"
        What minimises; a name stands for the default object.
    early_stopping : EarlyStopping or None, default=None
        Ends a stage when the loss of held-out rows stops falling, and keeps the best parameters; with ``refit=True`` it
        is trained again on all rows.
    class_weight : dict, "balanced" or None, default=None
        How much rows of each class count in fine-tuning, beside ``sample_weight``; pre-training, which knows no labels,
        does not heed it. A dict gives weights by class, 1 where there is none. ``"balanced"`` gives
        ``n / (n_classes * n_c)``, where n rows have a label and n_c of them belong to the class, both counted by
        ``sample_weight``. Validation rows are weighted alike. Only proportions matter.
    unlabeled : object, default=None
        The value in ``y`` (for example -1) of rows that have no label and that only pre-training uses;
        ``float("nan")`` stands for NaN, None, ``pandas.NA``, NaT and masked entries.
    warm_start : bool, default=False
        Whether `fit` goes on with fine-tuning from the last fit, with its weights and what the solver has learnt; the
        stack is not pre-trained again.
    random_state : int, RandomState instance or None, default=None
        Draws the initial weights of the stack, if that has no ``random_state`` of its own; and the order of batches and
        the rows to hold out. The head begins at 0.
    callbacks : list of callable or None, default=None
        Each is called with a `layerwise.callbacks.Step` after every iteration, those of pre-training included;
        returning True ends the stage.
    checkpoint : str, path-like, Checkpoint or None, default=None
        Where `fit` keeps itself so that it can go on after an interruption, see `layerwise.Checkpoint`; not with
        ``warm_start``, and `partial_fit` keeps nothing.

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
    history_ : list of dict
        All of this and more, for every stage, those of pre-training included.
    coefs_, intercepts_ : list of ndarray
        Weights of shape (n_inputs, n_outputs) and biases, from the input to the head.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features,)
        Where ``X`` had names.
    column_names_ : ndarray of shape (n_features,)
        As text, where ``X`` had names that are no text and no numbers from 0.

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

    _loss = staticmethod(cross_entropy)

    _parameter_constraints: ClassVar[dict] = FineTunedEstimator._parameter_constraints | {
        "class_weight": [dict, StrOptions({"balanced"}), None],
    }

    def __init__(
        self,
        autoencoder: StackedAutoencoder | Autoencoder | FrozenEstimator | None = None,
        *,
        finetune: str | int = "all",
        init: str = "zero",
        alpha: float | Sequence[float] = 1e-4,
        decay: str = "zero",
        dropout: float = 0.0,
        corruption: Corruption | None = None,
        sparsity: Sparsity | None = None,
        fit_intercept: bool = True,
        solver: Solver | str = "lbfgs",
        early_stopping: EarlyStopping | None = None,
        class_weight: Mapping[Any, float] | str | None = None,
        unlabeled: Any = None,
        warm_start: bool = False,
        random_state: Any = None,
        callbacks: Sequence[Callback] | None = None,
        checkpoint: str | PathLike[str] | Checkpoint | None = None,
    ):
        super().__init__(
            autoencoder,
            finetune=finetune,
            init=init,
            alpha=alpha,
            decay=decay,
            dropout=dropout,
            corruption=corruption,
            sparsity=sparsity,
            fit_intercept=fit_intercept,
            solver=solver,
            early_stopping=early_stopping,
            unlabeled=unlabeled,
            warm_start=warm_start,
            random_state=random_state,
            callbacks=callbacks,
            checkpoint=checkpoint,
        )
        self.class_weight = class_weight

    @relayed
    @checkpointed
    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, *, X_val: Any = None, y_val: Any = None
    ) -> StackedClassifier:
        """Pre-train on the rows, then fine-tune with their labels.

        Parameters
        ----------
        X : array-like, sparse matrix or Tensor of shape (n_samples, n_features)
            uint8 stays uint8 in memory. With a value above 127 it is read as intensities, 0 to 255 as 0 to 1.
        y : array-like of shape (n_samples,)
            Class labels, numbers or strings, also in columns of pandas, polars or Arrow.
        sample_weight : array-like of shape (n_samples,), default=None
            How often each row counts, in pre-training too: a weight of 2 is the row given twice. None is once.
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
            If a parameter is wrong, ``X`` is not finite or, scaled, out of the range of the first layer's output, or
            ``y`` does not fit.
        FloatingPointError
            If an objective overflows at its starting point.
        """
        self._fit(X, y, sample_weight, X_val=X_val, y_val=y_val)
        return self

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> StackedClassifier:
        """Go on with fine-tuning by one iteration on these rows: an epoch of stochastic solvers, a step of L-BFGS.

        The first call pre-trains the stack on its rows, to the end, unless it is frozen.

        Parameters
        ----------
        X : array-like, sparse matrix or Tensor of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
        classes : array-like of shape (n_classes,), default=None
            All classes that any call may see; None takes those of the first call.
        sample_weight : array-like of shape (n_samples,), default=None
            As in `fit`.

        Returns
        -------
        self : StackedClassifier
        """
        if self.class_weight == "balanced":
            raise ValueError(
                "class_weight 'balanced' is not supported for partial_fit. In order to use 'balanced' weights, use "
                "compute_class_weight('balanced', classes=classes, y=y). In place of y you can use a large enough "
                "sample of the full training set target to properly estimate the class frequency distributions. Pass "
                "the resulting weights as the class_weight parameter."
            )
        if not hasattr(self, "network_"):
            self.__dict__.pop("classes_", None)
            if classes is not None:
                known = read_labels(classes, "classes")
                refuse_missing(known, np.ones(len(known), dtype=bool), "classes", remedy="leave them out")
                self.classes_ = np.unique(settle(known, "classes"))
        self._fit(X, y, sample_weight, one_iteration=True)
        return self

    @overload
    def predict(self, X: torch.Tensor) -> Any: ...  # a tensor; classes of text are an array
    @overload
    def predict(self, X: Any) -> np.ndarray: ...
    def predict(self, X: Any) -> Any:
        """Return the most probable class of each row.

        Parameters
        ----------
        X : array-like, sparse matrix or Tensor of shape (n_samples, n_features)

        Returns
        -------
        y : ndarray of shape (n_samples,); or a Tensor, where ``X`` is one and classes are numbers
        """
        best = self._outputs(X).argmax(dim=1)
        classes = self.classes_[best.cpu().numpy()]
        return like_input(classes, X) if classes.dtype.kind in "biuf" and isinstance(X, torch.Tensor) else classes

    @overload
    def predict_proba(self, X: torch.Tensor) -> torch.Tensor: ...
    @overload
    def predict_proba(self, X: Any) -> np.ndarray: ...
    def predict_proba(self, X: Any) -> Any:
        """Return the probability of each class.

        Parameters
        ----------
        X : array-like, sparse matrix or Tensor of shape (n_samples, n_features)

        Returns
        -------
        p : ndarray or Tensor of shape (n_samples, n_classes)
            In the order of ``classes_``.
        """
        return like_input(self._outputs(X).softmax(dim=1), X)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the share of rows whose class is predicted.

        Parameters
        ----------
        X : array-like, sparse matrix or Tensor of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
            The true classes; none may be missing.
        sample_weight : array-like of shape (n_samples,), default=None
            How often each row counts.

        Returns
        -------
        score : float
            From 0 to 1.
        """
        return super().score(X, self._read_all(X, y, "X", "y"), sample_weight)

    @property
    def _n_outputs(self) -> int:
        return len(self.classes_)

    def _check_y(self, y: Any) -> np.ndarray:
        return column_or_1d(y, warn=True)

    def _learn_targets(self, y: np.ndarray, weights: np.ndarray | None, *, goes_on: bool, one_iteration: bool) -> None:
        """Learn the classes of all ranks, unless they are given or known."""
        with distributed.agreed():
            if y.dtype.kind == "f":
                assert_all_finite(y, input_name="y")
            if len(y):
                check_classification_targets(y)
        if goes_on or (one_iteration and hasattr(self, "classes_")):
            return
        self.classes_ = distributed.unique(y)
        if len(self.classes_) < 2:
            found = ", ".join(map(str, self.classes_)) or "none"
            raise ValueError(f"y holds one class only ({found}), but a classifier needs at least two")
        told = tell_odd_classes(self.classes_, self.unlabeled)
        if told and distributed.rank() == 0:
            warnings.warn(told, UserWarning, stacklevel=2)

    def _learn_target_weights(self, y: np.ndarray, weights: np.ndarray | None) -> np.ndarray | None:
        """Return the weight of each class."""
        if self.class_weight is None:
            return None
        if isinstance(self.class_weight, Mapping):
            return given_weights(self.class_weight, self.classes_)
        return balanced_weights(np.searchsorted(self.classes_, y), weights, len(self.classes_))

    def _fit_linear(
        self, scores: np.ndarray, targets: np.ndarray, weights: np.ndarray | None, seed: int
    ) -> tuple[np.ndarray, np.ndarray]:
        return fit_logistic(
            scores, targets[:, 0].astype(int), len(self.classes_), weights, fit_intercept=self.fit_intercept, seed=seed
        )

    def _encode_targets(self, y: np.ndarray, name: str) -> torch.Tensor:
        """Return the index of the class of each row, of shape (n_samples,)."""
        unknown = np.setdiff1d(y, self.classes_)
        if len(unknown):
            classes = ", ".join(map(str, self.classes_))
            raise ValueError(f"{name} holds {unknown[0]}, which is none of the classes: {classes}")
        return torch.from_numpy(np.searchsorted(self.classes_, y))
