"""Estimators that learn features: one autoencoder, and a stack of them."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.base import BaseEstimator, clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from layerwise import stacking
from layerwise.activations import ACTIVATIONS, get_activation
from layerwise.callbacks import Callback, EarlyStopping
from layerwise.corruptions import Corruption, Gaussian, Masking, SaltAndPepper
from layerwise.data.rows import Rows
from layerwise.estimators._checks import (
    DTYPES,
    check_corruption,
    check_solver,
    check_training_rows,
    keep_record,
    make_training,
    warn_unless_converged,
)
from layerwise.estimators._coding import CodingMixin
from layerwise.losses import LOSSES
from layerwise.modules import AutoencoderLayer, UnrolledAutoencoder
from layerwise.penalties import KLSparsity, L1Sparsity, Sparsity
from layerwise.solvers import SOLVERS, Solver


class Autoencoder(CodingMixin, BaseEstimator):
    """One autoencoder: learns codes from which its input can be reconstructed.

    With m rows x_i, their corrupted copies x~_i (the rows themselves without corruption), codes h_i = s(W1 x~_i + b1)
    and reconstructions x^_i = t(W2 h_i + b2) it minimises::

        1/m sum_i L(x^_i, x_i)  +  alpha/2 (|W1|^2 + |W2|^2)  +  sparsity  +  contraction/m sum_i |dh_i/dx~_i|_F^2

    Parameters
    ----------
    n_hidden : int, default=100
        Width of the code.
    activation : str, default="sigmoid"
        The function s of the code: ``"sigmoid"``, ``"tanh"``, ``"relu"``, ``"leaky_relu"``, ``"elu"``, ``"softplus"``
        or ``"identity"``.
    output_activation : str, default="sigmoid"
        The function t of the reconstruction, one of the same; the rows must be in its range. ``"identity"`` is for
        real-valued data.
    loss : {"squared_error", "binary_cross_entropy"}, default="squared_error"
        L: 1/2 |x^ - x|^2, or -sum_k [x_k log x^_k + (1 - x_k) log(1 - x^_k)] for rows in [0, 1], computed from logits.
    tied : bool, default=False
        Whether W2 is W1 transposed: one parameter, which decays once.
    alpha : float, default=1e-4
        Factor of the weight decay, see above; biases do not decay.
    sparsity : KLSparsity, L1Sparsity or None, default=None
        Penalty that keeps the activations small.
    corruption : Masking, SaltAndPepper, Gaussian or None, default=None
        Noise on the input in training, which the reconstruction shall not have: a denoising autoencoder. Drawn once a
        fit under L-BFGS, anew for each batch under stochastic solvers; `transform` and `score` never add it.
    contraction : float, default=0.0
        Factor of the penalty of the encoder's Jacobian: a contractive autoencoder.
    solver : LBFGS, SGD, Adam, "lbfgs", "sgd" or "adam", default="lbfgs"
        What minimises; a name stands for the default object.
    early_stopping : EarlyStopping or None, default=None
        Ends training when the loss of held-out rows stops falling, and keeps the best parameters.
    cache_size : float, default=1000
        MB of memory that the codes of all rows may take; if they would take more, they are computed again when needed.
    dtype : {"float32", "float64"}, default="float32"
        Type of the products; sums over rows and the solver's vectors are float64 always.
    device : str, default="auto"
        ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ...; ``"auto"`` takes a GPU where there is one.
    random_state : int, RandomState instance or None, default=None
        Draws the initial weights.
    callbacks : list of callable or None, default=None
        Each is called with a `layerwise.callbacks.Step` after every iteration; returning True stops.

    Attributes
    ----------
    layer_ : layerwise.modules.AutoencoderLayer
        The trained torch module.
    components_ : ndarray of shape (n_hidden, n_features_in_)
        Encoder weights by unit.
    mean_activations_ : ndarray of shape (n_hidden,)
        Of every unit over the training rows.
    loss_ : float
        The objective at the end.
    loss_curve_ : list of float
        The objective after every iteration; under stochastic solvers its average over each epoch.
    validation_loss_curve_ : list of float
        L of the validation rows after every iteration; empty without such.
    n_iter_, n_evaluations_ : int
        Steps of the solver, and evaluations of the objective; epochs and batches of stochastic solvers.
    converged_ : bool
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Where ``X`` had names.

    References
    ----------
    A. Ng, "Sparse autoencoder", CS294A lecture notes, 2011.

    P. Vincent et al., "Stacked denoising autoencoders", JMLR 11, 2010.

    S. Rifai et al., "Contractive auto-encoders", ICML 2011.

    Examples
    --------
    >>> from layerwise import Adam, Autoencoder, KLSparsity, LBFGS, Masking
    >>> from layerwise.data import load_mnist_small
    >>> X = load_mnist_small().X_train[:500]
    >>> sparse = Autoencoder(25, sparsity=KLSparsity(0.1), solver=LBFGS(max_iter=20), random_state=0)
    >>> sparse.fit_transform(X).shape
    (500, 25)
    >>> sparse.score(X) > -50
    True
    >>> denoising = Autoencoder(25, corruption=Masking(0.3), tied=True, solver=Adam(max_iter=5), random_state=0)
    >>> denoising.fit_transform(X).shape
    (500, 25)
    """

    _parameter_constraints: ClassVar[dict] = {
        "n_hidden": [Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "output_activation": [StrOptions(set(ACTIVATIONS))],
        "loss": [StrOptions(set(LOSSES))],
        "tied": ["boolean"],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "sparsity": [KLSparsity, L1Sparsity, None],
        "corruption": [Masking, SaltAndPepper, Gaussian, None],
        "contraction": [Interval(Real, 0, None, closed="left")],
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
        n_hidden: int = 100,
        *,
        activation: str = "sigmoid",
        output_activation: str = "sigmoid",
        loss: str = "squared_error",
        tied: bool = False,
        alpha: float = 1e-4,
        sparsity: Sparsity | None = None,
        corruption: Corruption | None = None,
        contraction: float = 0.0,
        solver: Solver | str = "lbfgs",
        early_stopping: EarlyStopping | None = None,
        cache_size: float = 1000,
        dtype: str = "float32",
        device: str = "auto",
        random_state: Any = None,
        callbacks: Sequence[Callback] | None = None,
    ):
        self.n_hidden = n_hidden
        self.activation = activation
        self.output_activation = output_activation
        self.loss = loss
        self.tied = tied
        self.alpha = alpha
        self.sparsity = sparsity
        self.corruption = corruption
        self.contraction = contraction
        self.solver = solver
        self.early_stopping = early_stopping
        self.cache_size = cache_size
        self.dtype = dtype
        self.device = device
        self.random_state = random_state
        self.callbacks = callbacks

    def fit(self, X: Any, y: Any = None, *, X_val: Any = None) -> Autoencoder:
        """Learn codes of rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            In the range of ``output_activation``. uint8 is read as intensities from 0 to 255 and scaled to [0, 1];
            it stays uint8 in memory.
        y : None
            Not used.
        X_val : array-like of shape (n_validation, n_features), default=None
            Rows to follow the loss of, for early stopping if that is asked for; None holds out a share for it.

        Returns
        -------
        self : Autoencoder

        Raises
        ------
        ValueError
            If a parameter is wrong, or ``X`` is not finite or out of range.
        FloatingPointError
            If the objective overflows at the initial weights.
        """
        self._check_parameters()
        rows = check_training_rows(self, X, self.output_activation, reset=True)
        validation = None if X_val is None else check_training_rows(self, X_val, self.output_activation)
        training = make_training(self.random_state, self.callbacks, self.cache_size)
        layer = self._build(rows.n_features, training.generator).to(rows.device)
        stages = stacking.pretrain(
            [layer],
            rows,
            [check_solver(self.solver)],
            early_stopping=[self.early_stopping],
            validation=validation,
            training=training,
        )
        self.layer_ = layer
        self._keep(stages[0])
        warn_unless_converged(self, stages)
        return self

    def _modules(self) -> list[AutoencoderLayer]:
        """Return the trained torch module, in a list."""
        return [self.layer_]

    @property
    def components_(self) -> np.ndarray:
        """Encoder weights by unit."""
        return self.layer_.encoder_weight.detach().cpu().numpy()

    def _check_parameters(self) -> None:
        self._validate_params()
        check_solver(self.solver)
        for part in (self.sparsity, self.early_stopping):
            if part is not None:
                part._validate_params()
        if self.corruption is not None:
            check_corruption(self.corruption)

    def _start(self, in_features: int, generator: torch.Generator | None) -> AutoencoderLayer:
        """Return the module to train, or the fitted one as it is."""
        if not hasattr(self, "layer_"):
            return self._build(in_features, generator)
        if self.layer_.in_features != in_features:
            raise ValueError(
                f"the frozen {self!r} was fitted with {self.layer_.in_features} features, but gets {in_features} from "
                f"below"
            )
        return self.layer_.to(DTYPES[self.dtype])

    def _build(self, in_features: int, generator: torch.Generator | None = None) -> AutoencoderLayer:
        """Return a layer as the parameters describe it, with new weights."""
        return AutoencoderLayer(
            in_features,
            self.n_hidden,
            activation=self.activation,
            output_activation=self.output_activation,
            loss=self.loss,
            tied=self.tied,
            alpha=self.alpha,
            sparsity=self.sparsity,
            corruption=self.corruption,
            contraction=self.contraction,
            dtype=DTYPES[self.dtype],
            generator=generator,
        )

    def _empty_modules(self) -> dict[str, torch.nn.Module]:
        """Return modules of the right shape for the fitted attributes that are modules."""
        return {"layer_": self._build(self.n_features_in_)}

    def _keep(self, stage: stacking.Stage) -> None:
        """Take over the record of the training."""
        assert stage.mean_activation is not None
        self.mean_activations_ = stage.mean_activation.cpu().numpy()
        keep_record(self, stage)


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
        rows = check_training_rows(self, X, output_activation, reset=True)
        validation = None if X_val is None else check_training_rows(self, X_val, output_activation)
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
        if self.finetune is not None:
            stages += self._finetune(rows, validation, training)
        warn_unless_converged(self, stages)
        return self

    def _finetune(self, rows: Rows, validation: Rows | None, training: stacking.Training) -> list[stacking.Stage]:
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
        return [Autoencoder(layer) if isinstance(layer, Integral) else layer for layer in self.layers]

    def _check_layers(self) -> list[Autoencoder]:
        """Return an unfitted clone of every layer, or a copy of a frozen one, with its parameters checked."""
        self._validate_params()
        check_solver(self.solver)
        if self.early_stopping is not None:
            self.early_stopping._validate_params()
        if len(self.layers) == 0:
            raise ValueError("layers=[] is empty, but a stack needs at least one layer, for example [200]")
        layers = []
        for index, layer in enumerate(self.recipes()):
            if isinstance(layer, FrozenEstimator):
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
