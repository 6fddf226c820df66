"""Pictures of fitted estimators, in the manner of scikit-learn's displays: ``from_estimator``, ``plot``, ``ax_``."""

from layerwise.displays.layers import ActivationsDisplay, FiltersDisplay, LossCurveDisplay
from layerwise.displays.rows import CodesDisplay, ReconstructionsDisplay

__all__ = ["ActivationsDisplay", "CodesDisplay", "FiltersDisplay", "LossCurveDisplay", "ReconstructionsDisplay"]
