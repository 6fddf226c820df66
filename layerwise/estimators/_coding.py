"""What one autoencoder and a stack of them have in common: training layers, and from rows to codes and back."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, overload

import numpy as np
import torch
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags, check_array
from sklearn.utils.validation import check_is_fitted

from layerwise import distributed, stacking
from layerwise.activations import get_activation
from layerwise.coder import Coder, Scan, Scans
from layerwise.data.layout import Layout
from layerwise.data.repetition import merge_repeated
from layerwise.data.rows import Rows
from layerwise.data.scaling import are_bytes_of_images, learn_scaling
from layerwise.estimators._checkpointing import describe_rows, kept_fit
from layerwise.estimators._checks import check_reach, check_rows, check_solver, like_input, warn_of_target_rows
from layerwise.estimators._intake import as_rows
from layerwise.estimators._parts import ComposedEstimator
from layerwise.estimators._record import RecordMixin, make_training
from layerwise.estimators._summary import (
    explained_variance_ratio,
    find_dead_units,
    pca_explained_variance_ratio,
    sample_size,
)
from layerwise.modules import AutoencoderLayer, UnrolledAutoencoder
from layerwise.solvers import Solver, takes_batches
from layerwise.stages import Stage, Training

# Sets the weights of modules by the rows.
Begin = Callable[[Sequence[AutoencoderLayer], Rows, torch.Generator], None]
_CODE_DTYPES = [np.float64, np.float32]


class CodingEstimator(RecordMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, ComposedEstimator, abc.ABC):
    """Trains layers, and maps rows to codes and back with them."""

    dtype: str
    device: str
    warm_start: bool
    random_state: Any
    callbacks: Any
    checkpoint: Any
    cache_size: float
    explained_variance_ratio_: float
    pca_explained_variance_ratio_: float

    @property
    @abc.abstractmethod
    def _trained_layers(self) -> list[Any]:
        """The fitted autoencoders, from the input up."""

    @property
    def coder_(self) -> Coder:
        """The trained layers, and how rows are read and scaled for them."""
        check_is_fitted(self)
        layers = self._trained_layers
        return self._make_coder([layer.layer_ for layer in layers], layers[0])

    def transform(self, X: Any) -> Any:
        """Encode rows.

        Parameters
        ----------
        X : array-like, sparse matrix or Tensor of shape (n_samples, n_features)
            uint8 is read as intensities from 0 to 255 if training saw such.

        Returns
        -------
        codes : ndarray or Tensor of shape (n_samples, n_hidden)
            The activations of the last hidden layer; in the type of ``X`` if that is floating, and on its device if it
            is a tensor.
        """
        coder = self.coder_
        return like_input(coder.encode(coder.rows(X)), X)

    @overload
    def inverse_transform(self, X: torch.Tensor) -> torch.Tensor: ...
    @overload
    def inverse_transform(self, X: Any) -> np.ndarray: ...
    def inverse_transform(self, X: Any) -> Any:
        """Decode codes.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_hidden)
            Codes, as `transform` returns them.

        Returns
        -------
        reconstructions : ndarray or Tensor of shape (n_samples, n_features)
            In the units of the rows that training saw; [0, 1] where those were uint8.
        """
        coder = self.coder_
        codes = (
            X.detach()
            if isinstance(X, torch.Tensor)
            else check_array(as_rows(X, "codes"), dtype=_CODE_DTYPES, ensure_all_finite=False)
        )
        if codes.ndim != 2 or codes.shape[1] != self._n_features_out:
            raise ValueError(
                f"codes have shape {tuple(codes.shape)}, but (n_samples, {self._n_features_out}) is expected"
            )
        if codes.dtype not in (np.float32, np.float64, torch.float32, torch.float64):
            codes = codes.double()
        return like_input(coder.decode(codes), codes)

    def score(self, X: Any, y: Any = None) -> float:
        """Return minus the reconstruction error, ``-1/(2m) sum_i |x^_i - x_i|^2``, in the units of the rows.

        Higher is better.

        Parameters
        ----------
        X : array-like, sparse matrix or Tensor of shape (n_samples, n_features)
        y : None
            Not used; rows of the shape of ``X`` are warned of.

        Returns
        -------
        score : float
            At most 0.
        """
        warn_of_target_rows(self, X, y)
        coder = self.coder_
        return -coder.errors(coder.rows(X), in_units=True).mean().item()

    def to_torch(self) -> UnrolledAutoencoder:
        """Return the trained torch module, to carry on with in plain PyTorch.

        Its ``encode``, ``decode`` and ``forward`` take and give tensors in the units of the rows (uint8 as floats in
        [0, 1]), in the type of the products, which ``.float()`` changes. It shares its parameters with this estimator.

        Returns
        -------
        network : layerwise.modules.UnrolledAutoencoder
        """
        return UnrolledAutoencoder(self.coder_.modules, self.coder_.scaling)

    @property
    def coefs_(self) -> list[np.ndarray]:
        """Weights from the input to the code and on to the reconstruction, each of shape (n_inputs, n_outputs)."""
        modules = self.coder_.modules
        decoders = [module.decoder_matrix for module in reversed(modules)]
        matrices = [module.encoder_weight for module in modules] + decoders
        return [matrix.detach().cpu().numpy().T for matrix in matrices]

    @property
    def intercepts_(self) -> list[np.ndarray]:
        """Biases that belong to ``coefs_``, each of shape (n_outputs,)."""
        modules = self.coder_.modules
        decoders = [module.decoder_bias for module in reversed(modules)]
        biases = [module.encoder_bias for module in modules] + decoders
        return [bias.detach().cpu().numpy() for bias in biases]

    def __sklearn_tags__(self) -> Tags:
        """Say what is accepted: sparse rows too; float32 and float64 are kept."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _train_layers(
        self,
        layers: Sequence[Any],
        frozen: Sequence[bool],
        seen: Scans,
        *,
        goes_on: bool,
        one_iteration: bool,
        begin: Begin | None = None,
    ) -> tuple[Rows, Rows | None, Training, list[Stage]]:
        """Train layers that are not frozen, from the weights that they have if it ``goes_on``, or from new ones.

        Where ``begin(modules, rows, generator)`` is given, it sets their weights, and they are not trained.
        """
        solvers = [None if keep else check_solver(layer.solver) for layer, keep in zip(layers, frozen, strict=True)]
        merges = not any(map(takes_batches, [*solvers, vars(self).get("solver")]))
        rows, validation = self._prepare_rows(layers[0], *seen, known=goes_on or frozen[0], merges=merges)
        training = make_training(
            self,
            self.cache_size,
            states=self.__dict__.pop("_states", None) if goes_on else None,
            one_iteration=one_iteration,
        )
        generator = torch.Generator().manual_seed(training.seed)
        widths = [rows.n_features, *(layer.n_hidden for layer in layers[:-1])]
        modules = [
            layer._start(width, generator, rows.dtype, keep=keep or goes_on).to(rows.device)
            for layer, width, keep in zip(layers, widths, frozen, strict=True)
        ]
        if begin is None:
            stages = self._pretrain_modules(layers, modules, solvers, rows, validation, training)
        else:
            begin(modules, rows, generator)
            stages = []
        for layer, module in zip(layers, modules, strict=True):
            layer.n_features_in_, layer.layer_ = module.in_features, module
        for layer in layers[1:]:
            layer.scaling_, layer.intensities_ = None, False
        if begin is not None:
            for layer in layers:
                layer.history_ = []
        new = [layer for layer, keep in zip(layers, frozen, strict=True) if not keep and begin is None]
        for layer, stage in zip(new, stages, strict=True):
            layer._keep(stage, goes_on=goes_on)
        return rows, validation, training, stages

    @staticmethod
    def _pretrain_modules(
        layers: Sequence[Any],
        modules: Sequence[AutoencoderLayer],
        solvers: Sequence[Solver | None],
        rows: Rows,
        validation: Rows | None,
        training: Training,
    ) -> list[Stage]:
        """Train the modules of layers, each by its solver, if it has one."""
        return stacking.pretrain(
            modules,
            rows,
            solvers,
            problems=[layer._problem(module) for layer, module in zip(layers, modules, strict=True)],
            early_stopping=[layer.early_stopping for layer in layers],
            validation=validation,
            training=training,
        )

    def _prepare_rows(
        self, first: Any, scan: Scan, validation: Scan | None, *, known: bool, merges: bool
    ) -> tuple[Rows, Rows | None]:
        """Return rows to train and to validate with, scaled; the first layer learns how, unless that is known."""
        if known:
            scan = self._make_coder([], first).read(scan)
        elif scan.rows.is_uint8 and first.scale == "auto" and not are_bytes_of_images(scan.highest.max()):
            scan = scan.as_numbers()
        kept = kept_fit(self)
        if kept is not None:
            kept.match(X=describe_rows(*scan))
        if merges:
            scan = scan._replace(rows=merge_repeated(scan.rows)[0])
        if not known:
            reach = get_activation(first.output_activation)
            names = getattr(self, "feature_names_in_", None)
            first.intensities_ = scan.rows.is_uint8
            first.scaling_ = learn_scaling(*scan, first.scale, (reach.low, reach.high), names=names)
        check_reach(self, first, scan, known=known)
        rows, rows_val = scan.rows.scaled(first.scaling_), None
        if validation is not None:
            coder = self._make_coder([], first)
            with distributed.agreed():
                rows_val = coder.scale(validation, "X_val")
                check_reach(self, first, coder.read(validation), "X_val", known=True)
        if kept is not None:
            kept.match(X_val=None if rows_val is None else describe_rows(rows_val))
        return rows, rows_val

    @torch.no_grad()
    def _summarise(self, scan: Scan, seed: int) -> None:
        """Set what the layers make of a sample of their rows, those of all ranks."""
        if scan.rows.has_missing:
            return
        rows = self.coder_.scale(scan)
        drawn = Layout.of(rows).draw(sample_size(rows.n_features), seed)
        x = sample = distributed.gather_rows(rows.take(drawn))
        for layer in self._trained_layers:
            h = layer.layer_.encode(x)
            layer.dead_units_ = find_dead_units(h)
            layer.explained_variance_ratio_ = explained_variance_ratio(x, layer.layer_.decode(h))
            layer.pca_explained_variance_ratio_ = pca_explained_variance_ratio(x, layer.n_hidden)
            x = h
        if self._trained_layers[0] is not self:
            self.explained_variance_ratio_ = explained_variance_ratio(sample, self.coder_.network.decode(x))
            self.pca_explained_variance_ratio_ = pca_explained_variance_ratio(sample, x.shape[1])

    @property
    def _n_features_out(self) -> int:
        return self.coder_.modules[-1].n_hidden

    def _make_coder(self, modules: list[AutoencoderLayer], first: Any) -> Coder:
        """Return a coder of these modules, which reads and scales rows as the first layer has learnt to."""
        dtype = modules[0].encoder_weight.dtype if modules else None
        check = partial(check_rows, self, dtype=dtype, device=self.device)
        return Coder(modules, first.scaling_, first.intensities_, check)
