"""What a type checker tells the users of layerwise, under mypy's strictest settings."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]

GOOD = """\
import torch

from layerwise import Autoencoder, AutoencoderOutlierDetector, StackedAutoencoder, StackedClassifier, StackedRegressor
from layerwise.data import load_mnist_small

X, y, *_ = load_mnist_small()
stack = StackedAutoencoder([Autoencoder(50)])
classifier = StackedClassifier(stack).fit(X, y)
detector = AutoencoderOutlierDetector().fit(X)
reveal_type(stack.fit(X))
reveal_type(classifier)
reveal_type(StackedRegressor(stack).partial_fit(X, y))
reveal_type(detector)
reveal_type(classifier.predict(X))
reveal_type(classifier.predict_proba(torch.zeros(3, 784)))
reveal_type(detector.reconstruction_error(X, per_feature=True))
reveal_type(classifier.loss_)
"""
BAD = """\
from layerwise import Autoencoder, StakedClassifier

Autoencoder(50, hidden=3)
Autoencoder("fifty")
Autoencoder(50).fit()
"""


@pytest.fixture
def check(tmp_path):
    def run(program):
        """Return what mypy says of a program, line by line."""
        (tmp_path / "program.py").write_text(program)
        words = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", tmp_path / "program.py"]
        environment = os.environ | {"MYPYPATH": str(ROOT)}
        done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True)
        return [line.split("program.py:")[-1] for line in done.stdout.splitlines()]

    return run


def test_what_methods_return(check):
    said = check(GOOD)
    assert [line.split('"')[1].split("[")[0].split(".")[-1] for line in said[:-1]] == [
        *("StackedAutoencoder", "StackedClassifier", "StackedRegressor", "AutoencoderOutlierDetector"),
        *("ndarray", "Tensor", "ndarray", "float"),
    ]
    assert said[-1] == "Success: no issues found in 1 source file"


def test_mistakes_are_found(check):
    errors = [line for line in check(BAD) if ": error: " in line]
    assert [line.partition(":")[0] for line in errors] == ["1", "3", "4", "5"]
