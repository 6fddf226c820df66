"""Training problems of one dense layer, of the settings that an autoencoder has."""

from layerwise.modules import AutoencoderLayer
from layerwise.objective import LayerObjective
from layerwise.penalties import Contraction


def of_layer(layer, rows, *, sparsity=None, contraction=0.0, **settings):
    """The problem of a layer that is there."""
    terms = [term for term in (sparsity, Contraction(contraction) if contraction else None) if term is not None]
    return LayerObjective(layer, rows, terms=terms, **settings)


def new_layer(rows, n_hidden, *, device="cpu", **settings):
    """The problem of a new layer; ``module`` is the layer."""
    shape = {"dtype": rows.dtype}
    names = ("activation", "output_activation", "tied", "generator")
    shape |= {name: settings.pop(name) for name in names if name in settings}
    return of_layer(AutoencoderLayer(rows.n_features, n_hidden, **shape).to(device), rows, **settings)
