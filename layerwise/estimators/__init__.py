"""The scikit-learn face of layerwise."""

from layerwise.estimators.autoencoder import Autoencoder
from layerwise.estimators.checking import check_gradient
from layerwise.estimators.classifier import StackedClassifier
from layerwise.estimators.imputer import AutoencoderImputer
from layerwise.estimators.outliers import AutoencoderOutlierDetector
from layerwise.estimators.regressor import StackedRegressor
from layerwise.estimators.stack import StackedAutoencoder

__all__ = [
    "Autoencoder",
    "AutoencoderImputer",
    "AutoencoderOutlierDetector",
    "StackedAutoencoder",
    "StackedClassifier",
    "StackedRegressor",
    "check_gradient",
]
