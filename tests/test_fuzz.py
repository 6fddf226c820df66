"""Damaged files, a few thousand of them; `make fuzz` takes a million of each kind."""

import contextlib
import signal
import warnings
from collections import Counter

import fuzz
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays, scalar_dtypes

from layerwise import FileError
from layerwise.data import load_labels, load_rows

CASES = {
    "idx": 1500,
    "idx.gz": 1500,
    "npy": 1500,
    "npz": 1000,
    "csv": 200,
    "txt": 200,
    "arff": 300,
    "svm": 500,
    "json": 200,
    "sav": 6,
    "model": 300,
    "toml": 500,
    "mat": 6,
    "images": 400,
    "safetensors": 1000,
    "csv.gz": 200,
    "metrics": 1000,
}


@pytest.mark.parametrize("name", CASES)
def test_damaged_files_are_refused_or_read(tmp_path, monkeypatch, name):
    monkeypatch.setenv("LAYERWISE_MAX_BYTES", str(fuzz.ROOM))
    before = signal.signal(signal.SIGALRM, fuzz.give_up)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            bench = fuzz.Bench(name, 20261125, tmp_path)
            found = {case: bench.run(case) for case in range(CASES[name])}
    finally:
        signal.signal(signal.SIGALRM, before)
    defects = {case: result for case, result in found.items() if result[0] not in ("loaded", "refused")}
    assert not defects
    counts = Counter(outcome for outcome, _ in found.values())
    assert counts["refused"]
    assert name in ("mat", "sav") or counts["loaded"]


def test_cases_can_be_repeated(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    one, two = (fuzz.Bench("npz", 1, tmp_path / folder) for folder in ("a", "b"))
    contents = []
    for bench in (one, two, one):
        bench.run(7)
        contents.append(bench.path.read_bytes())
    assert contents[0] == contents[1] == contents[2] != one.seeds[0]


def test_every_defect_is_found():
    outcomes, defects = fuzz.fuzz("broken", 7, seed=4)
    assert outcomes == {"refused": 2, "slow": 2, "large": 1, "raised KeyError": 1, "died": 1}
    assert [case for case, _, _ in defects] == [0, 1, 2, 5, 6]
    assert any("KeyError: 'raises'" in trace for _, outcome, trace in defects if outcome == "raised KeyError")


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=300), ending=st.sampled_from(["idx", "idx.gz", "npy", "npz", "safetensors"]))
def test_any_bytes(tmp_path, content, ending):
    path = tmp_path / f"x.{ending}"
    path.write_bytes(content)
    for load in (load_rows, load_labels):
        with contextlib.suppress(FileError):
            load(path)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(array=arrays(scalar_dtypes(), array_shapes(min_dims=0, min_side=0)), order=st.sampled_from("CF"))
def test_what_numpy_writes_is_read_or_refused(tmp_path, array, order):
    """No array of numbers is refused for the way it is written."""
    np.save(tmp_path / "x.npy", np.asarray(array, order=order))
    if array.dtype.kind in "biuf" and array.ndim >= 2 and array.size:
        np.testing.assert_array_equal(load_rows(tmp_path / "x.npy").X, array.reshape(len(array), -1))
    else:
        with pytest.raises(FileError):
            load_rows(tmp_path / "x.npy")
