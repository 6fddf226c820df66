"""Solvers: minimise an objective, know nothing else."""

from layerwise.solvers.lbfgs import LBFGS, LBFGSState
from layerwise.solvers.minibatch import SCHEDULES, SGD, Adam, MinibatchState
from layerwise.solvers.result import Result, Status

SOLVERS = {"lbfgs": LBFGS, "sgd": SGD, "adam": Adam}
Solver = LBFGS | SGD | Adam

__all__ = ["LBFGS", "SCHEDULES", "SGD", "SOLVERS", "Adam", "LBFGSState", "MinibatchState", "Result", "Solver", "Status"]
