"""A trained coder: layers, and how rows are brought to them, from rows to codes and back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

from layerwise import stacking
from layerwise.data.rows import Rows
from layerwise.data.scaling import Scaling
from layerwise.modules import AutoencoderLayer, UnrolledAutoencoder


class Scan(NamedTuple):
    """Rows as they came, and the smallest and the largest value of each column, Tensors of shape (n_features,)."""

    rows: Rows
    lowest: Tensor
    highest: Tensor

    def as_numbers(self) -> Scan:
        """Return the same, with uint8 as numbers and not as intensities."""
        return Scan(self.rows.as_numbers(), (255 * self.lowest).round(), (255 * self.highest).round())


# Rows to train with, and to validate with.
Scans: TypeAlias = tuple[Scan, Scan | None]


@dataclass(frozen=True)
class Coder:
    """Trained layers, and how rows are read and scaled for them. Estimators own one, as ``coder_``.

    Parameters
    ----------
    modules : list of AutoencoderLayer
        From the input up.
    scaling : Scaling or None
        How columns are scaled; None leaves them as they are.
    intensities : bool
        Whether training saw uint8 that is read as intensities, 0 to 255 as 0 to 1.
    check : callable
        Maps array-like ``X`` and its name in errors to `Rows`, or refuses it.
    feature_weights : Tensor of shape (n_features,) or None, default=None
        How much the error of each feature counts; None is 1.

    Examples
    --------
    >>> import numpy as np
    >>> from layerwise import Autoencoder, LBFGS
    >>> X = np.random.default_rng(0).normal(size=(50, 6))
    >>> coder = Autoencoder(3, solver=LBFGS(max_iter=5), random_state=0).fit(X).coder_
    >>> rows = coder.rows(X)
    >>> coder.encode(rows).shape, coder.reconstruct(rows).shape, coder.errors(rows).shape
    (torch.Size([50, 3]), torch.Size([50, 6]), torch.Size([50]))
    """

    modules: list[AutoencoderLayer]
    scaling: Scaling | None
    intensities: bool
    check: Callable[[Any, str], Rows]
    feature_weights: Tensor | None = None

    @property
    def dtype(self) -> torch.dtype:
        """The type of the products."""
        return self.modules[0].encoder_weight.dtype

    @property
    def device(self) -> torch.device:
        """Where the layers are."""
        return self.modules[0].encoder_weight.device

    @property
    def reads_intensities(self) -> bool:
        """Whether uint8 rows are intensities from 0 to 1, and not numbers like the floats of training."""
        return self.intensities or self.scaling is None

    @property
    def network(self) -> UnrolledAutoencoder:
        """The network of scaled rows."""
        return UnrolledAutoencoder(self.modules)

    def rows(self, X: Any, name: str = "X", *, allow_missing: bool = False) -> Rows:
        """Return rows checked, read and scaled as in training.

        Parameters
        ----------
        X : array-like, sparse matrix or Tensor of shape (n_samples, n_features)
        name : str, default="X"
            What errors call them.
        allow_missing : bool, default=False
            Whether NaN stays as it is instead of being refused.

        Returns
        -------
        rows : Rows of shape (n_samples, n_features)

        Raises
        ------
        ValueError
            If they have other columns than in training, are not finite, are no intensities where training saw such,
            or are close to an overflow.
        """
        rows = self.check(X, name)
        return self.scale(Scan(rows, *rows.column_ranges(name, allow_missing=allow_missing)), name)

    def scale(self, scan: Scan, name: str = "X") -> Rows:
        """Return rows read and scaled as in training, as from `rows`."""
        rows, lowest, highest = self.read(scan)
        # Floats that are 0 to 1 but for some noise are what is asked for.
        if self.intensities and not rows.is_uint8 and (lowest.min() < -1 or highest.max() > 2):
            raise ValueError(
                f"{name} holds values from {lowest.min():g} to {highest.max():g}, but the model was trained on uint8, "
                f"intensities that become 0 to 1; pass uint8, or divide by 255"
            )
        if self.scaling is not None:
            lowest, highest = self.scaling(torch.stack([lowest, highest]))
        _check_size(rows.dtype, lowest, highest, name)
        return rows.scaled(self.scaling)

    def read(self, scan: Scan) -> Scan:
        """Return rows with uint8 read as in training: as intensities, or as numbers."""
        if not scan.rows.is_uint8 or self.intensities:
            return scan
        # Of floats that were not scaled, bytes up to 1 are the same numbers, and others are 255 times as much.
        return scan.as_numbers() if self.scaling is not None or (255 * scan.highest.max()).round() <= 1 else scan

    def encode(self, rows: Rows) -> Tensor:
        """Return codes of shape (n_samples, n_hidden) of scaled rows of shape (n_samples, n_features)."""
        return stacking.apply(self.network.encode, rows)

    def decode(self, codes: Any) -> Tensor:
        """Return rows of shape (n_samples, n_features), in the units of the data, of an array or a tensor of codes."""
        rows, decode = Rows(codes, dtype=self.dtype, device=self.device), self.network.decode
        _check_size(rows.dtype, *rows.column_ranges("X"), "X")
        return stacking.apply(lambda h: self.unscale(decode(h)), rows)

    def reconstruct(self, rows: Rows) -> Tensor:
        """Return reconstructions of scaled rows, of shape (n_samples, n_features), in the units of the data."""
        network = self.network
        return stacking.apply(lambda x: self.unscale(network(x)), rows)

    def errors(self, rows: Rows, *, per_feature: bool = False, in_units: bool = False) -> Tensor:
        """Return the squared errors of reconstructions, ``1/2 sum_k w_k (x^_ik - x_ik)^2``, with the feature weights w.

        Parameters
        ----------
        rows : Rows of shape (n_samples, n_features)
            Scaled. Far values are as far as they are.
        per_feature : bool, default=False
            Whether to return the terms of the sum.
        in_units : bool, default=False
            Whether in the units of the data, and not in the scale of training.

        Returns
        -------
        errors : Tensor of shape (n_samples,) or (n_samples, n_features), float64
        """
        network = self.network
        unit = self.scaling.scale if in_units and self.scaling is not None else 1.0

        def errors(x: Tensor) -> Tensor:
            terms = (self.straighten(network(x)) - self.straighten(x)).double().mul_(unit).square_().mul_(0.5)
            if self.feature_weights is not None:
                terms *= self.feature_weights.to(terms.device)
            return terms if per_feature else terms.sum(dim=1)

        return stacking.apply(errors, rows)

    def straighten(self, x: Tensor) -> Tensor:
        """Return scaled rows of shape (n_rows, n_features) with far values as far as they are."""
        return x if self.scaling is None else self.scaling.straighten(x)

    def unscale(self, x: Tensor) -> Tensor:
        """Return scaled rows of shape (n_rows, n_features) in the units of the data; [0, 1] where those were uint8."""
        return x if self.scaling is None else self.scaling.inverse(x.double())


def _check_size(dtype: torch.dtype, lowest: Tensor, highest: Tensor, name: str) -> None:
    """Refuse scaled columns that are close to an overflow."""
    largest = torch.finfo(dtype).max / 1e6
    beyond = (torch.maximum(lowest.abs(), highest.abs()) > largest) & (lowest <= highest)
    if beyond.any():
        name_of_type = str(dtype).removeprefix("torch.")
        remedy = "use dtype='float64'" if dtype == torch.float32 else "divide it by a large number"
        raise ValueError(
            f"column {int(beyond.nonzero()[0])} of {name} holds values from {lowest[beyond][0]:g} to "
            f"{highest[beyond][0]:g}, scaled as in training: too large for dtype={name_of_type!r}; {remedy}"
        )
