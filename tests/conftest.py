"""Where tests find the data that is not part of the package; what is absent is skipped, with the reason."""

import json
import os
import sys
import warnings
from pathlib import Path

import matplotlib as mpl
import numpy as np
import polars
import pytest
import torch

from layerwise import cli
from layerwise.data import csv_tables, load_mnist, load_mnist_small

mpl.use("Agg")
SHARED = Path(__file__).parents[2] / "shared"


@pytest.fixture(scope="session")
def reference():
    """Figures of the 2014 implementation: (settings by entry, arrays by name)."""
    folder = SHARED / "fixtures"
    if not folder.is_dir():
        pytest.skip(f"no reference figures at {folder}")
    return json.loads((folder / "reference.json").read_text()), np.load(folder / "reference.npz")


@pytest.fixture(scope="session")
def mnist_folder():
    folder = Path(os.environ.get("LAYERWISE_DATA", SHARED / "data")) / "mnist"
    if not folder.is_dir():
        pytest.skip(f"no MNIST at {folder}; set LAYERWISE_DATA to the folder that holds mnist/")
    return folder


@pytest.fixture(scope="session")
def mnist(mnist_folder):
    return load_mnist(mnist_folder)


@pytest.fixture(scope="session")
def digits():
    return load_mnist_small()


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


@pytest.fixture
def run(monkeypatch, capsys):
    """Run a command line in this process; return exit code, standard output and standard error."""
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)  # which the command line replaces

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["layerwise", *map(str, words)])
        capsys.readouterr()
        code = 0
        try:
            cli.main()
        except SystemExit as exit_:
            code = exit_.code
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture
def passes(monkeypatch):
    """Return two lists that fill as CSV files are read: of those whose bytes are looked through, of rows parsed."""
    looked, parsed = [], []
    look, scan = csv_tables.check_lines, polars.scan_csv

    def count(path, *rest):
        looked.append(path)
        return look(path, *rest)

    def note(batch):
        parsed.append(len(batch))
        return batch

    monkeypatch.setattr(csv_tables, "check_lines", count)
    monkeypatch.setattr(polars, "scan_csv", lambda path, **rest: scan(path, **rest).map_batches(note, streamable=True))
    return looked, parsed
