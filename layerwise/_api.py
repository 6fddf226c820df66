"""What `layerwise` exports: everything that its users need by name."""

from layerwise.activations import TopK
from layerwise.callbacks import EarlyStopping
from layerwise.checkpoint import Checkpoint
from layerwise.corruptions import Gaussian, Masking, SaltAndPepper
from layerwise.data.inputs import read
from layerwise.errors import FileError
from layerwise.estimators import (
    Autoencoder,
    AutoencoderImputer,
    AutoencoderOutlierDetector,
    StackedAutoencoder,
    StackedClassifier,
    StackedRegressor,
    check_gradient,
)
from layerwise.penalties import KLSparsity, L1Sparsity
from layerwise.persistence import load, save
from layerwise.solvers import LBFGS, SGD, Adam

__all__ = [
    "LBFGS",
    "SGD",
    "Adam",
    "Autoencoder",
    "AutoencoderImputer",
    "AutoencoderOutlierDetector",
    "Checkpoint",
    "EarlyStopping",
    "FileError",
    "Gaussian",
    "KLSparsity",
    "L1Sparsity",
    "Masking",
    "SaltAndPepper",
    "StackedAutoencoder",
    "StackedClassifier",
    "StackedRegressor",
    "TopK",
    "check_gradient",
    "load",
    "read",
    "save",
]
