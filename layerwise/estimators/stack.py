"""The estimator that learns several layers of features: a stack of autoencoders."""

from __future__ import annotations

import re
from collections.abc import Sequence
from numbers import Integral, Real
from os import PathLike
from typing import Any, ClassVar, Self

from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from layerwise import distributed, stacking
from layerwise.callbacks import Callback, EarlyStopping
from layerwise.checkpoint import Checkpoint
from layerwise.corruptions import Corruption
from layerwise.data.rows import Rows
from layerwise.estimators._checkpointing import CHECKPOINT, checkpointed
from layerwise.estimators._checks import DTYPES, check_part, check_solver, scan_rows, warn_of_target_rows
from layerwise.estimators._coding import CodingEstimator
from layerwise.estimators._columns import compare_columns
from layerwise.estimators._layers import check_pca, start_layers
from layerwise.estimators._record import describe, keep_states, warn_unless_converged
from layerwise.estimators._regularization import CONSTRAINTS, DECAY, regularization, weight_decay_of
from layerwise.estimators._sklearn_callbacks import relayed
from layerwise.estimators.autoencoder import Autoencoder
from layerwise.modules import UnrolledAutoencoder
from layerwise.objective import with_gradients
from layerwise.penalties import Sparsity
from layerwise.solvers import SOLVERS, Solver
from layerwise.stages import Stage, Training
from layerwise.starts import start_as_pca


class StackedAutoencoder(CodingEstimator):
    """Autoencoders trained greedily, one on the codes of the other; then, if asked, all together.

    Parameters
    ----------
    layers : list of (Autoencoder, int or FrozenEstimator of a fitted Autoencoder), default=(200, 200)
        The recipe of each layer; a number n stands for ``Autoencoder(n)``. They are cloned, never changed; their
        own ``cache_size``, ``dtype``, ``device``, ``warm_start``, ``random_state``, ``callbacks`` and ``checkpoint`` do
        not matter here, nor does ``scale`` above the first. A frozen layer keeps its weights until fine-tuning:
        ``[FrozenEstimator(layer) for layer in stack.layers_]`` begins where a fitted stack ended. Parameters of layers
        are reached by number, as ``layer0__n_hidden`` or ``layer1__sparsity__weight``.
    finetune : {"reconstruction"} or None, default=None
        ``"reconstruction"`` goes on with the unrolled deep autoencoder (all encoders, then all decoders) and minimises
        the first layer's loss between rows and reconstructions.
    init : {"uniform", "pca"}, default="uniform"
        How weights begin. ``"uniform"`` draws them, and the layers are trained one after the other. ``"pca"`` skips
        that: each layer but the last gets one more unit for each column, in which its activation is all but linear, and
        the stack begins as PCA with as many components as the last layer has units; its other units are random and
        begin to work in fine-tuning, which must be ``"reconstruction"``. Choose a linear last layer,
        ``Autoencoder(k, activation="identity", output_activation="tanh")``, above tanh units with linear outputs,
        ``Autoencoder(n, activation="tanh", output_activation="identity")``, not tied; ``decay="start"`` keeps the stack
        near PCA.
    untie : bool, default=False
        Whether fine-tuning gives tied decoders weights of their own, which begin as the encoders'.
    alpha : float or list of float, default=0.0
        Factor of the weight decay ``alpha/2 |W|^2`` in fine-tuning. Of a list the one is chosen that is best for the
        samples that ``early_stopping`` holds out; ``history_[-1]["alpha"]`` is the choice.
    decay : {"zero", "start"}, default="zero"
        Where weights decay to: 0, or the weights (biases too) that this call of ``fit`` begins fine-tuning with,
        ``alpha/2 |theta - theta_0|^2``.
    dropout : float, default=0.0
        Share of the codes of each layer that fine-tuning sets to 0, drawn anew for every batch, the others divided by
        ``1 - dropout``; from 0 to below 1. Codes that `transform` gives have none.
    corruption : Masking, SaltAndPepper, Gaussian or None, default=None
        Noise on the input of the first layer in fine-tuning, which compares with the rows as they are.
    sparsity : KLSparsity, L1Sparsity or None, default=None
        Penalty of the last codes in fine-tuning.
    solver : LBFGS, SGD, Adam, "lbfgs", "sgd" or "adam", default="lbfgs"
        What minimises in fine-tuning; a name stands for the default object.
    early_stopping : EarlyStopping or None, default=None
        Of fine-tuning; the layers have their own. With ``refit=True`` it is trained again on all samples.
    cache_size : float, default=1000
        MB of memory that the codes of all rows may take, for each layer; if they would take more, they are computed
        again when needed.
    dtype : {"auto", "float32", "float64"}, default="auto"
        Type of the products: ``"auto"`` is float64 for rows that are float64 or whole numbers, and float32 for float32,
        float16 and uint8. float32 takes about half of the time and of the memory, and loses what is beyond some seven
        digits. Sums over rows and the solver's vectors are float64 always.
    device : str, default="auto"
        ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ...; ``"auto"`` takes a GPU where there is one.
    warm_start : bool, default=False
        Whether `fit` goes on from the last one: with its weights, its scale, and what the solvers have learnt. After
        fine-tuning only that goes on.
    random_state : int, RandomState instance or None, default=None
        Draws the initial weights, noise, and the order of batches.
    callbacks : list of callable or None, default=None
        Each is called with a `layerwise.callbacks.Step` after every iteration; returning True ends the layer.
    checkpoint : str, path-like, Checkpoint or None, default=None
        Where `fit` keeps itself so that it can go on after an interruption, see `layerwise.Checkpoint`; not with
        ``warm_start``, and `partial_fit` keeps nothing.

    Attributes
    ----------
    layers_ : list of Autoencoder
        One fitted autoencoder a layer, each of which encodes the codes of the one before. With fine-tuning they hold
        the weights after it, and the record of their own training before it.
    loss_, loss_curve_, validation_loss_curve_, n_iter_, n_evaluations_, converged_
        The record of the last stage, as in `Autoencoder`: of fine-tuning, or of the last layer.
    history_ : list of dict
        All of this and more, for every stage.
    coefs_, intercepts_ : list of ndarray
        Weights of shape (n_inputs, n_outputs) and biases, of the encoders upwards and then of the decoders downwards.
    explained_variance_ratio_, pca_explained_variance_ratio_ : float
        Of reconstructions through the whole stack, and of as many principal components; as in `Autoencoder`.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features,)
        Where ``X`` had names.
    column_names_ : ndarray of shape (n_features,)
        As text, where ``X`` had names that are no text and no numbers from 0.

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

    layers_: list[Autoencoder]

    _parameter_constraints: ClassVar[dict] = {
        "layers": [list, tuple],
        "finetune": [StrOptions({"reconstruction"}), None],
        "init": [StrOptions({"uniform", "pca"})],
        "untie": ["boolean"],
        **DECAY,
        **CONSTRAINTS,
        "solver": [HasMethods("minimize"), StrOptions(set(SOLVERS))],
        "early_stopping": [EarlyStopping, None],
        "cache_size": [Interval(Real, 0, None, closed="left")],
        "dtype": [StrOptions(set(DTYPES))],
        "device": [str],
        "warm_start": ["boolean"],
        "random_state": ["random_state"],
        "callbacks": [list, tuple, None],
        "checkpoint": CHECKPOINT,
    }

    def __init__(
        self,
        layers: Sequence[Autoencoder | int] = (200, 200),
        *,
        finetune: str | None = None,
        init: str = "uniform",
        untie: bool = False,
        alpha: float | Sequence[float] = 0.0,
        decay: str = "zero",
        dropout: float = 0.0,
        corruption: Corruption | None = None,
        sparsity: Sparsity | None = None,
        solver: Solver | str = "lbfgs",
        early_stopping: EarlyStopping | None = None,
        cache_size: float = 1000,
        dtype: str = "auto",
        device: str = "auto",
        warm_start: bool = False,
        random_state: Any = None,
        callbacks: Sequence[Callback] | None = None,
        checkpoint: str | PathLike[str] | Checkpoint | None = None,
    ):
        self.layers = layers
        self.finetune = finetune
        self.init = init
        self.untie = untie
        self.alpha = alpha
        self.decay = decay
        self.dropout = dropout
        self.corruption = corruption
        self.sparsity = sparsity
        self.solver = solver
        self.early_stopping = early_stopping
        self.cache_size = cache_size
        self.dtype = dtype
        self.device = device
        self.warm_start = warm_start
        self.random_state = random_state
        self.callbacks = callbacks
        self.checkpoint = checkpoint

    @relayed
    @checkpointed
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None, *, X_val: Any = None) -> StackedAutoencoder:
        """Train the layers, the first on the rows, each other on the codes of the one before; then fine-tune if asked.

        Parameters
        ----------
        X : array-like, sparse matrix or Tensor of shape (n_samples, n_features)
            uint8 stays uint8 in memory. With a value above 127 it is read as intensities, 0 to 255 as 0 to 1.
        y : None
            Not used; rows of the shape of ``X`` are warned of.
        sample_weight : array-like of shape (n_samples,), default=None
            How often each row counts: a weight of 2 is the row given twice. None is once.
        X_val : array-like of shape (n_validation, n_features), default=None
            Rows to follow the loss of, for early stopping where that is asked for; None holds out a share for it.

        Returns
        -------
        self : StackedAutoencoder

        Raises
        ------
        ValueError
            If a parameter is wrong, or ``X`` is not finite or, scaled, out of the range of the first layer's output.
        FloatingPointError
            If the objective overflows at the initial weights.
        """
        warn_of_target_rows(self, X, y)
        return self._fit(X, sample_weight, X_val)

    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> StackedAutoencoder:
        """Go on learning with one iteration of every stage: an epoch of stochastic solvers, a step of L-BFGS.

        The first call learns the scale of the columns. A schedule of the learning rate stays at its beginning. With
        fine-tuning, the layers are trained by the first call only.

        Parameters
        ----------
        X : array-like, sparse matrix or Tensor of shape (n_samples, n_features)
        y : None
            Not used; rows of the shape of ``X`` are warned of.
        sample_weight : array-like of shape (n_samples,), default=None
            As in `fit`.

        Returns
        -------
        self : StackedAutoencoder
        """
        warn_of_target_rows(self, X, y)
        return self._fit(X, sample_weight, None, one_iteration=True)

    @with_gradients
    def _fit(
        self, X: Any, sample_weight: Any = None, X_val: Any = None, *, one_iteration: bool = False, seen: Any = None
    ) -> StackedAutoencoder:
        self._check_parameters()
        goes_on = (self.warm_start or one_iteration) and hasattr(self, "layers_")
        if goes_on and len(self.layers) != len(self.layers_):
            raise ValueError(
                f"layers has {len(self.layers)} entries, but the stack to go on with has {len(self.layers_)}; set "
                f"warm_start=False to begin anew"
            )
        alpha = weight_decay_of(self, one_iteration=one_iteration)
        layers = self.layers_ if goes_on else start_layers(self.recipes(), dtype=self.dtype, device=self.device)
        fixed = goes_on and self.finetune is not None
        frozen = [fixed or isinstance(recipe, FrozenEstimator) for recipe in self.layers]
        seen = seen or scan_rows(self, self, X, sample_weight, X_val, reset=not goes_on, trained=goes_on)
        if frozen[0]:
            with distributed.agreed():
                compare_columns(layers[0], X)
        begin = None
        if self.init == "pca" and not goes_on:
            for layer in layers[:-1]:
                layer.n_hidden += self.n_features_in_
            begin = start_as_pca
        rows, validation, training, stages = self._train_layers(
            layers, frozen, seen, goes_on=goes_on, one_iteration=one_iteration, begin=begin
        )
        self.layers_ = layers
        earlier = self.history_ if goes_on else ()
        self.history_ = [record for layer in layers for record in layer.history_]
        if self.finetune is not None:
            stages += self._finetune(rows, validation, training, alpha)
            self.history_.append(describe(stages[-1], earlier))
        keep_states(self, stages, one_iteration=one_iteration)
        self._summarise(seen[0], training.seed)
        warn_unless_converged(self, stages)
        return self

    def _finetune(
        self, rows: Rows, validation: Rows | None, training: Training, alpha: float | list[float]
    ) -> list[Stage]:
        """Train all layers together on the reconstruction of the rows."""
        modules = self.coder_.modules
        if self.untie:
            for layer, module in zip(self.layers_, modules, strict=True):
                module.untie()
                layer.tied = False
        return stacking.finetune_reconstruction(
            UnrolledAutoencoder(modules),
            rows,
            check_solver(self.solver),
            loss=self.layers_[0].loss,
            alpha=alpha,
            decay=self.decay,
            **regularization(self, self.layers_[-1].activation),
            early_stopping=self.early_stopping,
            validation=validation,
            training=training,
        )

    @property
    def _trained_layers(self) -> list[Autoencoder]:
        return self.layers_

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Get the parameters of this estimator and, if ``deep``, of its layers as ``layer0__name``.

        Parameters
        ----------
        deep : bool, default=True

        Returns
        -------
        params : dict
        """
        params = super().get_params(deep=deep)
        if deep and isinstance(self.layers, (list, tuple)):
            for index, layer in enumerate(self.recipes()):
                params[f"layer{index}"] = self.layers[index]
                if hasattr(layer, "get_params"):
                    params |= {f"layer{index}__{key}": value for key, value in layer.get_params().items()}
        return params

    def set_params(self, **params: Any) -> Self:
        """Set parameters of this estimator, and of its layers as ``layer0`` or ``layer0__name``.

        Layers are replaced by changed clones: what was passed as ``layers`` stays as it is.

        Parameters
        ----------
        **params : dict

        Returns
        -------
        self : StackedAutoencoder
        """
        for key in params:
            place = re.match(r"layers?_*(\d+)(__\w+)?$", key)
            if place and not re.match(r"layer\d", key):
                raise ValueError(f"{key} names no parameter; say layer{place[1]}{place[2] or ''}={params[key]!r}")
        own = {key: params.pop(key) for key in list(params) if not re.match(r"layer\d", key)}
        super().set_params(**own)
        if not params:
            return self
        layers = list(self.layers)
        for key in sorted(params, key=len):  # a layer itself before what is in it
            name, _, inner = key.partition("__")
            index = int(name.removeprefix("layer")) if name.removeprefix("layer").isdecimal() else len(layers)
            if index >= len(layers):
                raise ValueError(
                    f"{key} names no parameter: layers has {len(layers)} entries, layer0 to layer{len(layers) - 1}"
                )
            if not inner:
                layers[index] = params[key]
            else:
                layer = Autoencoder(layers[index]) if isinstance(layers[index], Integral) else layers[index]
                layers[index] = clone(layer).set_params(**{inner: params[key]})
        self.layers = layers
        return self

    def recipes(self) -> list[Autoencoder | FrozenEstimator]:
        """Return ``layers`` with an autoencoder in place of every number."""
        numbers = [isinstance(layer, Integral) and not isinstance(layer, bool) for layer in self.layers]
        return [Autoencoder(layer) if number else layer for layer, number in zip(self.layers, numbers, strict=True)]

    def _check_parameters(self) -> None:
        self._validate_params()
        check_solver(self.solver)
        check_part("early_stopping", self.early_stopping)
        if len(self.layers) == 0:
            raise ValueError("layers=[] is empty, but a stack needs at least one layer, for example [200]")
        if self.init == "pca":
            check_pca(self.recipes(), self.finetune)
