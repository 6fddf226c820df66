"""The estimator that learns one layer of features."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from numbers import Integral, Real
from os import PathLike
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from layerwise.activations import ACTIVATIONS, WITH_PARAMETERS, Activation
from layerwise.callbacks import Callback, EarlyStopping
from layerwise.checkpoint import Checkpoint
from layerwise.corruptions import Corruption
from layerwise.data.scaling import SCALES, Scaling
from layerwise.estimators._checkpointing import CHECKPOINT, checkpointed
from layerwise.estimators._checks import (
    DTYPES,
    check_corruption,
    check_part,
    check_solver,
    scan_rows,
    warn_of_target_rows,
)
from layerwise.estimators._coding import CodingEstimator
from layerwise.estimators._record import describe, keep_states, warn_unless_converged
from layerwise.estimators._regularization import CONSTRAINTS
from layerwise.estimators._sklearn_callbacks import relayed
from layerwise.losses import LOSSES, reconstruction_loss
from layerwise.modules import AutoencoderLayer
from layerwise.objective import LayerObjective, split_terms, with_gradients
from layerwise.penalties import Contraction, Sparsity
from layerwise.solvers import SOLVERS, Solver
from layerwise.stages import Stage


class Autoencoder(CodingEstimator):
    """One autoencoder: learns codes from which its input can be reconstructed.

    With m rows x_i, their corrupted copies x~_i (the rows themselves without corruption), codes h_i = s(W1 x~_i + b1)
    and reconstructions x^_i = t(W2 h_i + b2) it minimises::

        1/m sum_i L(x^_i, x_i)  +  alpha/2 (|W1|^2 + |W2|^2)
            +  sparsity  +  contraction/m sum_i |dh_i/dx~_i|_F^2

    Parameters
    ----------
    n_hidden : int, default=100
        Width of the code.
    activation : str or TopK, default="sigmoid"
        The function s of the code: ``"sigmoid"``, ``"tanh"``, ``"relu"``, ``"leaky_relu"``, ``"elu"``, ``"softplus"``
        or ``"identity"``; `TopK` keeps the k strongest units of each row: a k-sparse autoencoder.
    output_activation : str, default="sigmoid"
        The function t of the reconstruction, one of the same names; the rows, once scaled, must be in its range.
        ``"identity"`` is for real-valued data.
    loss : {"squared_error", "binary_cross_entropy"}, default="squared_error"
        L: ``1/2 |x^ - x|^2``, or ``-sum_k [x_k log x^_k + (1 - x_k) log(1 - x^_k)]`` for rows in [0, 1], computed from
        logits.
    tied : bool, default=False
        Whether W2 is W1 transposed: one parameter, which decays once.
    alpha : float, default=1e-4
        Factor of the weight decay, see above; biases do not decay.
    sparsity : KLSparsity, L1Sparsity or None, default=None
        Penalty that keeps the activations small; one of your own is what `layerwise.penalties.Sparsity` describes.
    corruption : Masking, SaltAndPepper, Gaussian or None, default=None
        Noise on the input in training, which the reconstruction shall not have: a denoising autoencoder. Drawn once a
        fit under L-BFGS, anew for each batch under stochastic solvers; `transform` and `score` never add it. One of
        your own is what `layerwise.corruptions.Corruption` describes.
    contraction : float, default=0.0
        Factor of the penalty of the encoder's Jacobian: a contractive autoencoder.
    scale : {"auto", "minmax", "standard"} or None, default="auto"
        How columns are scaled, within the model: ``"minmax"`` brings each to the range of ``output_activation`` ([0, 1]
        where that is infinite), ``"standard"`` to mean 0 and standard deviation 1; None leaves all as it is. ``"auto"``
        leaves pixels as they are, takes ``"standard"`` for outputs without a lower bound and ``"minmax"`` for others,
        and lets values far from all others of their column take little of its range: the rule is in the guide, under
        "How columns are scaled". Everything above is in scaled units, `inverse_transform` and `score` are in those of
        the rows. In a stack only the first layer scales.
    solver : LBFGS, SGD, Adam, "lbfgs", "sgd" or "adam", default="lbfgs"
        What minimises; a name stands for the default object.
    early_stopping : EarlyStopping or None, default=None
        Ends training when the loss of held-out rows stops falling, and keeps the best parameters.
    cache_size : float, default=1000
        MB of memory that the codes of all rows may take; if they would take more, they are computed again when needed.
    dtype : {"auto", "float32", "float64"}, default="auto"
        Type of the products: ``"auto"`` is float64 for rows that are float64 or whole numbers, and float32 for float32,
        float16 and uint8. float32 takes about half of the time and of the memory, and loses what is beyond some seven
        digits. Sums over rows and the solver's vectors are float64 always.
    device : str, default="auto"
        ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ...; ``"auto"`` takes a GPU where there is one.
    warm_start : bool, default=False
        Whether `fit` goes on from the last one: with its weights, its scale, and what the solver has learnt (the
        curvature pairs of L-BFGS, the momentum of stochastic solvers).
    random_state : int, RandomState instance or None, default=None
        Draws the initial weights, noise, and the order of batches.
    callbacks : list of callable or None, default=None
        Each is called with a `layerwise.callbacks.Step` after every iteration; returning True stops.
    checkpoint : str, path-like, Checkpoint or None, default=None
        Where `fit` keeps itself so that it can go on after an interruption, see `layerwise.Checkpoint`; not with
        ``warm_start``, and `partial_fit` keeps nothing.

    Attributes
    ----------
    layer_ : layerwise.modules.AutoencoderLayer
        The trained torch module.
    scaling_ : layerwise.data.scaling.Scaling or None
        How columns are scaled; None where they stay as they are.
    intensities_ : bool
        Whether the rows were uint8 that is read as intensities, 0 to 255 as 0 to 1.
    components_ : ndarray of shape (n_hidden, n_features)
        Encoder weights by unit.
    mean_activations_ : ndarray of shape (n_hidden,)
        Of every unit over the training rows, corrupted if they were. With KL sparsity as shares of the activation's
        range, which are (1 + h) / 2 for tanh.
    coefs_, intercepts_ : list of ndarray
        Weights of shape (n_inputs, n_outputs) and biases, of the encoder and then of the decoder.
    dead_units_ : ndarray of int
        Indices of units that vary by less than 1 % of what the liveliest does, over up to 5,000 training rows.
    explained_variance_ratio_ : float
        Share of the variance of these rows that their reconstructions keep, ``1 - sum |x^ - x|^2 / sum |x - mean|^2``.
    pca_explained_variance_ratio_ : float
        What as many principal components of them would keep: a scale to judge by.
    loss_ : float
        The objective at the end.
    loss_curve_ : list of float
        The objective after every iteration; under stochastic solvers its average over each epoch.
    validation_loss_curve_ : list of float
        L of the validation rows after every iteration; empty without such.
    n_iter_, n_evaluations_ : int
        Steps of the solver, and evaluations of the objective; epochs and batches of stochastic solvers.
    converged_ : bool
    history_ : list of dict
        All of this and more, for the one stage that there is.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features,)
        Where ``X`` had names.
    column_names_ : ndarray of shape (n_features,)
        As text, where ``X`` had names that are no text and no numbers from 0.

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
        "activation": [StrOptions(set(ACTIVATIONS)), *WITH_PARAMETERS.values(), HasMethods(["forward", "backward_"])],
        "output_activation": [StrOptions(set(ACTIVATIONS))],
        "loss": [StrOptions(set(LOSSES))],
        "tied": ["boolean"],
        "alpha": [Interval(Real, 0, None, closed="left")],
        **{name: CONSTRAINTS[name] for name in ("sparsity", "corruption")},
        "contraction": [Interval(Real, 0, None, closed="left")],
        "scale": [StrOptions(set(SCALES)), None],
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
        n_hidden: int = 100,
        *,
        activation: str | Activation = "sigmoid",
        output_activation: str = "sigmoid",
        loss: str = "squared_error",
        tied: bool = False,
        alpha: float = 1e-4,
        sparsity: Sparsity | None = None,
        corruption: Corruption | None = None,
        contraction: float = 0.0,
        scale: str | None = "auto",
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
        self.n_hidden = n_hidden
        self.activation = activation
        self.output_activation = output_activation
        self.loss = loss
        self.tied = tied
        self.alpha = alpha
        self.sparsity = sparsity
        self.corruption = corruption
        self.contraction = contraction
        self.scale = scale
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
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None, *, X_val: Any = None) -> Autoencoder:
        """Learn codes of rows.

        Parameters
        ----------
        X : array-like, sparse matrix or Tensor of shape (n_samples, n_features)
            uint8 stays uint8 in memory. With a value above 127 it is read as intensities, 0 to 255 as 0 to 1.
        y : None
            Not used; rows of the shape of ``X`` are warned of.
        sample_weight : array-like of shape (n_samples,), default=None
            How often each row counts: a weight of 2 is the row given twice. None is once.
        X_val : array-like of shape (n_validation, n_features), default=None
            Rows to follow the loss of, for early stopping if that is asked for; None holds out a share for it.

        Returns
        -------
        self : Autoencoder

        Raises
        ------
        ValueError
            If a parameter is wrong, or ``X`` is not finite or, scaled, out of the range of the output.
        FloatingPointError
            If the objective overflows at the initial weights.
        """
        warn_of_target_rows(self, X, y)
        return self._fit(X, sample_weight, X_val)

    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Autoencoder:
        """Go on learning with one iteration on these rows: an epoch of stochastic solvers, a step of L-BFGS.

        The first call learns the scale of the columns. A schedule of the learning rate stays at its beginning.

        Parameters
        ----------
        X : array-like, sparse matrix or Tensor of shape (n_samples, n_features)
        y : None
            Not used; rows of the shape of ``X`` are warned of.
        sample_weight : array-like of shape (n_samples,), default=None
            As in `fit`.

        Returns
        -------
        self : Autoencoder
        """
        warn_of_target_rows(self, X, y)
        return self._fit(X, sample_weight, None, one_iteration=True)

    @with_gradients
    def _fit(
        self, X: Any, sample_weight: Any = None, X_val: Any = None, *, one_iteration: bool = False, seen: Any = None
    ) -> Autoencoder:
        self._check_parameters()
        goes_on = (self.warm_start or one_iteration) and hasattr(self, "layer_")
        seen = seen or scan_rows(self, self, X, sample_weight, X_val, reset=not goes_on, trained=goes_on)
        _, _, training, stages = self._train_layers([self], [False], seen, goes_on=goes_on, one_iteration=one_iteration)
        keep_states(self, stages, one_iteration=one_iteration)
        self._summarise(seen[0], training.seed)
        warn_unless_converged(self, stages)
        return self

    @property
    def _trained_layers(self) -> list[Autoencoder]:
        return [self]

    @property
    def components_(self) -> np.ndarray:
        """Encoder weights by unit."""
        return self.layer_.encoder_weight.detach().cpu().numpy()

    def _check_parameters(self) -> None:
        self._validate_params()
        check_solver(self.solver)
        check_part("activation", self.activation)
        check_part("sparsity", self.sparsity)
        check_part("early_stopping", self.early_stopping)
        if self.corruption is not None:
            check_corruption(self.corruption)

    def _start(
        self, in_features: int, generator: torch.Generator | None, dtype: torch.dtype, *, keep: bool
    ) -> AutoencoderLayer:
        """Return the module to train, or the fitted one as it is if that is to be kept."""
        if not keep:
            return self._build(in_features, generator, dtype)
        old = self.layer_
        if old.in_features != in_features:
            raise ValueError(
                f"the frozen {self!r} was fitted with {old.in_features} features, but gets {in_features} from below"
            )
        tied = old.decoder_weight is None
        if (old.n_hidden, tied) != (self.n_hidden, self.tied):
            raise ValueError(
                f"n_hidden={self.n_hidden} and tied={self.tied} do not go with the weights to go on with, of "
                f"n_hidden={old.n_hidden} and tied={tied}; set warm_start=False to begin anew"
            )
        with torch.device("meta"):  # other parameters may have changed
            layer = self._build(in_features, dtype=dtype)
        weights = {name: value.to(dtype) for name, value in old.state_dict().items()}
        layer.load_state_dict(weights, assign=True)
        return layer

    def _build(
        self, in_features: int, generator: torch.Generator | None = None, dtype: torch.dtype | None = None
    ) -> AutoencoderLayer:
        """Return a layer as the parameters describe it, with new weights."""
        return AutoencoderLayer(
            in_features,
            self.n_hidden,
            activation=self.activation,
            output_activation=self.output_activation,
            tied=self.tied,
            dtype=dtype or DTYPES[self.dtype] or torch.float64,
            generator=generator,
        )

    def _problem(self, module: AutoencoderLayer) -> Callable[..., LayerObjective]:
        """Return the training problem of a layer, of which rows and seed are to be given."""
        terms: list[Any] = [] if self.sparsity is None else [self.sparsity]
        terms += [Contraction(self.contraction)] if self.contraction else []
        # What does not go together is refused before the layers below are trained.
        reconstruction_loss(self.loss, module.output_activation)
        split_terms(module.activation, terms)
        return partial(LayerObjective, loss=self.loss, terms=terms, corruption=self.corruption, alpha=float(self.alpha))

    def _empty_modules(self) -> dict[str, torch.nn.Module]:
        """Return modules of the right shape for the fitted attributes that are modules."""
        n = self.n_features_in_
        modules: dict[str, torch.nn.Module] = {"layer_": self._build(n)}
        if not hasattr(self, "scaling_"):  # None is no module
            modules["scaling_"] = Scaling(torch.zeros(n), torch.ones(n))
        return modules

    def _keep(self, stage: Stage, *, goes_on: bool) -> None:
        """Take over the record of the training."""
        assert stage.mean_activation is not None
        self.mean_activations_ = stage.mean_activation.cpu().numpy()
        self.history_ = [describe(stage, self.history_ if goes_on else ())]
