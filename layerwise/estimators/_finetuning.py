"""What classifier and regressor have in common: a pre-trained stack, a head on it, and the training of both."""

from __future__ import annotations

import abc
import copy
from collections.abc import Callable, Sequence
from numbers import Integral, Real
from os import PathLike
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.frozen import FrozenEstimator
from sklearn.utils import Tags
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from layerwise import distributed, stacking
from layerwise.callbacks import Callback, EarlyStopping
from layerwise.checkpoint import Checkpoint
from layerwise.data.scaling import Scaling
from layerwise.estimators._checkpointing import describe_rows, digest_of_all, kept_fit
from layerwise.estimators._checks import (
    DTYPES,
    check_part,
    check_same_length,
    check_sample_weight,
    check_solver,
    like_input,
    to_numpy,
)
from layerwise.estimators._record import RecordMixin, describe, keep_states, make_training, warn_unless_converged
from layerwise.estimators._wrapping import WrappingEstimator
from layerwise.estimators.autoencoder import Autoencoder
from layerwise.estimators.stack import StackedAutoencoder
from layerwise.modules import StackedNetwork, linear_head
from layerwise.objective import Loss
from layerwise.solvers import SOLVERS, Solver

_DEPTHS: dict[Any, Any] = {"all": None, "head": 0}


class FineTunedEstimator(RecordMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, WrappingEstimator, abc.ABC):
    """Pre-trains ``autoencoder``, puts a head on it, trains the head and as many layers as ``finetune`` says."""

    _loss: ClassVar[Loss]

    _parameter_constraints: ClassVar[dict] = WrappingEstimator._parameter_constraints | {
        "finetune": [StrOptions({"all", "head"}), Interval(Integral, 0, None, closed="left")],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "fit_intercept": ["boolean"],
        "solver": [HasMethods("minimize"), StrOptions(set(SOLVERS))],
        "early_stopping": [EarlyStopping, None],
        "unlabeled": "no_validation",
        "warm_start": ["boolean"],
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
        warm_start: bool = False,
        random_state: Any = None,
        callbacks: Sequence[Callback] | None = None,
        checkpoint: str | PathLike[str] | Checkpoint | None = None,
    ):
        self.autoencoder = autoencoder
        self.finetune = finetune
        self.alpha = alpha
        self.fit_intercept = fit_intercept
        self.solver = solver
        self.early_stopping = early_stopping
        self.unlabeled = unlabeled
        self.warm_start = warm_start
        self.random_state = random_state
        self.callbacks = callbacks
        self.checkpoint = checkpoint

    def transform(self, X: Any) -> Any:
        """Encode rows with the fine-tuned encoders.

        Parameters
        ----------
        X : array-like, sparse matrix or Tensor of shape (n_samples, n_features)

        Returns
        -------
        codes : ndarray or Tensor of shape (n_samples, n_hidden)
            The activations of the last hidden layer.
        """
        return like_input(self._apply(lambda x: self.network_.encode(x), X), X)

    def to_torch(self) -> torch.nn.Module:
        """Return the trained torch module, to carry on with in plain PyTorch.

        It maps rows in their own units (uint8 as floats in [0, 1]) to outputs, of a classifier to logits, and shares
        its parameters with this estimator.

        Returns
        -------
        network : torch.nn.Module
        """
        check_is_fitted(self)
        parts = (self.autoencoder_._scaling, self.network_, self._unscale_outputs)
        return torch.nn.Sequential(*(part for part in parts if part is not None))

    @property
    def coefs_(self) -> list[np.ndarray]:
        """Weights from the input to the outputs, each of shape (n_inputs, n_outputs)."""
        matrices = [*(layer.encoder_weight for layer in self.network_.encoders()), self.network_.head.weight]
        return [matrix.detach().cpu().numpy().T for matrix in matrices]

    @property
    def intercepts_(self) -> list[np.ndarray]:
        """Biases that belong to ``coefs_``, each of shape (n_outputs,)."""
        head = self.network_.head
        last = torch.zeros(head.out_features) if head.bias is None else head.bias
        biases = [*(layer.encoder_bias for layer in self.network_.encoders()), last]
        return [bias.detach().cpu().numpy() for bias in biases]

    def __sklearn_tags__(self) -> Tags:
        """Say what is accepted: sparse rows too; float32 and float64 are kept."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    @property
    def _unscale_outputs(self) -> Scaling | None:
        """What brings the outputs of the head to the units of the targets; None if they are in those."""
        return None

    @property
    @abc.abstractmethod
    def _n_outputs(self) -> int:
        """Width of the head."""

    @abc.abstractmethod
    def _check_y(self, y: Any) -> np.ndarray:
        """Return labels or targets as an array of the right number of dimensions."""

    @abc.abstractmethod
    def _learn_targets(self, y: np.ndarray, weights: np.ndarray | None, *, goes_on: bool, one_iteration: bool) -> None:
        """Learn from the labels there are, and how much each counts, what the head shall give."""

    @abc.abstractmethod
    def _encode_targets(self, y: np.ndarray, name: str) -> torch.Tensor:
        """Return what the loss compares the outputs with."""

    def _fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        *,
        X_val: Any = None,
        y_val: Any = None,
        one_iteration: bool = False,
    ) -> None:
        """Check labels and weights, then train."""
        self._validate_params()
        if y is None:
            raise ValueError(f"{type(self).__name__} requires y to be passed, but the target y is None")
        y = to_numpy(y)
        with distributed.agreed():
            check_same_length(X, y, "X", "y")
            y = self._check_y(y)
            weights = None if sample_weight is None else check_sample_weight(sample_weight, X)
            chosen = find_labelled(y, self.unlabeled)
            _refuse_missing(y, chosen)
        if self.unlabeled is not None and not distributed.any_rank(bool(chosen.any())):
            raise ValueError(
                f"y holds no labels: all {len(y)} are unlabeled={self.unlabeled!r}, but fine-tuning needs some"
            )
        chosen &= True if weights is None else weights > 0
        goes_on = (self.warm_start or one_iteration) and hasattr(self, "network_")
        chosen_weights = None if weights is None else weights[chosen]
        self._learn_targets(y[chosen], chosen_weights, goes_on=goes_on, one_iteration=one_iteration)
        validation = None
        if X_val is None and y_val is not None:
            raise ValueError("y_val is given without X_val, the rows that it belongs to")
        if X_val is not None:
            y_val = to_numpy(y_val)
            with distributed.agreed():
                check_same_length(X_val, y_val, "X_val", "y_val")
                validation = (X_val, self._encode_targets(self._check_y(y_val), "y_val"))
        targets = self._encode_targets(y[chosen], "y")
        self._train(X, targets, chosen, weights, validation, goes_on=goes_on, one_iteration=one_iteration)

    def _train(
        self,
        X: Any,
        targets: torch.Tensor,
        chosen: np.ndarray,
        weights: np.ndarray | None,
        validation: tuple[Any, torch.Tensor] | None,
        *,
        goes_on: bool,
        one_iteration: bool,
    ) -> None:
        """Pre-train on all rows, unless the fit goes on; then fine-tune with the targets of those that are chosen."""
        template = self._template()
        solver = check_solver(self.solver)
        check_part("early_stopping", self.early_stopping)
        n_layers = len(template.layers) if isinstance(template, StackedAutoencoder) else 1
        depth = _DEPTHS.get(self.finetune, self.finetune)
        if depth is not None and depth > n_layers:
            raise ValueError(f"finetune={depth} asks for more layers than there are: {n_layers}; 'all' trains all")
        kept = kept_fit(self)
        if kept is not None:
            n_labels = sum(distributed.gather_counts([len(targets)]))
            kept.match(
                y={"rows with a label": n_labels, "digest": digest_of_all(targets, chosen)},
                y_val=None if validation is None else digest_of_all(validation[1], np.ones(len(validation[1]), bool)),
            )
        if not goes_on:
            self._pretrain(template, X, weights, None if validation is None else validation[0])
            self.network_ = self._build().to(self.autoencoder_._modules()[0].encoder_weight.device)
        with distributed.agreed():
            rows = self._check_rows(X)
        rows.weights = None if weights is None else torch.from_numpy(weights).to(rows.device)
        frozen = isinstance(self.autoencoder, FrozenEstimator)
        if kept is not None and frozen:  # no training has looked at them
            kept.match(X=describe_rows(rows))
        if not chosen.all():
            rows = rows.subset(torch.from_numpy(np.flatnonzero(chosen)))
        with distributed.agreed():
            held_out = None if validation is None else (self._check_rows(validation[0]), validation[1])
        if kept is not None and frozen:
            kept.match(X_val=None if held_out is None else describe_rows(held_out[0]))
        if hasattr(self, "_relay"):
            self._relay.fitted_attributes = lambda: {"network_": self.network_}
        stages = stacking.finetune(
            self.network_,
            rows,
            targets,
            solver,
            self._loss,
            depth=depth,
            alpha=self.alpha,
            early_stopping=self.early_stopping,
            validation=held_out,
            training=make_training(
                self,
                template.cache_size,
                states=self.__dict__.pop("_states", None) if goes_on else None,
                one_iteration=one_iteration,
            ),
        )
        earlier = self.history_ if goes_on else ()
        self.history_ = [*self.autoencoder_.history_, *(describe(stage, earlier) for stage in stages)]
        keep_states(self, stages, one_iteration=one_iteration)
        warn_unless_converged(self, stages)

    def _outputs(self, X: Any) -> torch.Tensor:
        """Return what the head gives for each row."""
        return self._apply(lambda x: self.network_(x), X)

    def _apply(self, function: Callable[[torch.Tensor], torch.Tensor], X: Any) -> torch.Tensor:
        """Return what a function of scaled blocks gives for each row."""
        check_is_fitted(self)
        return stacking.apply(function, self._check_rows(X))

    @property
    def _n_features_out(self) -> int:
        return self.network_.head.in_features

    def _default_autoencoder(self) -> StackedAutoencoder:
        return StackedAutoencoder()

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
        The value of those that have none; None if all have one. NaN stands for NaN and None.

    Returns
    -------
    labelled : ndarray of shape (n_samples,), bool
    """
    if unlabeled is None:
        return np.ones(len(y), dtype=bool)
    if np.ndim(unlabeled) != 0:
        raise ValueError(f"unlabeled={unlabeled!r} must be one value, which stands in y where there is no label")
    return ~(_find_missing(y) if unlabeled != unlabeled else _in_rows(y == unlabeled))


def _find_missing(y: np.ndarray) -> np.ndarray:
    """Return a mask of the rows with NaN, which differs from itself, or None."""
    missing = np.asarray(y != y)
    if y.dtype.kind == "O":
        missing |= np.array([value is None for value in y.flat], dtype=bool).reshape(y.shape)
    return _in_rows(missing)


def _in_rows(found: Any) -> np.ndarray:
    found = np.asarray(found)
    return np.asarray(found if found.ndim == 1 else found.any(axis=1))


def _refuse_missing(y: np.ndarray, labelled: np.ndarray) -> None:
    """Refuse NaN and None in the place of a label."""
    places = np.flatnonzero(_find_missing(y) & labelled)
    if len(places):
        raise ValueError(
            f"y contains NaN or None in {len(places)} of {len(y)} rows, the first of them y[{places[0]}]; say "
            f"unlabeled=float('nan') to let rows without a label serve pre-training only, or leave them out"
        )
