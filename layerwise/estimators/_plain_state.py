"""What estimators are pickled as: arrays, numbers and texts in place of modules, tensors and optimisers.

So a pickle needs no GPU to be read that the model was trained on, and formats that know no torch (skops) can hold it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from layerwise.data.scaling import Scaling
from layerwise.estimators._checks import check_device
from layerwise.modules import AutoencoderLayer, StackedNetwork, linear_head
from layerwise.objective import with_gradients
from layerwise.solvers import LBFGS
from layerwise.solvers.lbfgs import LBFGSState
from layerwise.solvers.minibatch import MinibatchState

_OPTIMIZERS = {optimizer.__name__: optimizer for optimizer in (torch.optim.SGD, torch.optim.Adam)}
# The key of what stands for a module or a solver's state.
_KIND = "kind"


def as_plain(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes of an estimator without modules and tensors.

    Parameters
    ----------
    attributes : mapping
        What is none of layerwise's modules, or of its solvers' states, stays as it is.
    """
    plain = {name: _pack_module(value) for name, value in attributes.items()}
    if "_states" in plain:
        plain["_states"] = {
            name: [_pack_state(state), _map(running, Tensor, _to_array)]
            for name, (state, running) in attributes["_states"].items()
        }
    return plain


@with_gradients
def from_plain(plain: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes that `as_plain` was given, on the device that the estimator asks for, or the CPU."""
    asked = plain.get("device", getattr(plain.get("autoencoder_"), "device", "cpu"))
    try:
        device = check_device(asked)
    except ValueError:  # fitted on a GPU that is not here
        device = torch.device("cpu")
    attributes = {
        name: _unpack_module(value).to(device) if name.endswith("_") and _is_packed(value) else value
        for name, value in plain.items()
    }
    if "_states" in plain:
        attributes["_states"] = {
            name: (_unpack_state(state, device), _map(running, np.ndarray, lambda array: _to_tensor(array, device)))
            for name, (state, running) in plain["_states"].items()
        }
    return attributes


def _is_packed(value: Any) -> bool:
    return isinstance(value, dict) and _KIND in value


def _pack_module(value: Any) -> Any:
    if type(value) not in (AutoencoderLayer, StackedNetwork, Scaling):
        return value
    settings: Any = None
    if isinstance(value, AutoencoderLayer):
        settings = value.settings()
    elif isinstance(value, StackedNetwork):
        settings = {"layers": [layer.settings() for layer in value.encoders()], "bias": value.head.bias is not None}
    arrays = {name: _to_array(tensor) for name, tensor in value.state_dict().items()}
    return {_KIND: type(value).__name__, "settings": settings, "arrays": arrays}


def _unpack_module(packed: Mapping[str, Any]) -> torch.nn.Module:
    kind, settings, arrays = packed[_KIND], packed["settings"], packed["arrays"]
    module: torch.nn.Module
    with torch.device("meta"):  # shapes only
        if kind == Scaling.__name__:
            module = Scaling(**{name: torch.ones(array.shape) for name, array in arrays.items()})
        elif kind == AutoencoderLayer.__name__:
            module = AutoencoderLayer(**settings)
        else:
            n_outputs, n_inputs = arrays["head.weight"].shape
            head = linear_head(n_inputs, n_outputs, bias=settings["bias"])
            module = StackedNetwork([AutoencoderLayer(**layer) for layer in settings["layers"]], head)
    module.load_state_dict({name: _to_tensor(array) for name, array in arrays.items()}, assign=True)
    return module


def _pack_state(state: Any) -> Any:
    if isinstance(state, LBFGSState):
        settings: dict[str, Any] = {"history_size": state.pairs.history_size}
    elif isinstance(state, MinibatchState) and type(state.optimizer).__name__ in _OPTIMIZERS:
        settings = {"optimizer": type(state.optimizer).__name__, **state.optimizer.defaults}
    else:
        return state
    return {_KIND: type(state).__name__, "settings": settings, "values": _map(state.as_dict(), Tensor, _to_array)}


def _unpack_state(packed: Any, device: torch.device) -> Any:
    if not _is_packed(packed):
        return packed
    settings = dict(packed["settings"])
    values = _map(packed["values"], np.ndarray, lambda array: _to_tensor(array, device))
    if packed[_KIND] == LBFGSState.__name__:
        return LBFGS(**settings).restore(values)
    optimizer = _OPTIMIZERS[settings.pop("optimizer")]
    return MinibatchState.restore(values, optimizer([values["x"]], **settings))


def _map(value: Any, kind: type, function: Callable[[Any], Any]) -> Any:
    """Return what lists and dicts hold, with a function of everything of one type in it."""
    if isinstance(value, kind):
        return function(value)
    if isinstance(value, dict):
        return {name: _map(item, kind, function) for name, item in value.items()}
    return [_map(item, kind, function) for item in value] if isinstance(value, list) else value


def _to_array(tensor: Tensor) -> np.ndarray:
    return tensor.numpy(force=True)


def _to_tensor(array: np.ndarray, device: torch.device | None = None) -> Tensor:
    return torch.tensor(array, device=device)  # a copy: arrays may be maps of a file that nobody may write to
