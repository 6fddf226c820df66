"""Published experiments, one a file: its settings, its run, published and obtained figures side by side."""

from types import ModuleType

from layerwise.reproduce import (
    cae,
    deep_autoencoder,
    k_sparse,
    k_sparse_deep,
    sda,
    self_taught,
    softmax,
    ufldl_mnist_filters,
    ufldl_patches,
    ufldl_stacked,
)

# Each has PUBLISHED, load(path) and run(data, session).
EXPERIMENTS: dict[str, ModuleType] = {
    "ufldl-patches": ufldl_patches,
    "ufldl-mnist-filters": ufldl_mnist_filters,
    "softmax": softmax,
    "self-taught": self_taught,
    "ufldl-stacked": ufldl_stacked,
    "sda": sda,
    "cae": cae,
    "k-sparse": k_sparse,
    "k-sparse-deep": k_sparse_deep,
    "deep-autoencoder": deep_autoencoder,
}
