"""Stacked autoencoders: features learned one layer at a time, fine-tuned with the labels there are."""

from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

__version__ = version("layerwise")

if TYPE_CHECKING:  # a module with __getattr__ has any name for type checkers, misspelt ones too
    from layerwise._api import *  # noqa: F403
else:

    def __getattr__(name: str) -> Any:
        """Import what is asked for, and nothing before: `layerwise --help` need not wait for torch."""
        if name.startswith("__") and name != "__all__":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        if name != "__all__" and find_spec(f"{__name__}.{name}"):
            return import_module(f"{__name__}.{name}")
        api = import_module(f"{__name__}._api")
        if name not in (*api.__all__, "__all__"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(api, name)

    def __dir__() -> list[str]:
        return [*import_module(f"{__name__}._api").__all__, "__version__"]
