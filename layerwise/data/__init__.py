"""Data in: files to arrays, arrays to blocks of rows. Knows no model."""

from layerwise.data.count_scaler import CountScaler
from layerwise.data.datasets import Digits, load_mnist, load_mnist_small
from layerwise.data.files import load_labels, load_rows
from layerwise.data.idx import load_idx
from layerwise.data.image_folder import ImageFolder, load_image_folder
from layerwise.data.images import load_images, load_mat_images, whiten_images
from layerwise.data.inputs import Input, read_input
from layerwise.data.mapped_rows import MappedRows
from layerwise.data.mat import load_mat
from layerwise.data.outputs import check_output, write_columns, write_csv
from layerwise.data.patches import extract_patches, normalize_patches
from layerwise.data.rows import Rows
from layerwise.data.table_encoder import TableEncoder
from layerwise.data.tables import scan_table
from layerwise.data.values import describe_missing
from layerwise.data.whitening import PCAWhitening, ZCAWhitening

__all__ = [
    "CountScaler",
    "Digits",
    "ImageFolder",
    "Input",
    "MappedRows",
    "PCAWhitening",
    "Rows",
    "TableEncoder",
    "ZCAWhitening",
    "check_output",
    "describe_missing",
    "extract_patches",
    "load_idx",
    "load_image_folder",
    "load_images",
    "load_labels",
    "load_mat",
    "load_mat_images",
    "load_mnist",
    "load_mnist_small",
    "load_rows",
    "normalize_patches",
    "read_input",
    "scan_table",
    "whiten_images",
    "write_columns",
    "write_csv",
]
