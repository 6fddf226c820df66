"""Estimators that learn features: one autoencoder, and a stack of them."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.base import BaseEstimator, clone
from sklearn.utils._param_validation import Interval, StrOptions

from layerwise import stacking
from layerwise.activations import ACTIVATIONS
from layerwise.callbacks import Callback, call_all
from layerwise.estimators._checks import (
    DTYPES,
    check_rows,
    check_solver,
    keep_record,
    make_generator,
    warn_unless_converged,
)
from layerwise.estimators._coding import CodingMixin
from layerwise.modules import AutoencoderLayer
from layerwise.penalties import KLSparsity
from layerwise.solvers import LBFGS, SOLVERS


class Autoencoder(CodingMixin, BaseEstimator):
    """One autoencoder: learns codes from which its input can be reconstructed.

    With m rows x_i, codes h_i = s(W1 x_i + b1) and reconstructions x^_i = t(W2 h_i + b2) it minimises::

        1/(2m) sum_i |x^_i - x_i|^2  +  alpha/2 (|W1|^2 + |W2|^2)  +  sparsity

    Parameters
    ----------
    n_hidden : int, default=100
        Width of the code.
    activation : {"sigmoid"}, default="sigmoid"
        The function s of the code.
    output_activation : {"sigmoid"}, default="sigmoid"
        The function t of the reconstruction; the rows must be in its range.
    alpha : float, default=1e-4
        Factor of the weight decay, see above; biases do not decay.
    sparsity : KLSparsity or None, default=None
        Penalty that keeps the mean activations small.
    solver : LBFGS or "lbfgs", default="lbfgs"
        What minimises; the name stands for the default object.
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
        The objective after every iteration.
    n_iter_, n_evaluations_ : int
        Steps of the solver, and evaluations of the objective.
    converged_ : bool
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Where ``X`` had names.

    References
    ----------
    A. Ng, "Sparse autoencoder", CS294A lecture notes, 2011.

    Examples
    --------
    >>> from layerwise import Autoencoder, KLSparsity, LBFGS
    >>> from layerwise.data import load_mnist_small
    >>> X = load_mnist_small().X_train[:500]
    >>> sparse = Autoencoder(25, sparsity=KLSparsity(0.1), solver=LBFGS(max_iter=20), random_state=0)
    >>> sparse.fit_transform(X).shape
    (500, 25)
    >>> sparse.score(X) > -50
    True
    """

    _parameter_constraints: ClassVar[dict] = {
        "n_hidden": [Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "output_activation": [StrOptions(set(ACTIVATIONS))],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "sparsity": [KLSparsity, None],
        "solver": [LBFGS, StrOptions(set(SOLVERS))],
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
        alpha: float = 1e-4,
        sparsity: KLSparsity | None = None,
        solver: LBFGS | str = "lbfgs",
        dtype: str = "float32",
        device: str = "auto",
        random_state: Any = None,
        callbacks: Sequence[Callback] | None = None,
    ):
        self.n_hidden = n_hidden
        self.activation = activation
        self.output_activation = output_activation
        self.alpha = alpha
        self.sparsity = sparsity
        self.solver = solver
        self.dtype = dtype
        self.device = device
        self.random_state = random_state
        self.callbacks = callbacks

    def fit(self, X: Any, y: Any = None) -> Autoencoder:
        """Learn codes of rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            In the range of ``output_activation``. uint8 is read as intensities from 0 to 255 and scaled to [0, 1];
            it stays uint8 in memory.
        y : None
            Not used.

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
        rows = check_rows(
            self, X, dtype=self.dtype, device=self.device, reset=True, output_activation=self.output_activation
        )
        layer = self._build(rows.n_features, make_generator(self.random_state)).to(rows.device)
        stages = stacking.pretrain([layer], rows, [check_solver(self.solver)], callback=call_all(self.callbacks))
        self._keep(layer, stages[0])
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
        if self.sparsity is not None:
            self.sparsity._validate_params()

    def _build(self, in_features: int, generator: torch.Generator | None = None) -> AutoencoderLayer:
        """Return a layer as the parameters describe it, with new weights."""
        return AutoencoderLayer(
            in_features,
            self.n_hidden,
            activation=self.activation,
            output_activation=self.output_activation,
            alpha=self.alpha,
            sparsity=self.sparsity,
            dtype=DTYPES[self.dtype],
            generator=generator,
        )

    def _empty_modules(self) -> dict[str, torch.nn.Module]:
        """Return modules of the right shape for the fitted attributes that are modules."""
        return {"layer_": self._build(self.n_features_in_)}

    def _keep(self, layer: AutoencoderLayer, stage: stacking.Stage) -> None:
        """Take over a trained layer and the record of its training."""
        self.n_features_in_ = layer.in_features
        self.layer_ = layer
        assert stage.mean_activation is not None
        self.mean_activations_ = stage.mean_activation.cpu().numpy()
        keep_record(self, stage)


class StackedAutoencoder(CodingMixin, BaseEstimator):
    """Autoencoders trained greedily, one on the codes of the other.

    Parameters
    ----------
    layers : list of (Autoencoder or int), default=(200, 200)
        The recipe of each layer; a number n stands for ``Autoencoder(n)``. They are cloned, never changed; their
        own ``dtype``, ``device``, ``random_state`` and ``callbacks`` do not matter here.
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
        One fitted autoencoder a layer, each of which encodes the codes of the one before.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Where ``X`` had names.

    References
    ----------
    Y. Bengio et al., "Greedy layer-wise training of deep networks", NIPS 2006.

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
        "dtype": [StrOptions(set(DTYPES))],
        "device": [str],
        "random_state": ["random_state"],
        "callbacks": [list, tuple, None],
    }

    def __init__(
        self,
        layers: Sequence[Autoencoder | int] = (200, 200),
        *,
        dtype: str = "float32",
        device: str = "auto",
        random_state: Any = None,
        callbacks: Sequence[Callback] | None = None,
    ):
        self.layers = layers
        self.dtype = dtype
        self.device = device
        self.random_state = random_state
        self.callbacks = callbacks

    def fit(self, X: Any, y: Any = None) -> StackedAutoencoder:
        """Train the layers, the first on the rows, each other on the codes of the one before.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            In the range of the first layer's ``output_activation``. uint8 is read as intensities from 0 to 255 and
            scaled to [0, 1]; it stays uint8 in memory.
        y : None
            Not used.

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
        rows = check_rows(
            self, X, dtype=self.dtype, device=self.device, reset=True, output_activation=output_activation
        )
        generator = make_generator(self.random_state)
        widths = [rows.n_features, *(layer.n_hidden for layer in layers[:-1])]
        modules = [layer._build(width, generator).to(rows.device) for layer, width in zip(layers, widths, strict=True)]
        solvers = [check_solver(layer.solver) for layer in layers]
        stages = stacking.pretrain(modules, rows, solvers, callback=call_all(self.callbacks))
        for layer, module, stage in zip(layers, modules, stages, strict=True):
            layer._keep(module, stage)
        self.layers_ = layers
        warn_unless_converged(self, stages)
        return self

    def _modules(self) -> list[AutoencoderLayer]:
        """Return the trained torch modules, from the input up."""
        return [layer.layer_ for layer in self.layers_]

    def _check_layers(self) -> list[Autoencoder]:
        """Return an unfitted clone of every layer, with its parameters checked."""
        self._validate_params()
        if len(self.layers) == 0:
            raise ValueError("layers=[] is empty, but a stack needs at least one layer, for example [200]")
        layers = []
        for index, layer in enumerate(self.layers):
            if not isinstance(layer, (Autoencoder, Integral)):
                raise ValueError(
                    f"layers[{index}]={layer!r} is a {type(layer).__name__}, but an Autoencoder or an int is expected"
                )
            layer = Autoencoder(layer) if isinstance(layer, Integral) else clone(layer)
            layer.set_params(dtype=self.dtype, device=self.device)
            layer._check_parameters()
            layers.append(layer)
        return layers

    def _empty_modules(self) -> dict[str, torch.nn.Module]:
        """Return nothing: all modules belong to ``layers_``."""
        return {}
