"""Data in: files to arrays, arrays to blocks of rows. Knows no model."""

from layerwise.data.datasets import Digits, load_mnist, load_mnist_small
from layerwise.data.files import load_labels, load_rows
from layerwise.data.idx import load_idx
from layerwise.data.rows import Rows

__all__ = ["Digits", "Rows", "load_idx", "load_labels", "load_mnist", "load_mnist_small", "load_rows"]
