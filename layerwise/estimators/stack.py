"""The estimator that learns several layers of features: a stack of autoencoders."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, ClassVar

import torch
from sklearn.base import BaseEstimator, clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from layerwise import stacking
from layerwise.activations import get_activation
from layerwise.callbacks import Callback, EarlyStopping
from layerwise.data.rows import Rows
from layerwise.estimators._checks import (
    DTYPES,
    check_part,
    check_solver,
    check_training_rows,
    forget_record,
    keep_record,
    make_training,
    warn_unless_converged,
)
from layerwise.estimators._coding import CodingMixin
from layerwise.estimators.autoencoder import Autoencoder
from layerwise.modules import AutoencoderLayer, UnrolledAutoencoder
from layerwise.solvers import SOLVERS, Solver
from layerwise.stages import Stage, Training


class StackedAutoencoder(CodingMixin, BaseEstimator):
    """Autoencoders trained greedily, one on the codes of the other; then, if asked, all together.

    Parameters
    ----------
    layers : list of (Autoencoder, int or FrozenEstimator of a fitted Autoencoder), default=(200, 200)
        The recipe of each layer; a number n stands for ``Autoencoder(n)``. They are cloned, never changed; their
        own ``cache_size``, ``dtype``, ``device``, ``random_state`` and ``callbacks`` do not matter here. A frozen layer
        keeps its weights until fine-tuning: ``[FrozenEstimator(layer) for layer in stack.layers_]`` begins where a
        fitted stack ended.
    finetune : {"reconstruction"} or None, default=None
        ``"reconstruction"`` goes on with the unrolled deep autoencoder (all encoders, then all decoders) and minimises
        the first layer's loss between rows and reconstructions.
    untie : bool, default=False
        Whether fine-tuning gives tied decoders weights of their own, which begin as the encoders'.
    alpha : float, default=0.0
        Factor of the weight decay alpha/2 |W|^2 in fine-tuning.
    solver : LBFGS, SGD, Adam, "lbfgs", "sgd" or "adam", default="lbfgs"
        What minimises in fine-tuning; a name stands for the default object.
    early_stopping : EarlyStopping or None, default=None
        Of fine-tuning; the layers have their own.
    cache_size : float, default=1000
        MB of memory that the codes of all rows may take, for each layer; if they would take more, they are computed
        again when needed.
    dtype : {"float32", "float64"}, default="float32"
        Type of the products; sums over rows and the solver's vectors are float64 always.
    device : str, default="auto"
        ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ...; ``"auto"`` takes a GPU where there is one.
    random_state : int, RandomState instance or None, default=None
        Draws the initial weights.
    callbacks : list of callable or None, default=None
        Each is called with a `layerwise.callbacks.Step` after every iteration; returning True ends the layer.

    Attributes
    ----------
    layers_ : list of Autoencoder
        One fitted autoencoder a layer, each of which encodes the codes of the one before. With fine-tuning they hold
        the weights after it, and the record of their own training before it.
    loss_, loss_curve_, validation_loss_curve_, n_iter_, n_evaluations_, converged_
        The record of fine-tuning, as in `Autoencoder`; there only if that is asked for.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Where ``X`` had names.

    References
    ----------
    Y. Bengio et al., "Greedy layer-wise training of deep networks", NIPS 2006.

    G. E. Hinton and R. R. Salakhutdinov, "Reducing the dimensionality of data with neural networks", Science 313, 2006.

    Examples
    --------
    >>> from layerwise import Autoencoder, LBFGS, StackedAutoencoder
    >>> from layerwise.data import load_mnist_small
    >>> X = load_mnist_small().X_train[:200]
    >>> stack = StackedAutoencoder([Autoencoder(30, solver=LBFGS(max_iter=5)), 10], random_state=0)
    >>> codes = stack.fit_transform(X)
    >>> codes.shape, stack.inverse_transform(codes).shape
    ((200, 10), (200, 784))
    """

    _parameter_constraints: ClassVar[dict] = {
        "layers": [list, tuple],
        "finetune": [StrOptions({"reconstruction"}), None],
        "untie": ["boolean"],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "solver": [HasMethods("minimize"), StrOptions(set(SOLVERS))],
        "early_stopping": [EarlyStopping, None],
        "cache_size": [Interval(Real, 0, None, closed="left")],
        "dtype": [StrOptions(set(DTYPES))],
        "device": [str],
        "random_state": ["random_state"],
        "callbacks": [list, tuple, None],
    }

    def __init__(
        self,
        layers: Sequence[Autoencoder | int] = (200, 200),
        *,
        finetune: str | None = None,
        untie: bool = False,
        alpha: float = 0.0,
        solver: Solver | str = "lbfgs",
        early_stopping: EarlyStopping | None = None,
        cache_size: float = 1000,
        dtype: str = "float32",
        device: str = "auto",
        random_state: Any = None,
        callbacks: Sequence[Callback] | None = None,
    ):
        self.layers = layers
        self.finetune = finetune
        self.untie = untie
        self.alpha = alpha
        self.solver = solver
        self.early_stopping = early_stopping
        self.cache_size = cache_size
        self.dtype = dtype
        self.device = device
        self.random_state = random_state
        self.callbacks = callbacks

    def fit(self, X: Any, y: Any = None, *, X_val: Any = None) -> StackedAutoencoder:
        """Train the layers, the first on the rows, each other on the codes of the one before; then fine-tune if asked.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            In the range of the first layer's ``output_activation``. uint8 is read as intensities from 0 to 255 and
            scaled to [0, 1]; it stays uint8 in memory.
        y : None
            Not used.
        X_val : array-like of shape (n_validation, n_features), default=None
            Rows to follow the loss of, for early stopping where that is asked for; None holds out a share for it.

        Returns
        -------
        self : StackedAutoencoder

        Raises
        ------
        ValueError
            If a parameter is wrong, or ``X`` is not finite or out of range.
        FloatingPointError
            If the objective overflows at the initial weights.
        """
        layers = self._check_layers()
        output_activation = layers[0].output_activation
        rows, validation = check_training_rows(self, X, X_val, output_activation)
        training = make_training(self.random_state, self.callbacks, self.cache_size)
        widths = [rows.n_features, *(layer.n_hidden for layer in layers[:-1])]
        modules = [
            layer._start(width, training.generator).to(rows.device) for layer, width in zip(layers, widths, strict=True)
        ]
        new = [layer for layer in layers if not hasattr(layer, "layer_")]
        stages = stacking.pretrain(
            modules,
            rows,
            [check_solver(layer.solver) if layer in new else None for layer in layers],
            early_stopping=[layer.early_stopping for layer in layers],
            validation=validation,
            training=training,
        )
        for layer, module in zip(layers, modules, strict=True):
            layer.n_features_in_, layer.layer_ = module.in_features, module
        for layer, stage in zip(new, stages, strict=True):
            layer._keep(stage)
        self.layers_ = layers
        forget_record(self)
        if self.finetune is not None:
            stages += self._finetune(rows, validation, training)
        warn_unless_converged(self, stages)
        return self

    def _finetune(self, rows: Rows, validation: Rows | None, training: Training) -> list[Stage]:
        """Train all layers together on the reconstruction of the rows."""
        modules = self._modules()
        if self.untie:
            for layer, module in zip(self.layers_, modules, strict=True):
                module.untie()
                layer.tied = False
        stages = stacking.finetune_reconstruction(
            UnrolledAutoencoder(modules),
            rows,
            check_solver(self.solver),
            alpha=self.alpha,
            early_stopping=self.early_stopping,
            validation=validation,
            training=training,
        )
        keep_record(self, stages[-1])
        return stages

    def _modules(self) -> list[AutoencoderLayer]:
        """Return the trained torch modules, from the input up."""
        return [layer.layer_ for layer in self.layers_]

    def recipes(self) -> list[Autoencoder | FrozenEstimator]:
        """Return ``layers`` with an autoencoder in place of every number."""
        numbers = [isinstance(layer, Integral) and not isinstance(layer, bool) for layer in self.layers]
        return [Autoencoder(layer) if number else layer for layer, number in zip(self.layers, numbers, strict=True)]

    def _check_layers(self) -> list[Autoencoder]:
        """Return an unfitted clone of every layer, or a copy of a frozen one, with its parameters checked."""
        self._validate_params()
        check_solver(self.solver)
        check_part(self.early_stopping)
        if len(self.layers) == 0:
            raise ValueError("layers=[] is empty, but a stack needs at least one layer, for example [200]")
        layers = []
        for index, layer in enumerate(self.recipes()):
            if isinstance(layer, FrozenEstimator) and isinstance(layer.estimator, Autoencoder):
                layer = copy.deepcopy(layer.estimator)
                check_is_fitted(layer)
            elif isinstance(layer, Autoencoder):
                layer = clone(layer)
            if not isinstance(layer, Autoencoder):
                raise ValueError(
                    f"layers[{index}]={layer!r} is a {type(layer).__name__}, but an Autoencoder, a frozen one or an "
                    f"int is expected"
                )
            layer.set_params(dtype=self.dtype, device=self.device)
            layer._check_parameters()
            layers.append(layer)
        for index, (lower, upper) in enumerate(itertools.pairwise(layers)):
            codes, reach = get_activation(lower.activation), get_activation(upper.output_activation)
            if codes.low < reach.low or codes.high > reach.high:
                raise ValueError(
                    f"layers[{index + 1}] cannot reconstruct the codes of layers[{index}]: those of "
                    f"activation={lower.activation!r} go from {codes.low:g} to {codes.high:g}, but "
                    f"output_activation={upper.output_activation!r} reaches only {reach.low:g} to {reach.high:g}; "
                    f"choose output_activation={lower.activation!r} or 'identity'"
                )
        return layers

    def _empty_modules(self) -> dict[str, torch.nn.Module]:
        """Return nothing: all modules belong to ``layers_``."""
        return {}
