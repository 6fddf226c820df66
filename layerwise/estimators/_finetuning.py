"""What classifier and regressor have in common: a pre-trained stack, a head on it, and the training of both."""

from __future__ import annotations

import abc
import copy
import warnings
from collections.abc import Sequence
from functools import partial
from numbers import Integral
from os import PathLike
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.frozen import FrozenEstimator
from sklearn.utils import Tags
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from layerwise import distributed, stacking
from layerwise.callbacks import Callback, EarlyStopping
from layerwise.checkpoint import Checkpoint
from layerwise.corruptions import Corruption
from layerwise.data.mapped_rows import AnyRows
from layerwise.data.repetition import merge_repeated
from layerwise.estimators._checkpointing import describe_rows, digest_of_all, kept_fit
from layerwise.estimators._checks import (
    check_part,
    check_same_length,
    check_sample_weight,
    check_solver,
    like_input,
    scan_rows,
)
from layerwise.estimators._class_weight import weigh
from layerwise.estimators._labels import read_labels, refuse_missing, refuse_near_miss, settle
from layerwise.estimators._linear import refuse_layers_that_cannot_carry
from layerwise.estimators._record import RecordMixin, describe, keep_states, make_training, warn_unless_converged
from layerwise.estimators._regularization import CONSTRAINTS, DECAY, regularization, weight_decay_of
from layerwise.estimators._wrapping import WrappingEstimator
from layerwise.estimators.autoencoder import Autoencoder
from layerwise.estimators.stack import StackedAutoencoder
from layerwise.labels import find_labelled
from layerwise.losses import Loss
from layerwise.modules import StackedNetwork, linear_head
from layerwise.objective import with_gradients
from layerwise.penalties import Sparsity
from layerwise.solvers import SOLVERS, Solver, takes_batches
from layerwise.starts import Affine, scores_of, start_as_linear, widen

_DEPTHS: dict[Any, Any] = {"all": None, "head": 0}


class FineTunedEstimator(RecordMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, WrappingEstimator, abc.ABC):
    """Pre-trains ``autoencoder``, puts a head on it, trains the head and as many layers as ``finetune`` says."""

    _loss: ClassVar[Loss]

    _parameter_constraints: ClassVar[dict] = WrappingEstimator._parameter_constraints | {
        "finetune": [StrOptions({"all", "head"}), Interval(Integral, 0, None, closed="left")],
        "init": [StrOptions({"zero", "linear"})],
        **DECAY,
        **CONSTRAINTS,
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
        init: str = "zero",
        alpha: float | Sequence[float] = 1e-4,
        decay: str = "zero",
        dropout: float = 0.0,
        corruption: Corruption | None = None,
        sparsity: Sparsity | None = None,
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
        self.init = init
        self.alpha = alpha
        self.decay = decay
        self.dropout = dropout
        self.corruption = corruption
        self.sparsity = sparsity
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
        rows = self.coder_.rows(X)
        return like_input(stacking.apply(self.network_.encode, rows), X)

    def to_torch(self) -> torch.nn.Module:
        """Return the trained torch module, to carry on with in plain PyTorch.

        It maps rows in their own units (uint8 as floats in [0, 1]) to outputs, of a classifier to logits, and shares
        its parameters with this estimator. Its type is that of the products; ``.float()`` changes it.

        Returns
        -------
        network : torch.nn.Module
        """
        parts = (self.coder_.scaling, self.network_, self._unscale_outputs)
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
    def _unscale_outputs(self) -> torch.nn.Module | None:
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

    def _learn_target_weights(self, y: np.ndarray, weights: np.ndarray | None) -> np.ndarray | None:
        """Return how much the rows of each class count in fine-tuning, besides their weights; None is alike."""
        return None

    @abc.abstractmethod
    def _encode_targets(self, y: np.ndarray, name: str) -> torch.Tensor:
        """Return what the loss compares the outputs with."""

    @with_gradients
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
        with distributed.agreed():
            y = read_labels(y)
            check_same_length(X, y, "X", "y")
            y = self._check_y(y)
            weights = None if sample_weight is None else check_sample_weight(sample_weight, X)
            chosen = find_labelled(y, self.unlabeled)
            if self.unlabeled is not None and chosen.all():
                refuse_near_miss(y, self.unlabeled)
            refuse_missing(y, chosen)
        self._check_unlabeled(chosen, one_iteration=one_iteration)
        chosen &= True if weights is None else weights > 0
        goes_on = (self.warm_start or one_iteration) and hasattr(self, "network_")
        chosen_weights = None if weights is None else weights[chosen]
        with distributed.agreed():
            labels = self._settle(y[chosen], "y")
        self._learn_targets(labels, chosen_weights, goes_on=goes_on, one_iteration=one_iteration)
        targets_val = None
        if X_val is None and y_val is not None:
            raise ValueError("y_val is given without X_val, the rows that it belongs to")
        if X_val is not None:
            with distributed.agreed():
                targets_val = self._encode_targets(self._read_all(X_val, y_val, "X_val", "y_val"), "y_val")
        targets = self._encode_targets(labels, "y")
        by_target = self._learn_target_weights(labels, chosen_weights)
        if by_target is not None and (by_target == 0).any():
            counts = by_target[targets.numpy()] > 0
            chosen[chosen], targets = counts, targets[torch.from_numpy(counts)]
            for name, places in (("y", targets), ("y_val", targets_val)):
                if places is not None and not distributed.any_rank(bool(by_target[places.numpy()].any())):
                    raise ValueError(
                        f"class_weight={vars(self).get('class_weight')!r} gives all rows of {name} the weight 0"
                    )
        self._train(
            X, targets, chosen, weights, by_target, X_val, targets_val, goes_on=goes_on, one_iteration=one_iteration
        )

    def _check_unlabeled(self, labelled: np.ndarray, *, one_iteration: bool) -> None:
        """Refuse labels all of which are missing, on all ranks; warn where none is, though some are said to be."""
        if self.unlabeled is None:
            return
        if not distributed.any_rank(bool(labelled.any())):
            raise ValueError(
                f"y holds no labels: all {len(labelled)} are unlabeled={self.unlabeled!r}, but fine-tuning needs some"
            )
        found = distributed.any_rank(not labelled.all())
        if not found and not one_iteration and distributed.rank() == 0:  # a batch may be without such rows
            warnings.warn(
                f"unlabeled={self.unlabeled!r} stands nowhere in y, so that all rows count as labelled",
                UserWarning,
                stacklevel=2,
            )

    def _read_all(self, X: Any, y: Any, X_name: str, y_name: str) -> np.ndarray:
        """Return labels none of which may be missing."""
        y = read_labels(y, y_name)
        check_same_length(X, y, X_name, y_name)
        y = self._check_y(y)
        refuse_missing(y, np.ones(len(y), dtype=bool), y_name, remedy="leave such rows out")
        return self._settle(y, y_name)

    def _settle(self, y: np.ndarray, name: str) -> np.ndarray:
        """Return labels of which none is missing, all of one kind."""
        return settle(y, name)

    def _train(
        self,
        X: Any,
        targets: torch.Tensor,
        chosen: np.ndarray,
        weights: np.ndarray | None,
        by_target: np.ndarray | None,
        X_val: Any,
        targets_val: Any,
        *,
        goes_on: bool,
        one_iteration: bool,
    ) -> None:
        """Pre-train on all rows, unless the fit goes on; then fine-tune with the targets of those that are chosen."""
        template = self._template()
        solver = check_solver(self.solver)
        check_part("early_stopping", self.early_stopping)
        recipes = template.recipes() if isinstance(template, StackedAutoencoder) else [template]
        last: Any = recipes[-1]
        problem = regularization(self, getattr(last, "estimator", last).activation)
        alpha = weight_decay_of(self, one_iteration=one_iteration)
        if self.init == "linear":
            refuse_layers_that_cannot_carry(recipes)
        n_layers = len(recipes)
        depth = _DEPTHS.get(self.finetune, self.finetune)
        if depth is not None and depth > n_layers:
            raise ValueError(f"finetune={depth} asks for more layers than there are: {n_layers}; 'all' trains all")
        kept = kept_fit(self)
        if kept is not None:
            n_labels = sum(distributed.gather_counts([len(targets)]))
            kept.match(
                y={"rows with a label": n_labels, "digest": digest_of_all(targets, chosen)},
                y_val=None if targets_val is None else digest_of_all(targets_val, np.ones(len(targets_val), bool)),
            )
        if goes_on:
            seen, seen_val = scan_rows(self, self.autoencoder_, X, weights, X_val, reset=False, trained=True)
        else:
            seen, seen_val = self._pretrain(template, X, weights, X_val)
            self.network_ = self._build().to(self.autoencoder_.coder_.device)
        linear = self.init == "linear" and not goes_on
        with distributed.agreed():
            rows = self.coder_.scale(seen)
        frozen = isinstance(self.autoencoder, FrozenEstimator)
        if kept is not None and frozen:  # no training has looked at them
            kept.match(X=describe_rows(rows))
        scores = scores_of(rows) if linear else None
        chosen = chosen if weights is None else chosen[weights > 0]
        if not chosen.all():
            rows = rows.subset(torch.from_numpy(np.flatnonzero(chosen)))
        # Folds and held-out rows that choose are a sample of the rows as they come, repeated ones too.
        chooses = self.init == "linear" or getattr(self.early_stopping, "refit", False)
        if not (chooses or takes_batches(solver)):
            rows, positions = merge_repeated(rows, targets)
            targets = targets[positions]
        with distributed.agreed():
            rows_val = None if seen_val is None else self.coder_.scale(seen_val, "X_val")
            if by_target is not None:
                weigh(rows, targets, by_target)
                if rows_val is not None:
                    weigh(rows_val, targets_val, by_target)
        if kept is not None and frozen:
            kept.match(X_val=None if rows_val is None else describe_rows(rows_val))
        if targets.is_floating_point():
            targets = targets.to(rows.dtype)
            targets_val = None if targets_val is None else targets_val.to(rows.dtype)
        training = make_training(
            self,
            template.cache_size,
            states=self.__dict__.pop("_states", None) if goes_on else None,
            one_iteration=one_iteration,
        )
        begin = None
        if scores is not None:
            begin = partial(self._start_linear, scores, training.seed)
            begin(rows, targets)
        if hasattr(self, "_relay"):
            self._relay.fitted_attributes = lambda: {"network_": self.network_}
        stages = stacking.finetune(
            self.network_,
            rows,
            targets,
            solver,
            self._loss,
            depth=depth,
            head=self.init != "linear",
            alpha=alpha,
            decay=self.decay,
            **problem,
            early_stopping=self.early_stopping,
            validation=None if rows_val is None else (rows_val, targets_val),
            training=training,
            begin=begin if depth is None or depth == n_layers else None,
        )
        earlier = self.history_ if goes_on else ()
        self.history_ = [*self.autoencoder_.history_, *(describe(stage, earlier) for stage in stages)]
        keep_states(self, stages, one_iteration=one_iteration)
        warn_unless_converged(self, stages)

    @abc.abstractmethod
    def _fit_linear(
        self, scores: np.ndarray, targets: np.ndarray, weights: np.ndarray | None, seed: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return coefficients of shape (n_outputs, n_features) and intercepts of a linear model of standard scores."""

    def _start_linear(self, scores: Affine, seed: int, rows: AnyRows, targets: torch.Tensor) -> None:
        """Let the network begin as the linear model of the labelled rows of all ranks."""
        z = stacking.apply(lambda x: x.double() @ scores.matrix.T + scores.offset, rows)
        y = targets.to(z) if targets.ndim > 1 else targets.to(z)[:, None]
        weights = z.new_ones(len(z), 1) if rows.weights is None else rows.weights.to(z)[:, None]
        all_rows = distributed.gather_rows(torch.cat([z, y, weights], dim=1)).cpu().numpy()
        all_z, all_y, counts = all_rows[:, : z.shape[1]], all_rows[:, z.shape[1] : -1], all_rows[:, -1]
        coefficients, intercepts = self._fit_linear(all_z, all_y, None if (counts == 1).all() else counts, seed)
        start_as_linear(self.network_, scores, torch.from_numpy(coefficients), torch.from_numpy(intercepts))

    def _outputs(self, X: Any) -> torch.Tensor:
        """Return what the head gives for each row."""
        rows = self.coder_.rows(X)
        return stacking.apply(self.network_, rows)

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
        layers = copy.deepcopy(self.autoencoder_.coder_.modules)
        if self.init == "linear":
            layers = widen(layers, self.n_features_in_)
        dtype = self.autoencoder_.coder_.dtype
        return StackedNetwork(
            layers, linear_head(layers[-1].n_hidden, self._n_outputs, bias=self.fit_intercept, dtype=dtype)
        )
