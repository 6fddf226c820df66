"""Value and gradient of a training problem, over all rows in chunks or over a batch: the only place for 1/m and means.

An objective is a function of one flat float64 vector, ``objective(theta) -> (value, gradient)``, exact over all rows.
Products are taken in the type of the rows' blocks (float32 as a rule), sums over chunks in float64. For stochastic
solvers ``objective.epoch`` yields the values and gradients of batches. After a call, ``parts`` holds the terms of the
value by name, and ``mean_activation`` the mean activations of the hidden units where they matter.
"""

from layerwise.objective.base import (
    CACHE_BYTES,
    Objective,
    default_chunk_rows,
    observe,
    with_gradients,
)
from layerwise.objective.joint import JointObjective
from layerwise.objective.layer import LayerObjective, split_terms
from layerwise.objective.network import mean_loss, reconstruction_objective, supervised_objective
from layerwise.objective.parameters import ParameterVector

__all__ = [
    "CACHE_BYTES",
    "JointObjective",
    "LayerObjective",
    "Objective",
    "ParameterVector",
    "default_chunk_rows",
    "mean_loss",
    "observe",
    "reconstruction_objective",
    "split_terms",
    "supervised_objective",
    "with_gradients",
]
