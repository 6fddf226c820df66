"""The scikit-learn face of layerwise."""

from layerwise.estimators.predictors import StackedClassifier, StackedRegressor
from layerwise.estimators.transformers import Autoencoder, StackedAutoencoder

__all__ = ["Autoencoder", "StackedAutoencoder", "StackedClassifier", "StackedRegressor"]
