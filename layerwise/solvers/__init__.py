"""Solvers: minimise an objective, know nothing else."""

from layerwise.solvers.gradient_check import GradientCheck, numeric_gradient
from layerwise.solvers.lbfgs import LBFGS, LBFGSState
from layerwise.solvers.minibatch import SCHEDULES, SGD, Adam, MinibatchState
from layerwise.solvers.result import Result, Status

SOLVERS = {"lbfgs": LBFGS, "sgd": SGD, "adam": Adam}
Solver = LBFGS | SGD | Adam | GradientCheck

__all__ = [
    "LBFGS",
    "SCHEDULES",
    "SGD",
    "SOLVERS",
    "Adam",
    "GradientCheck",
    "LBFGSState",
    "MinibatchState",
    "Result",
    "Solver",
    "Status",
    "numeric_gradient",
]
