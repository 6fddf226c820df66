"""The files of checkpoints: each in a numbered folder of its own, whole or not there; the last two are kept."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from layerwise.atomic import naming, sync

FORMAT, FORMAT_VERSION = "layerwise checkpoint", 1
_STATE, _TENSORS = "state.json", "tensors.safetensors"
FILES = (_STATE, _TENSORS)
_N_KEPT = 2
_UNFINISHED = ".unfinished"


class CheckpointFolder:
    """Reads and writes the checkpoints in a folder.

    Parameters
    ----------
    folder : Path
        One process at a time may use it.

    Examples
    --------
    >>> import tempfile, torch
    >>> checkpoints = CheckpointFolder(Path(tempfile.mkdtemp()))
    >>> checkpoints.write({"n_iter": 3, "x": torch.ones(2)})
    >>> decode(checkpoints.read())
    {'n_iter': 3, 'x': tensor([1., 1.])}
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._whole: list[Path] = []  # known to be so, the oldest first

    def read(self) -> dict[str, bytes]:
        """Return the files of the newest whole checkpoint, which `decode` takes; none if there is no checkpoint.

        Raises
        ------
        ValueError
            If there are some, but none is whole.
        """
        found = sorted(self._numbered(), reverse=True)
        for place, path in enumerate(found):
            try:
                files = {name: (path / name).read_bytes() for name in FILES}
                decode(files)
            except (OSError, ValueError, RecursionError) as error:
                older = "the one before it is taken" if place + 1 < len(found) else "there is none before it"
                warnings.warn(f"the checkpoint {path} is damaged ({error}); {older}", UserWarning, stacklevel=2)
                continue
            self._whole = [path]
            return files
        if found:
            raise ValueError(f"no checkpoint in {self.folder} is whole; remove the folder to begin anew")
        return {}

    def write(self, document: Mapping[str, Any]) -> None:
        """Write a checkpoint; it is there as a whole, or not at all.

        Parameters
        ----------
        document : mapping
            Of texts, numbers, None, tensors, lists and dicts.

        Raises
        ------
        OSError
            If it cannot be written; the ones before are as they were.
        """
        number = 1 + max((int(path.name) for path in self._numbered()), default=0)
        path = self.folder / f"{number:06}"
        staging = self.folder / f"{number:06}{_UNFINISHED}"
        shutil.rmtree(staging, ignore_errors=True)
        try:
            with naming(path):
                os.mkdir(staging)
                for name, content in encode(document).items():
                    _write_file(staging / name, content)
                sync(staging)
                os.rename(staging, path)
                sync(self.folder)
        except OSError:
            shutil.rmtree(staging, ignore_errors=True)
            raise
        self._whole = [*self._whole, path][-_N_KEPT:]
        self._tidy()

    def _tidy(self) -> None:
        """Remove older checkpoints, and what writers that died have left."""
        for path in [*self._numbered(), *self.folder.glob(f"*{_UNFINISHED}")]:
            if path not in self._whole:
                shutil.rmtree(path, ignore_errors=True)

    def _numbered(self) -> list[Path]:
        return [path for path in self.folder.iterdir() if re.fullmatch(r"\d{6,}", path.name)]


def encode(document: Mapping[str, Any]) -> dict[str, bytes]:
    """Return the files of a checkpoint: JSON for people, and tensors, with what tells whether they are whole.

    Parameters
    ----------
    document : mapping

    Returns
    -------
    files : dict of str to bytes
    """
    tensors: dict[str, Tensor] = {}
    state = _pack(document, "", tensors)
    content = save_tensors(tensors)
    header = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "tensors": {"n_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()},
        "state": state,
    }
    text = json.dumps(header | {"sha256": _digest(header)}, indent=1, allow_nan=False)
    return {_STATE: text.encode(), _TENSORS: content}


def decode(files: Mapping[str, bytes]) -> dict[str, Any]:
    """Return the document that `encode` made these files of.

    Parameters
    ----------
    files : mapping of str to bytes

    Returns
    -------
    document : dict

    Raises
    ------
    ValueError
        If they are not whole, or of another version.
    """
    header = json.loads(files[_STATE])
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise ValueError(f"{_STATE} describes no checkpoint")
    if header.get("format_version") != FORMAT_VERSION:
        raise ValueError(f"format_version={header.get('format_version')!r}, but {FORMAT_VERSION} is expected")
    if header.pop("sha256", None) != _digest(header):
        raise ValueError(f"{_STATE} is not what was written")
    content = files[_TENSORS]
    if header["tensors"] != {"n_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}:
        raise ValueError(f"{_TENSORS} is not what was written")
    try:
        return _unpack(header["state"], load_tensors(content))
    except (SafetensorError, KeyError, TypeError) as error:
        raise ValueError(f"{_TENSORS} does not go with {_STATE}: {error}") from error


def _digest(header: Mapping[str, Any]) -> str:
    """Return what tells whether a header is as it was; spaces and the order of names do not matter."""
    return hashlib.sha256(json.dumps(header, sort_keys=True).encode()).hexdigest()


def _pack(value: Any, place: str, tensors: dict[str, Tensor]) -> Any:
    """Return what JSON can hold of a value; tensors go to ``tensors`` under their place in it."""
    if isinstance(value, Tensor):
        tensors[place] = value.detach().cpu().contiguous()
        return {"tensor": place}
    if isinstance(value, Mapping):
        return {"dict": {name: _pack(item, f"{place}.{name}", tensors) for name, item in value.items()}}
    if isinstance(value, (list, tuple)):
        return [_pack(item, f"{place}.{index}", tensors) for index, item in enumerate(value)]
    return {"float": str(value)} if isinstance(value, float) and not math.isfinite(value) else value


def _unpack(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_unpack(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    if "dict" in value:
        return {name: _unpack(item, tensors) for name, item in value["dict"].items()}
    return tensors[value["tensor"]] if "tensor" in value else float(value["float"])


def _write_file(path: Path, content: bytes) -> None:
    """Write a file that is not there yet, and wait until it is on disk."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
