"""What one autoencoder and a stack of them have in common: training layers, and from rows to codes and back."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import torch
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags, check_array
from sklearn.utils.validation import check_is_fitted

from layerwise import distributed, stacking
from layerwise.activations import get_activation
from layerwise.data.layout import Layout
from layerwise.data.rows import Rows
from layerwise.data.scaling import Scaling, learn_scaling
from layerwise.estimators._checkpointing import describe_rows, kept_fit
from layerwise.estimators._checks import (
    DTYPES,
    check_rows,
    check_size,
    check_solver,
    column_ranges,
    like_input,
    warn_of_target_rows,
)
from layerwise.estimators._columns import compare_columns
from layerwise.estimators._intake import as_rows
from layerwise.estimators._parts import ComposedEstimator
from layerwise.estimators._record import RecordMixin, make_training
from layerwise.estimators._scaled_rows import check_like_training, check_scaled, read_bytes
from layerwise.estimators._summary import (
    explained_variance_ratio,
    find_dead_units,
    pca_explained_variance_ratio,
    sample_size,
)
from layerwise.modules import AutoencoderLayer, UnrolledAutoencoder
from layerwise.stages import Stage, Training

_CODE_DTYPES = [np.float64, np.float32]

if TYPE_CHECKING:
    from layerwise.estimators.autoencoder import Autoencoder


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
    def _trained_layers(self) -> list[Autoencoder]:
        """The fitted autoencoders, from the input up."""

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
        rows = self._check_rows(X)
        return like_input(stacking.apply(self._network().encode, rows), X)

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
        check_is_fitted(self)
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
        rows = Rows(codes, dtype=DTYPES[self.dtype], device=self._modules()[0].encoder_weight.device)
        check_size(*rows.column_ranges("X"), dtype=self.dtype, name="X")
        decode, scaling = self._network().decode, self._scaling
        if scaling is None:
            return like_input(stacking.apply(decode, rows), codes)
        return like_input(stacking.apply(lambda h: scaling.inverse(decode(h).double()), rows), codes)

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
        rows, differences = self._check_rows(X), self._differences()
        unit = 1.0 if self._scaling is None else self._scaling.scale
        return -stacking.apply(lambda x: 0.5 * (differences(x) * unit).square().sum(dim=1), rows).mean().item()

    def to_torch(self) -> UnrolledAutoencoder:
        """Return the trained torch module, to carry on with in plain PyTorch.

        Its ``encode``, ``decode`` and ``forward`` take and give tensors in the units of the rows (uint8 as floats in
        [0, 1]). It shares its parameters with this estimator.

        Returns
        -------
        network : layerwise.modules.UnrolledAutoencoder
        """
        check_is_fitted(self)
        return UnrolledAutoencoder(self._modules(), self._scaling)

    @property
    def coefs_(self) -> list[np.ndarray]:
        """Weights from the input to the code and on to the reconstruction, each of shape (n_inputs, n_outputs)."""
        decoders = [module.decoder_matrix for module in reversed(self._modules())]
        matrices = [module.encoder_weight for module in self._modules()] + decoders
        return [matrix.detach().cpu().numpy().T for matrix in matrices]

    @property
    def intercepts_(self) -> list[np.ndarray]:
        """Biases that belong to ``coefs_``, each of shape (n_outputs,)."""
        decoders = [module.decoder_bias for module in reversed(self._modules())]
        biases = [module.encoder_bias for module in self._modules()] + decoders
        return [bias.detach().cpu().numpy() for bias in biases]

    def __sklearn_tags__(self) -> Tags:
        """Say what is accepted: sparse rows too; float32 and float64 are kept."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _train_layers(
        self,
        layers: Sequence[Autoencoder],
        frozen: Sequence[bool],
        X: Any,
        sample_weight: Any,
        X_val: Any,
        *,
        goes_on: bool,
        one_iteration: bool,
        allow_missing: bool,
    ) -> tuple[Rows, Rows | None, Training, list[Stage]]:
        """Train layers that are not frozen, from the weights that they have if it ``goes_on``, or from new ones."""
        rows, validation = self._prepare_rows(
            layers[0], X, sample_weight, X_val, goes_on=goes_on, frozen=frozen[0], allow_missing=allow_missing
        )
        training = make_training(
            self,
            self.cache_size,
            states=self.__dict__.pop("_states", None) if goes_on else None,
            one_iteration=one_iteration,
        )
        generator = torch.Generator().manual_seed(training.seed)
        widths = [rows.n_features, *(layer.n_hidden for layer in layers[:-1])]
        modules = [
            layer._start(width, generator, keep=keep or goes_on).to(rows.device)
            for layer, width, keep in zip(layers, widths, frozen, strict=True)
        ]
        stages = stacking.pretrain(
            modules,
            rows,
            [None if keep else check_solver(layer.solver) for layer, keep in zip(layers, frozen, strict=True)],
            problems=[layer._problem(module) for layer, module in zip(layers, modules, strict=True)],
            early_stopping=[layer.early_stopping for layer in layers],
            validation=validation,
            training=training,
        )
        for layer, module in zip(layers, modules, strict=True):
            layer.n_features_in_, layer.layer_ = module.in_features, module
        for layer in layers[1:]:
            layer.scaling_, layer.intensities_ = None, False
        new = [layer for layer, keep in zip(layers, frozen, strict=True) if not keep]
        for layer, stage in zip(new, stages, strict=True):
            layer._keep(stage, goes_on=goes_on)
        return rows, validation, training, stages

    def _prepare_rows(
        self,
        first: Autoencoder,
        X: Any,
        sample_weight: Any,
        X_val: Any,
        *,
        goes_on: bool,
        frozen: bool,
        allow_missing: bool,
    ) -> tuple[Rows, Rows | None]:
        """Return rows to train and to validate with, scaled; the first layer learns how, unless it knows already."""
        knows = goes_on or frozen
        with distributed.agreed():
            rows = check_rows(
                self,
                X,
                dtype=self.dtype,
                device=self.device,
                reset=not goes_on,
                sample_weight=sample_weight,
            )
            if frozen:
                compare_columns(first, X)
        rows, lowest, highest = read_bytes(rows, *column_ranges(rows, allow_missing=allow_missing), first, known=knows)
        kept = kept_fit(self)
        if kept is not None:
            kept.match(X=describe_rows(rows, lowest, highest))
        if not knows:
            reach = get_activation(first.output_activation)
            names = getattr(self, "feature_names_in_", None)
            first.intensities_ = rows.is_uint8
            first.scaling_ = learn_scaling(rows, lowest, highest, first.scale, (reach.low, reach.high), names=names)
        check_scaled(self, first, lowest, highest, "X", known=knows)
        rows, validation = rows.scaled(first.scaling_), None
        if X_val is not None:
            with distributed.agreed():
                validation = check_like_training(self, self, first, X_val, "X_val", allow_missing=allow_missing)
        if kept is not None:
            kept.match(X_val=None if validation is None else describe_rows(validation))
        return rows, validation

    @torch.no_grad()
    def _summarise(self, rows: Rows, seed: int) -> None:
        """Set what the layers make of a sample of their rows, those of all ranks."""
        if rows.has_missing:
            return
        drawn = Layout.of(rows).draw(sample_size(rows.n_features), seed)
        x = sample = distributed.gather_rows(rows.take(drawn))
        for layer in self._trained_layers:
            h = layer.layer_.encode(x)
            layer.dead_units_ = find_dead_units(h)
            layer.explained_variance_ratio_ = explained_variance_ratio(x, layer.layer_.decode(h))
            layer.pca_explained_variance_ratio_ = pca_explained_variance_ratio(x, layer.n_hidden)
            x = h
        if self._trained_layers[0] is not self:
            self.explained_variance_ratio_ = explained_variance_ratio(sample, self._network().decode(x))
            self.pca_explained_variance_ratio_ = pca_explained_variance_ratio(sample, x.shape[1])

    def _modules(self) -> list[AutoencoderLayer]:
        """Return the trained torch modules, from the input up."""
        return [layer.layer_ for layer in self._trained_layers]

    @property
    def _scaling(self) -> Scaling | None:
        return self._trained_layers[0].scaling_

    @property
    def _n_features_out(self) -> int:
        return self._modules()[-1].n_hidden

    def _errors(self, rows: Rows, *, per_feature: bool = False) -> torch.Tensor:
        """Return 1/2 (x^ - x)^2 of scaled rows, entry by entry or summed over each row."""
        differences = self._differences()

        def errors(x: torch.Tensor) -> torch.Tensor:
            terms = differences(x).square_().mul_(0.5)
            return terms if per_feature else terms.sum(dim=1)

        return stacking.apply(errors, rows)

    def _differences(self) -> Callable[[torch.Tensor], torch.Tensor]:
        """Return what maps scaled rows to x^ - x in float64, far values as far as they are."""
        network, straighten = self._network(), _as_it_is if self._scaling is None else self._scaling.straighten
        return lambda x: (straighten(network(x)) - straighten(x)).double()

    def _check_rows(self, X: Any, *, allow_missing: bool = False) -> Rows:
        """Return rows to apply the trained layers to."""
        check_is_fitted(self)
        return check_like_training(self, self, self._trained_layers[0], X, allow_missing=allow_missing)

    def _network(self) -> UnrolledAutoencoder:
        """Return the network of scaled rows."""
        return UnrolledAutoencoder(self._modules())


def _as_it_is(x: torch.Tensor) -> torch.Tensor:
    return x
