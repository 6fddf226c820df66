"""The estimator that predicts numbers: a stack of autoencoders with a linear head."""

from __future__ import annotations

from typing import Any, overload

import numpy as np
import torch
from sklearn.base import RegressorMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_array

from layerwise import distributed
from layerwise.data.repetition import merge_repeated
from layerwise.data.rows import Rows
from layerwise.data.scaling import Scaling, learn_scaling
from layerwise.estimators._checkpointing import checkpointed
from layerwise.estimators._checks import column_ranges, like_input, min_samples
from layerwise.estimators._finetuning import FineTunedEstimator
from layerwise.estimators._labels import read_numbers
from layerwise.estimators._linear import fit_ridge
from layerwise.estimators._sklearn_callbacks import relayed
from layerwise.losses import squared_error


class StackedRegressor(RegressorMixin, FineTunedEstimator):
    """A stack of autoencoders with a linear head, fine-tuned with targets.

    Fitting pre-trains the stack on the rows, unless it is frozen; trains the head on its codes; and then, unless
    ``finetune="head"``, the layers with it. The last two minimise, with m labelled rows of targets y_i, outputs y^_i
    and the weights theta of the head::

        1/(2m) sum_i |y^_i - y_i|^2  +  alpha/2 |theta|^2

    where each target is scaled to mean 0 and standard deviation 1; `predict` and `score` are in the units of the
    targets.

    Parameters
    ----------
    autoencoder : StackedAutoencoder, Autoencoder or FrozenEstimator of a fitted one, default=None
        Cloned and pre-trained on the rows given to `fit`; inside a `sklearn.frozen.FrozenEstimator` it is the
        starting point as it is, and is not changed. None stands for ``StackedAutoencoder()``. Its ``dtype``, ``device``
        and ``cache_size`` hold for the regressor too.
    finetune : {"all", "head"} or int, default="all"
        How many layers targets train, from the head down: ``"head"``, or 0, leaves the encoders as pre-training made
        them (for few labels).
    init : {"zero", "linear"}, default="zero"
        How the network begins. ``"zero"`` trains the head from 0 on the codes, then the layers with it. ``"linear"``
        begins as ridge regression (its penalty by cross-validation) of the columns: each layer gets one
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
        Whether each output has an intercept; it does not decay.
    solver : LBFGS, SGD, Adam, "lbfgs", "sgd" or "adam", default="lbfgs"
        What minimises; a name stands for the default object.
    early_stopping : EarlyStopping or None, default=None
        Ends a stage when the loss of held-out rows stops falling, and keeps the best parameters; with ``refit=True`` it
        is trained again on all rows.
    unlabeled : object, default=None
        The value in ``y`` (for example ``float("nan")``, which stands for None, ``pandas.NA`` and masked entries too)
        of rows that have no target and that only pre-training uses.
    warm_start : bool, default=False
        Whether `fit` goes on with fine-tuning from the last fit, with its weights and what the solver has learnt; the
        stack is not pre-trained again.
    random_state : int, RandomState instance or None, default=None
        Draws the initial weights of the stack, if that has no ``random_state`` of its own; and the order of batches and
        the rows to hold out. The head's weights begin at 0.
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
    n_outputs_ : int or None
        Columns of ``y``; None where it had one axis.
    target_scaling_ : layerwise.data.scaling.Scaling
        How targets are scaled.
    loss_, loss_curve_, validation_loss_curve_, n_iter_, n_evaluations_, converged_
        The record of the last stage, as in `StackedClassifier`.
    history_ : list of dict
        All of this and more, for every stage, those of pre-training included.
    coefs_, intercepts_ : list of ndarray
        Weights of shape (n_inputs, n_outputs) and biases, from the scaled input to the scaled targets.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features,)
        Where ``X`` had names.
    column_names_ : ndarray of shape (n_features,)
        As text, where ``X`` had names that are no text and no numbers from 0.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from layerwise import Autoencoder, LBFGS, StackedRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> autoencoder = Autoencoder(8, solver=LBFGS(max_iter=50))
    >>> regressor = StackedRegressor(autoencoder, solver=LBFGS(max_iter=100), random_state=0)
    >>> regressor.fit(X, y).score(X, y) > 0.4
    True
    """

    _loss = staticmethod(squared_error)

    @relayed
    @checkpointed
    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, *, X_val: Any = None, y_val: Any = None
    ) -> StackedRegressor:
        """Pre-train on the rows, then fine-tune with their targets.

        Parameters
        ----------
        X : array-like, sparse matrix or Tensor of shape (n_samples, n_features)
            uint8 stays uint8 in memory. With a value above 127 it is read as intensities, 0 to 255 as 0 to 1.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like of shape (n_samples,), default=None
            How often each row counts, in pre-training too: a weight of 2 is the row given twice. None is once.
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
            If a parameter is wrong, ``X`` is not finite or, scaled, out of the range of the first layer's output, or
            ``y`` does not fit.
        FloatingPointError
            If an objective overflows at its starting point.
        """
        self._fit(X, y, sample_weight, X_val=X_val, y_val=y_val)
        return self

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> StackedRegressor:
        """Go on with fine-tuning by one iteration on these rows: an epoch of stochastic solvers, a step of L-BFGS.

        The first call pre-trains the stack on its rows, to the end, unless it is frozen.

        Parameters
        ----------
        X : array-like, sparse matrix or Tensor of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like of shape (n_samples,), default=None
            As in `fit`.

        Returns
        -------
        self : StackedRegressor
        """
        self._fit(X, y, sample_weight, one_iteration=True)
        return self

    @overload
    def predict(self, X: torch.Tensor) -> torch.Tensor: ...
    @overload
    def predict(self, X: Any) -> np.ndarray: ...
    def predict(self, X: Any) -> Any:
        """Return the outputs for each row.

        Parameters
        ----------
        X : array-like, sparse matrix or Tensor of shape (n_samples, n_features)

        Returns
        -------
        y : ndarray or Tensor of shape (n_samples,) or (n_samples, n_outputs)
            As ``y`` was in `fit`.
        """
        outputs = self._outputs(X).double()
        outputs = self.target_scaling_.inverse(outputs.to(self.target_scaling_.center.device))
        return like_input(outputs[:, 0] if self.n_outputs_ is None else outputs, X)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the coefficient of determination R^2 of the predictions.

        Parameters
        ----------
        X : array-like, sparse matrix or Tensor of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            The true targets; none may be missing.
        sample_weight : array-like of shape (n_samples,), default=None
            How often each row counts.

        Returns
        -------
        score : float
            At most 1; 0 is that of the mean of ``y``.
        """
        return super().score(X, self._read_all(X, y, "X", "y"), sample_weight)

    def __sklearn_tags__(self) -> Tags:
        """Say that there may be several targets."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    @property
    def _n_outputs(self) -> int:
        return self.n_outputs_ or 1

    def _check_y(self, y: Any) -> np.ndarray:
        return check_array(
            y, ensure_2d=False, dtype=None, ensure_all_finite=False, ensure_min_samples=min_samples(), input_name="y"
        )

    def _settle(self, y: np.ndarray, name: str) -> np.ndarray:
        return read_numbers(super()._settle(y, name), name)

    def _learn_targets(self, y: np.ndarray, weights: np.ndarray | None, *, goes_on: bool, one_iteration: bool) -> None:
        """Learn how many targets there are, and their scale, unless that is known."""
        if goes_on:
            return
        self.n_outputs_ = None if y.ndim == 1 else y.shape[1]
        with distributed.agreed():
            columns = self._as_columns(y, "y")
        rows = Rows(columns, dtype=torch.float64, device=torch.device("cpu"), weights=weights)
        rows, ranges = merge_repeated(rows)[0], column_ranges(rows, "y")
        scaling = learn_scaling(rows, *ranges, "auto", name="y")
        assert scaling is not None
        self.target_scaling_ = scaling

    def _fit_linear(
        self, scores: np.ndarray, targets: np.ndarray, weights: np.ndarray | None, seed: int
    ) -> tuple[np.ndarray, np.ndarray]:
        return fit_ridge(scores, targets, weights, fit_intercept=self.fit_intercept)

    def _encode_targets(self, y: np.ndarray, name: str) -> torch.Tensor:
        """Return scaled targets of shape (n_samples, n_outputs), float64."""
        targets = torch.from_numpy(self._as_columns(y, name)).to(self.target_scaling_.center.device)
        return self.target_scaling_(targets).cpu()

    def _as_columns(self, y: np.ndarray, name: str) -> np.ndarray:
        """Return targets as float64 of shape (n_samples, n_outputs)."""
        columns = () if self.n_outputs_ is None else (self.n_outputs_,)
        if y.shape[1:] != columns:
            raise ValueError(f"{name} has shape {y.shape}, but {(len(y), *columns)} is expected")
        with np.errstate(invalid="ignore"):  # it adds up all targets, which may be very large and of both signs
            y = check_array(y, ensure_2d=False, dtype=np.float64, ensure_min_samples=min_samples(), input_name=name)
        return y.reshape(len(y), self._n_outputs)

    @property
    def _unscale_outputs(self) -> torch.nn.Module:
        return self.target_scaling_.inverted()

    def _empty_modules(self) -> dict[str, torch.nn.Module]:
        n = self._n_outputs
        return super()._empty_modules() | {"target_scaling_": Scaling(torch.zeros(n), torch.ones(n))}
