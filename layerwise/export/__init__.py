"""Models carried away, to where there is no layerwise, and weights of elsewhere brought in."""

from layerwise.export.matlab import from_matlab_autoencoder
from layerwise.export.matlab_file import export_matlab
from layerwise.export.model_card import write_model_card
from layerwise.export.numpy_file import export_numpy
from layerwise.export.onnx_file import export_onnx
from layerwise.export.torch_module import to_module
from layerwise.export.ufldl import from_ufldl_stack, from_ufldl_theta

__all__ = [
    "export_matlab",
    "export_numpy",
    "export_onnx",
    "from_matlab_autoencoder",
    "from_ufldl_stack",
    "from_ufldl_theta",
    "to_module",
    "write_model_card",
]
