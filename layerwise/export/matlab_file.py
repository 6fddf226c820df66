"""A model as a function file of MATLAB, with its numbers in a MAT file beside it."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

import numpy as np
from sklearn.base import BaseEstimator

from layerwise.atomic import atomic
from layerwise.data.mat_output import is_name, write_mat
from layerwise.estimators._intake import placeholder_of
from layerwise.export._parts import take_apart
from layerwise.export._templates import render
from layerwise.export.numpy_file import describe_parts

# What the function of each kind returns.
_OUTPUTS = {
    "coder": "[y, code]",
    "classifier": "[y, label, code]",
    "regressor": "[y, code]",
    "detector": "[y, outlier]",
    "imputer": "y",
}


def export_matlab(model: BaseEstimator, path: str | PathLike[str], *, overwrite: bool = False) -> None:
    """Write a fitted model as a function of MATLAB or Octave, like ``generateFunction`` there.

    ``PATH.m`` holds the function, ``PATH.mat`` the numbers; they belong beside each other. It takes rows
    (samples) in the units that training saw, and needs no toolbox:

    - autoencoder, stack: ``[y, code] = PATH(x)``, reconstructions and codes
    - classifier: ``[y, label, code] = PATH(x)``, the probability of each class first
    - regressor: ``[y, code] = PATH(x)``, predictions first
    - outlier detector: ``[y, outlier] = PATH(x)``, the reconstruction error first
    - imputer: ``y = PATH(x)``, the rows filled in

    Parameters
    ----------
    model : estimator of layerwise, or Pipeline of ("table", TableEncoder), ("imputer", AutoencoderImputer) and such one
        In place of the imputer there may be a ("counts", CountScaler); reconstructions are those of scaled counts then.
        The encoder of a table is left out: the function takes the columns that it makes.
    path : str or path-like
        The function file, which ends in ``.m`` and has a name that MATLAB takes.
    overwrite : bool, default=False
        Whether to replace files that are there.

    Raises
    ------
    ValueError
        If the path is no name of a function, or the model is not known.
    FileExistsError
        If one of the files exists and must not be replaced.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import numpy as np
    >>> from layerwise import Autoencoder, LBFGS
    >>> X = np.random.default_rng(0).normal(size=(50, 6))
    >>> autoencoder = Autoencoder(3, solver=LBFGS(max_iter=5), random_state=0).fit(X)
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "my_model.m"
    >>> export_matlab(autoencoder, path)
    >>> path.read_text().splitlines()[0]
    'function [y, code] = my_model(x)'
    """
    path = Path(path)
    if path.suffix != ".m":
        raise ValueError(f"path={path.name!r} must end in .m")
    if not is_name(path.stem):
        raise ValueError(
            f"path={path.name!r} cannot be called: {path.stem!r} is no name in MATLAB; choose one like my_model.m"
        )
    parts = take_apart(model)
    arrays: dict[str, np.ndarray] = {}
    described = describe_parts(parts, arrays)
    placeholder = placeholder_of(parts.first.missing_values) if parts.fills_in else None
    described["placeholder"] = None if placeholder is None else repr(float(placeholder)).replace("inf", "Inf")
    text = render("matlab_function.m.j2", **described, function=path.stem, outputs=_OUTPUTS[parts.kind])
    upright = ("classes", "feature_names")
    rows = {name: array if name in upright else np.atleast_2d(array) for name, array in arrays.items()}
    with (
        atomic(path.with_suffix(".mat"), overwrite=overwrite) as numbers,
        atomic(path, overwrite=overwrite) as function,
    ):
        write_mat(numbers, rows)
        function.write_text(text, encoding="utf-8")
