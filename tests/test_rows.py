"""Rows in memory, on disk and on a GPU hand out the same blocks; those on disk in bounded memory."""

import _thread
import json
import math
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone

from layerwise import Autoencoder, StackedAutoencoder, StackedClassifier
from layerwise.data import MappedRows, Rows, rows
from layerwise.data.read_ahead import read_ahead
from layerwise.data.repetition import merge_repeated
from layerwise.estimators._checks import check_rows
from layerwise.solvers import LBFGS, Adam

DTYPES = [np.uint8, np.float16, np.float32, np.float64]
TYPES = st.sampled_from(DTYPES)
NOTHING_IS_SMALL = mock.patch.object(rows, "_SMALL", 0)
LINUX = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def matrix(m, dtype, n=3):
    return (np.random.default_rng(0).random((m, n)) * 255).astype(dtype)


def scaled(X, dtype=np.float64):
    return X.astype(dtype) * dtype(1 / 255) if X.dtype == np.uint8 else X.astype(dtype)


def joined(blocks, n=3):
    blocks = [block.cpu().clone() for block in blocks]
    return (torch.cat(blocks) if blocks else torch.empty(0, n)).numpy()


def all_of(rows, size=4):
    return joined(block for _, block in rows.blocks(size))


def on_disk(folder, X):
    """Return rows that are streamed, however few they are."""
    np.save(folder / "x.npy", X)
    with NOTHING_IS_SMALL:
        return Rows(np.load(folder / "x.npy", mmap_mode="r"), dtype=torch.float32)


def threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("layerwise")]


@pytest.fixture(autouse=True)
def no_thread_remains():
    yield
    assert not threads()


@given(m=st.integers(0, 20), size=st.integers(1, 25), dtype=TYPES)
def test_blocks_are_the_rows(m, size, dtype):
    X = matrix(m, dtype)
    blocks = [(place, block.clone()) for place, block in Rows(X, dtype=torch.float64).blocks(size)]
    assert len(blocks) == math.ceil(m / size)
    np.testing.assert_array_equal(np.concatenate([np.arange(m)[place] for place, _ in blocks] or [[]]), np.arange(m))
    np.testing.assert_array_equal(joined(block for _, block in blocks), scaled(X))


def test_rows_are_not_copied():
    X = np.zeros((4, 2), np.float32)
    rows = Rows(X)
    X[3, 1] = 7
    assert [block[-1, 1].item() for _, block in rows.blocks(2)] == [0, 7]


@pytest.mark.parametrize(("bad", "name"), [(np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "infinity")])
def test_range_finds_what_is_not_finite(bad, name):
    X = np.zeros((700_000, 3), np.float32)
    X[600_001, 2] = bad
    with pytest.raises(ValueError, match=rf"X\[600001, 2\] is {name}"):
        Rows(X).column_ranges()


def positions_of(m, **bounds):
    return st.lists(st.integers(0, m - 1), **bounds).map(lambda found: torch.tensor(found, dtype=torch.int64))


@settings(deadline=None)
@given(
    data=st.data(),
    m=st.integers(1, 20),
    size=st.integers(1, 25),
    dtype=TYPES,
    copied=st.booleans(),
    mapped=st.booleans(),
)
def test_subsets_and_batches_are_those_of_numpy(tmp_path_factory, data, m, size, dtype, copied, mapped):
    X = matrix(m, dtype)
    expected = scaled(X, np.float32)
    rows = on_disk(tmp_path_factory.getbasetemp(), X) if mapped else Rows(X)
    with mock.patch("layerwise.data.rows._SMALL", 2**26 if copied else 0):
        for _ in range(data.draw(st.integers(0, 3))):  # a subset of a subset of ...
            chosen = data.draw(positions_of(len(rows), min_size=1))
            rows, expected = rows.subset(chosen), expected[chosen.numpy()]
    assert len(rows) == len(expected)
    np.testing.assert_array_equal(all_of(rows, size), expected)
    parts = data.draw(st.lists(positions_of(len(rows)), max_size=4))
    twice = MappedRows(rows, lambda block: 2 * block, n_features=3)
    for part, block, doubled in zip(parts, list(rows.batches(parts)), twice.batches(parts), strict=True):
        np.testing.assert_array_equal(block, expected[part.numpy()])
        np.testing.assert_array_equal(doubled, 2 * expected[part.numpy()])
        np.testing.assert_array_equal(rows.take(part), expected[part.numpy()])
    lowest, highest = rows.column_ranges()
    assert lowest.float().tolist() == expected.min(axis=0).tolist()
    assert highest.float().tolist() == expected.max(axis=0).tolist()


def test_large_subset_keeps_positions_alone():
    X = matrix(8, np.float32)
    with NOTHING_IS_SMALL:
        subset = Rows(X).subset(torch.arange(8)).subset(torch.tensor([5, 1]))
    X[5] = 7
    np.testing.assert_array_equal(all_of(subset), X[[5, 1]])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "view", [np.asarray, lambda X: X[::2], lambda X: X[::-1], lambda X: X[:, 1:], np.asfortranarray]
)
def test_disk_is_memory_bit_for_bit(tmp_path, dtype, view):
    X = matrix(23, dtype)
    np.save(tmp_path / "x.npy", X)
    with NOTHING_IS_SMALL:
        disk = Rows(view(np.load(tmp_path / "x.npy", mmap_mode="r")))
    memory = Rows(np.array(view(X)))
    np.testing.assert_array_equal(all_of(disk), all_of(memory))
    assert torch.equal(torch.stack(disk.column_ranges()), torch.stack(memory.column_ranges()))


@pytest.mark.parametrize("dtype", DTYPES)
def test_memory_maps_reach_the_rows_as_they_are(tmp_path, dtype):
    np.save(tmp_path / "x.npy", matrix(6, dtype))
    X = np.load(tmp_path / "x.npy", mmap_mode="r")
    with NOTHING_IS_SMALL:
        found = check_rows(Autoencoder(), X, dtype="float32", device="cpu", reset=True)
    assert np.shares_memory(found._values.numpy(), X)


@pytest.mark.parametrize("dtype", DTYPES)
def test_codes_have_a_floating_type(dtype):
    X = matrix(6, dtype) if dtype == np.uint8 else (matrix(6, dtype) / 255).astype(dtype)
    codes = Autoencoder(2, solver=LBFGS(1), random_state=0).fit(X).transform(X)
    assert codes.dtype == (np.float64 if dtype == np.float64 else np.float32)


@pytest.mark.parametrize("solver", [LBFGS(3), Adam(2, batch_size=7)])
def test_training_from_disk_is_training_from_memory(tmp_path, solver):
    X = matrix(50, np.uint8, n=6)
    np.save(tmp_path / "x.npy", X)
    stack = StackedAutoencoder([Autoencoder(4, solver=solver), Autoencoder(2, solver=solver)], random_state=0)
    expected = stack.fit(X).transform(X)
    with NOTHING_IS_SMALL:
        disk = np.load(tmp_path / "x.npy", mmap_mode="r")
        np.testing.assert_array_equal(stack.fit(disk).transform(disk), expected)


def test_memory_takes_no_thread():
    for _ in Rows(matrix(9, np.uint8)).blocks(2):
        assert not threads()


def test_disk_is_read_ahead_by_one_thread(tmp_path):
    disk = on_disk(tmp_path, matrix(9, np.uint8))
    for _ in disk.blocks(2):
        assert len(threads()) == 1


def test_one_part_is_read_ahead():
    read = []
    reading = read_ahead(lambda part: read.append(part) or part, range(5))
    assert next(reading) == 0
    deadline = time.monotonic() + 5
    while len(read) < 2 and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(0.01)
    assert read == [0, 1]
    assert list(reading) == [1, 2, 3, 4]


def test_many_small_parts():
    assert sum(read_ahead(lambda part: part, range(5000))) == sum(range(5000))
    assert list(read_ahead(lambda part: part, [])) == []


@pytest.mark.parametrize("bad", [0, 1, 4])
def test_error_in_reading_reaches_the_caller_in_its_place(bad):
    reading = read_ahead(lambda part: 1 / (part - bad), range(5))
    for part in range(bad):
        assert next(reading) == 1 / (part - bad)
    with pytest.raises(ZeroDivisionError):
        next(reading)


def test_positions_that_are_not_there(tmp_path):
    disk = on_disk(tmp_path, matrix(9, np.float32))
    with pytest.raises(IndexError):
        list(disk.batches([torch.tensor([0]), torch.tensor([9])]))


def test_iterator_given_up_leaves_no_thread(tmp_path):
    disk = on_disk(tmp_path, matrix(9, np.uint8))
    blocks = disk.blocks(2)
    next(blocks)
    assert threads()
    blocks.close()
    assert not threads()
    for _ in disk.blocks(2):
        break
    assert not threads()

    def fail():
        for _ in disk.blocks(2):
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert not threads()


@pytest.fixture
def interruptible():
    """What was started in the background of a shell ignores interrupts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_interrupt_while_waiting():
    def read(part):
        if part == 1:
            _thread.interrupt_main()
            time.sleep(0.1)
        return part

    with pytest.raises(KeyboardInterrupt):
        sum(read_ahead(read, range(1000)))


def test_program_ends_with_an_iterator_left_open():
    program = "from layerwise.data.read_ahead import read_ahead; left = read_ahead(str, range(9)); print(next(left))"
    done = subprocess.run([sys.executable, "-c", program], check=True, timeout=60, capture_output=True, text=True)
    assert done.stdout.strip() == "0"
    assert not done.stderr


# Fits on rows of 400 MB, and prints by how many bytes anonymous memory grew above what it was before, at most.
PROGRAM = """
import json, re, sys, threading, time, warnings
from pathlib import Path
import numpy as np
from layerwise import Adam, Autoencoder, EarlyStopping, LBFGS, StackedAutoencoder, StackedClassifier
from layerwise.cli import main
from layerwise.data import load_rows

warnings.simplefilter("ignore")
path, out = sys.argv[1:]
X, y = load_rows(path).X, np.arange(len(np.load(path, mmap_mode="r"))) % 2
anonymous = lambda: 1024 * int(re.search(r"RssAnon:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
peak = 0
def watch():
    global peak
    while True:
        peak = max(peak, anonymous())
        time.sleep(0.002)
layer = lambda n, **words: Autoencoder(n, solver=LBFGS(max_iter=1), cache_size=10, **words)
stack = lambda: StackedAutoencoder([layer(4), layer(2)], cache_size=10)
fits = {
    "L-BFGS": lambda: layer(4).fit(X),
    "early stopping": lambda: layer(4, early_stopping=EarlyStopping()).fit(X),
    "Adam": lambda: layer(4).set_params(solver=Adam(max_iter=1, batch_size=1000)).fit(X).score(X),
    "stack": lambda: stack().fit(X).transform(X),
    "classifier": lambda: StackedClassifier(stack(), solver=LBFGS(max_iter=1)).fit(X, y).predict(X),
    "command line": main,
}
sys.argv = ["layerwise", "fit", path, "--layers", "4", "--max-iter", "1", "--out", out]
threading.Thread(target=watch, daemon=True).start()
growth = {}
for name, fit in fits.items():
    before = peak = anonymous()
    try:
        fit()
    except SystemExit as end:
        assert not end.code
    growth[name] = peak - before
print("\\n" + json.dumps(growth))
"""


@LINUX
def test_memory_does_not_grow_with_the_rows(tmp_path):
    X = np.lib.format.open_memmap(tmp_path / "x.npy", mode="w+", dtype=np.float64, shape=(100_000, 500))
    X[:] = np.random.default_rng(0).random(500)
    X.flush()
    words = [sys.executable, "-c", PROGRAM, str(tmp_path / "x.npy"), str(tmp_path / "run")]
    done = subprocess.run(words, check=True, capture_output=True, text=True, timeout=300)
    growth = json.loads(done.stdout.splitlines()[-1])
    assert len(growth) == 6
    budget = 2 * 10 * 10**6  # codes of the objective, and those that the next layer is trained on
    assert max(growth.values()) < 300 * 10**6 + budget, growth


@CUDA
@pytest.mark.parametrize("resident", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
def test_gpu_hands_out_what_the_host_does(tmp_path, monkeypatch, resident, dtype):
    X = matrix(1000, dtype)
    np.save(tmp_path / "x.npy", X)
    if not resident:
        monkeypatch.setattr("layerwise.data.rows._room", lambda device: 0)
    positions = torch.randperm(1000, generator=torch.Generator().manual_seed(0))
    for source in (X, np.load(tmp_path / "x.npy", mmap_mode="r")):
        found, expected = Rows(source, device="cuda"), Rows(X)
        assert found._streams is not resident
        assert found.device.type == "cuda"
        for place, block in found.blocks(7):
            assert block.device == found.device
            torch.testing.assert_close(block.cpu(), expected.take(torch.arange(1000)[place]))
        for device in ("cpu", "cuda"):
            parts = positions.to(device).split(13)
            np.testing.assert_allclose(joined(found.batches(parts)), joined(expected.batches(positions.split(13))))
            for small in (0, 2**26):
                monkeypatch.setattr(rows, "_SMALL", small)
                subset = found.subset(positions.to(device)).subset(torch.arange(500, device=device))
                np.testing.assert_allclose(all_of(subset, 7), expected.take(positions[:500]).numpy())


def test_rows_that_repeat_are_merged_whatever_their_order_and_type():
    X = np.array([[0.0, np.nan], [2.0, 1.0], [-0.0, np.nan], [0.0, 1.0], [2.0, 1.0]])
    weights = np.array([1.0, 0.5, 2.0, 1.0, 0.25])
    found = []
    for order in ([0, 1, 2, 3, 4], [4, 2, 0, 3, 1]):
        rows, positions = merge_repeated(Rows(X[order], dtype=torch.float64, weights=weights[order]))
        np.testing.assert_array_equal(X[order][positions] + 0.0, rows.take(torch.arange(3)))
        found.append(np.column_stack([rows.take(torch.arange(3)), rows.weights]))
    np.testing.assert_array_equal(*found)
    by_weight = found[0][found[0][:, 2].argsort()]
    np.testing.assert_array_equal(by_weight, [[2.0, 1.0, 0.75], [0.0, 1.0, 1.0], [0.0, np.nan, 3.0]])
    y = torch.tensor([0, 1, 0, 0, 2])
    rows, positions = merge_repeated(Rows(X, dtype=torch.float64), y)
    assert sorted(positions.tolist()) == [0, 1, 3, 4]
    unlike, _ = merge_repeated(Rows(np.arange(6.0).reshape(3, 2)))
    assert unlike.weights is None
    many = Rows(np.zeros((2001, 1)))
    assert merge_repeated(many)[0] is many


@pytest.mark.parametrize("X", [np.random.default_rng(0).normal(size=(60, 5)), np.eye(12, dtype=np.uint8) * 255])
def test_order_and_repetition_change_no_bit_of_a_small_fit(X):
    order = np.random.default_rng(1).permutation(np.repeat(np.arange(len(X)), 2))
    coder = StackedAutoencoder([Autoencoder(4), Autoencoder(3)], finetune="reconstruction", random_state=0)
    once = clone(coder).fit(X, sample_weight=np.full(len(X), 2.0))
    twice = clone(coder).fit(X[order])
    np.testing.assert_array_equal(once.transform(X), twice.transform(X))
    y = X[:, 0] > np.median(X[:, 0])
    classifier = StackedClassifier(coder, class_weight="balanced")
    once = clone(classifier).fit(X, y, sample_weight=np.full(len(X), 2.0))
    twice = clone(classifier).fit(X[order], y[order])
    np.testing.assert_array_equal(once.predict_proba(X), twice.predict_proba(X))
