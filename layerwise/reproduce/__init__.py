"""Published experiments, one a file: its settings, its run, published and obtained figures side by side."""

from types import ModuleType

from layerwise.reproduce import (
    cae,
    deep_autoencoder,
    deep_autoencoder_random,
    k_sparse,
    k_sparse_deep,
    sae,
    sda,
    sdae_basic,
    sdae_rotated,
    self_taught,
    softmax,
    ufldl_mnist_filters,
    ufldl_patches,
    ufldl_stacked,
)

# Each has PUBLISHED, which maps sources to their settings and figures; load(path), which gives the data; and run(data,
# session, ...), which gives an `Outcome`: its docstring tells of the settings of the experiment.
EXPERIMENTS: dict[str, ModuleType] = {
    "ufldl-patches": ufldl_patches,
    "ufldl-mnist-filters": ufldl_mnist_filters,
    "softmax": softmax,
    "self-taught": self_taught,
    "ufldl-stacked": ufldl_stacked,
    "sda": sda,
    "sae": sae,
    "sdae-basic": sdae_basic,
    "sdae-rotated": sdae_rotated,
    "cae": cae,
    "k-sparse": k_sparse,
    "k-sparse-deep": k_sparse_deep,
    "deep-autoencoder": deep_autoencoder,
    "deep-autoencoder-random": deep_autoencoder_random,
}
