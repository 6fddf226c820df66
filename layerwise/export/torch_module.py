"""A model as one torch module, from rows in their own units to outputs that have names."""

from __future__ import annotations

import copy

import torch
from sklearn.base import BaseEstimator
from torch import Tensor, nn

from layerwise.data.count_scaler import CountScaler
from layerwise.estimators._intake import placeholder_of
from layerwise.export._parts import take_apart
from layerwise.modules import AutoencoderLayer


def to_module(model: BaseEstimator) -> nn.Module:
    """Return a fitted model as one torch module that stands alone.

    It maps float32 rows of shape (n_rows, n_features), in the units that training saw (uint8 as floats in [0, 1], NaN
    for what an imputer shall fill in), to a dict of outputs:

    - autoencoder, stack: ``codes``, ``reconstructions``
    - classifier: ``probabilities`` in the order of ``classes_``, ``codes``
    - regressor: ``predictions``, ``codes``
    - outlier detector: ``scores`` (negative for outliers) and ``errors``, each of shape (n_rows,)
    - imputer: ``filled``

    Parameters
    ----------
    model : estimator of layerwise, or Pipeline of ("table", TableEncoder), ("imputer", AutoencoderImputer) and such one
        In place of the imputer there may be a ("counts", CountScaler); reconstructions are those of scaled counts then.
        The encoder of a table is left out: the module takes the columns that it makes.

    Returns
    -------
    module : torch.nn.Module
        On the CPU, with copies of the parameters, rounded to float32; columns are scaled in float64.

    Raises
    ------
    ValueError
        If the model, or a step of it, is not known.

    Examples
    --------
    >>> import numpy as np
    >>> from layerwise import Autoencoder, LBFGS
    >>> X = np.random.default_rng(0).normal(size=(50, 6))
    >>> module = to_module(Autoencoder(3, solver=LBFGS(max_iter=5), random_state=0).fit(X))
    >>> {name: tuple(values.shape) for name, values in module(torch.zeros(2, 6)).items()}
    {'codes': (2, 3), 'reconstructions': (2, 6)}
    """
    parts = take_apart(model)
    module: nn.Module = _MODULES[parts.kind](parts.estimator)
    if parts.imputer is not None:
        module = _Imputed(_Filling(parts.imputer), module)
    if parts.counts is not None:
        module = _Counted(parts.counts, module)
    module = copy.deepcopy(module).cpu()
    for part in module.modules():
        if isinstance(part, (AutoencoderLayer, nn.Linear)):
            part.float()
    return module.requires_grad_(False).eval()


class _Coding(nn.Module):
    def __init__(self, estimator):
        super().__init__()
        self.network = estimator.to_torch()

    def forward(self, rows: Tensor) -> dict[str, Tensor]:
        codes = self.network.encode(rows)
        return {"codes": codes, "reconstructions": self.network.decode(codes)}


class _Classifying(nn.Module):
    def __init__(self, estimator):
        super().__init__()
        self.scaling = estimator.coder_.scaling or nn.Identity()
        self.network = estimator.network_

    def forward(self, rows: Tensor) -> dict[str, Tensor]:
        codes = self.network.encode(self.scaling(rows))
        return {"probabilities": self.network.head(codes).softmax(dim=1), "codes": codes}


class _Regressing(nn.Module):
    def __init__(self, estimator):
        super().__init__()
        self.scaling = estimator.coder_.scaling or nn.Identity()
        self.network = estimator.network_
        self.unscale = estimator.target_scaling_.inverted()
        self.flat = estimator.n_outputs_ is None

    def forward(self, rows: Tensor) -> dict[str, Tensor]:
        codes = self.network.encode(self.scaling(rows))
        predictions = self.unscale(self.network.head(codes))
        return {"predictions": predictions[:, 0] if self.flat else predictions, "codes": codes}


class _Detecting(nn.Module):
    weights: Tensor | None

    def __init__(self, estimator):
        super().__init__()
        self.scaling = estimator.coder_.scaling
        self.network = estimator.coder_.network
        self.offset = float(estimator.offset_)
        self.register_buffer("weights", estimator.coder_.feature_weights)

    def forward(self, rows: Tensor) -> dict[str, Tensor]:
        x = rows if self.scaling is None else self.scaling(rows)
        expected = self.network(x)
        if self.scaling is not None:
            x, expected = self.scaling.straighten(x), self.scaling.straighten(expected)
        terms = 0.5 * (expected - x).double().square()
        errors = (terms if self.weights is None else terms * self.weights).sum(dim=1)
        return {"scores": (-errors - self.offset).to(rows.dtype), "errors": errors.to(rows.dtype)}


class _Filling(nn.Module):
    empty: Tensor

    def __init__(self, estimator):
        super().__init__()
        self.scaling = estimator.coder_.scaling
        self.network = estimator.coder_.network
        self.n_passes, self.placeholder = estimator.n_passes, placeholder_of(estimator.missing_values)
        empty = torch.zeros(estimator.n_features_in_, dtype=torch.bool)
        empty[estimator.empty_features_] = True
        self.register_buffer("empty", empty)

    def forward(self, rows: Tensor) -> dict[str, Tensor]:
        missing = rows.isnan()
        if self.placeholder is not None:
            missing = missing | (rows == self.placeholder)
        x = rows if self.scaling is None else self.scaling(rows)
        x = x.masked_fill(missing, 0.0)
        for _ in range(self.n_passes):
            x = torch.where(missing, self.network(x), x)
        expected = x if self.scaling is None else self.scaling.inverse(x)
        return {"filled": torch.where(missing, expected.masked_fill(self.empty, 0.0), rows)}


class _Counted(nn.Module):
    def __init__(self, counts: CountScaler, module: nn.Module):
        super().__init__()
        self.target = float(counts.target_sum_) if counts.library_size else None
        self.log1p, self.module = bool(counts.log1p), module

    def forward(self, rows: Tensor) -> dict[str, Tensor]:
        x = rows.double()
        if self.target is not None:
            sums = x.sum(dim=1, keepdim=True)
            x = x * (self.target / torch.where(sums > 0, sums, 1.0))
        return self.module((torch.log1p(x) if self.log1p else x).to(rows.dtype))


class _Imputed(nn.Module):
    def __init__(self, filling: nn.Module, module: nn.Module):
        super().__init__()
        self.filling, self.module = filling, module

    def forward(self, rows: Tensor) -> dict[str, Tensor]:
        return self.module(self.filling(rows)["filled"])


_MODULES: dict[str, type[nn.Module]] = {
    "coder": _Coding,
    "classifier": _Classifying,
    "regressor": _Regressing,
    "detector": _Detecting,
    "imputer": _Filling,
}
