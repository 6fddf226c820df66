"""What one autoencoder and a stack of them have in common: from rows to codes and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from layerwise import stacking
from layerwise.data.rows import Rows
from layerwise.estimators._checks import DTYPES, check_rows, to_array


class CodingMixin(ClassNamePrefixFeaturesOutMixin, TransformerMixin):
    """What one autoencoder and a stack share: mapping rows to codes and back, through ``_modules()``."""

    def transform(self, X: Any) -> np.ndarray:
        """Encode rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            uint8 is read as intensities from 0 to 255 and scaled to [0, 1].

        Returns
        -------
        codes : ndarray of shape (n_samples, n_hidden)
            The activations of the last hidden layer; in the type of ``X`` if that is floating.
        """
        check_is_fitted(self)
        rows = check_rows(self, X, dtype=self.dtype, device=self.device)
        return to_array(stacking.apply(self._encode, rows), X)

    def inverse_transform(self, X: Any) -> np.ndarray:
        """Decode codes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_hidden)
            Codes, as `transform` returns them.

        Returns
        -------
        reconstructions : ndarray of shape (n_samples, n_features)
            On the scale that training saw; [0, 1] where the rows were uint8.
        """
        check_is_fitted(self)
        X = np.asarray(X)
        if X.ndim != 2 or X.shape[1] != self._n_features_out:
            raise ValueError(f"codes have shape {X.shape}, but (n_samples, {self._n_features_out}) is expected")
        if X.dtype not in (np.float32, np.float64):
            X = X.astype(np.float64)
        rows = Rows(X, dtype=DTYPES[self.dtype], device=self._modules()[0].encoder_weight.device)
        return to_array(stacking.apply(self._decode, rows), X)

    def score(self, X: Any, y: Any = None) -> float:
        """Return minus the reconstruction error, -1/(2m) sum_i |x^_i - x_i|^2: higher is better.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : None
            Not used.

        Returns
        -------
        score : float
            At most 0.
        """
        check_is_fitted(self)
        rows = check_rows(self, X, dtype=self.dtype, device=self.device)

        def errors(x: torch.Tensor) -> torch.Tensor:
            return 0.5 * torch.linalg.vector_norm(self._decode(self._encode(x)) - x, dim=1).double().square()

        return -stacking.apply(errors, rows).mean().item()

    @property
    def _n_features_out(self) -> int:
        return self._modules()[-1].n_hidden

    def _encode(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self._modules():
            x = layer.encode(x)
        return x

    def _decode(self, h: torch.Tensor) -> torch.Tensor:
        for layer in reversed(self._modules()):
            h = layer.decode(h)
        return h
