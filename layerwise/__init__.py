"""Stacked autoencoders: features learned one layer at a time, fine-tuned with the labels there are."""

from importlib.metadata import version

from layerwise.estimators import Autoencoder, StackedAutoencoder, StackedClassifier
from layerwise.penalties import KLSparsity
from layerwise.persistence import load, save
from layerwise.solvers import LBFGS

__version__ = version("layerwise")
__all__ = ["LBFGS", "Autoencoder", "KLSparsity", "StackedAutoencoder", "StackedClassifier", "load", "save"]
