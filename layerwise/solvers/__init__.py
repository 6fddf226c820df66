"""Solvers: minimise an objective, know nothing else."""

from layerwise.solvers.lbfgs import LBFGS, LBFGSState
from layerwise.solvers.result import Result, Status

SOLVERS = {"lbfgs": LBFGS}

__all__ = ["LBFGS", "SOLVERS", "LBFGSState", "Result", "Status"]
