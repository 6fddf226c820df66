"""Pictures: arrays in, matplotlib Axes out."""

from layerwise.plotting.curves import plot_comparison, plot_loss, plot_published
from layerwise.plotting.images import plot_filters, plot_reconstructions
from layerwise.plotting.rows import plot_codes, plot_confusion, plot_feature_errors, plot_predictions, plot_scores
from layerwise.plotting.units import plot_activations, plot_explained_variance, plot_weights

__all__ = [
    "plot_activations",
    "plot_codes",
    "plot_comparison",
    "plot_confusion",
    "plot_explained_variance",
    "plot_feature_errors",
    "plot_filters",
    "plot_loss",
    "plot_predictions",
    "plot_published",
    "plot_reconstructions",
    "plot_scores",
    "plot_weights",
]
