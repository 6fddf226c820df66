"""Files to arrays."""

import gzip
import hashlib
import shutil
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from layerwise.data import load_idx, load_labels, load_mnist, load_rows
from layerwise.data.idx import DTYPES


def idx_bytes(array):
    code = {np.dtype(name): code for code, name in DTYPES.items()}[array.dtype.newbyteorder(">")]
    header = bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def write(path, content, compressed=False):
    path.write_bytes(gzip.compress(content) if compressed else content)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("idx")


@settings(deadline=None, max_examples=150)
@given(
    array=hnp.arrays(
        st.sampled_from([np.uint8, np.int8, np.int16, np.int32, np.float32, np.float64]),
        hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5),
    ),
    compressed=st.booleans(),
)
def test_idx_round_trip(folder, array, compressed):
    loaded = load_idx(write(folder / "file", idx_bytes(array), compressed))
    assert loaded.shape == array.shape
    assert loaded.dtype == array.dtype.newbyteorder(">")
    np.testing.assert_array_equal(loaded, array)


def test_idx_is_mapped_when_not_compressed(tmp_path):
    array = load_idx(write(tmp_path / "file", idx_bytes(np.arange(6, dtype=np.int32))))
    assert isinstance(array, np.memmap)
    assert not array.flags.writeable


GOOD = idx_bytes(np.arange(60, dtype=np.uint8).reshape(3, 4, 5))


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an IDX file"),
        (GOOD[:3], "not an IDX file"),
        (b"\x89PNG" + GOOD, "not an IDX file"),
        (b"\0\0\x07" + GOOD[3:], "not an IDX file"),
        (GOOD[:9], "cut short"),
        (GOOD[:-1], "does not hold what its header says"),
        (GOOD + b"x", "does not hold what its header says"),
        (GOOD[:4] + struct.pack(">I", 2**31) + GOOD[8:], "does not hold what its header says"),
        (bytes([0, 0, 14, 255]) + b"\xff" * 1020, "no array can have the shape of 255 sides"),
    ],
)
def test_idx_that_lies_is_refused_without_allocating(tmp_path, content, message, compressed):
    path = write(tmp_path / "file.idx", content, compressed)
    tracemalloc.start()
    with pytest.raises(ValueError, match=message) as error:
        load_idx(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert str(path) in str(error.value)
    assert peak < 2**20


@pytest.mark.parametrize("damage", [lambda c: c[:-12], lambda c: c[:30] + b"\xff\0\xff\0" + c[34:], lambda c: c[:2]])
def test_corrupt_gzip_is_refused(tmp_path, damage):
    content = gzip.compress(idx_bytes(np.random.default_rng(0).integers(0, 255, (50, 9), dtype=np.uint8)))
    path = tmp_path / "file.gz"
    path.write_bytes(damage(content))
    with pytest.raises(ValueError, match=r"damaged|not hold"):
        load_idx(path)


def test_mnist_is_whole(mnist):
    sums = {
        "X_train": "6bbc9ace898e44ae57da46a324031adb",
        "y_train": "a25bea736e30d166cdddb491f175f624",
        "X_test": "2646ac647ad5339dbf082846283269ea",
        "y_test": "27ae3e4e09519cfbb04c329615203637",
    }
    for name, expected in sums.items():
        array = getattr(mnist, name)
        header = {"X": struct.pack(">4I", 0x803, len(array), 28, 28), "y": struct.pack(">2I", 0x801, len(array))}
        assert hashlib.md5(header[name[0]] + array.tobytes()).hexdigest() == expected


def test_small_mnist_is_what_its_readme_says(digits, mnist):
    for X, y, X_all, y_all, count in (
        (digits.X_train, digits.y_train, mnist.X_train, mnist.y_train, 600),
        (digits.X_test, digits.y_test, mnist.X_test, mnist.y_test, 100),
    ):
        kept = np.sort(np.concatenate([np.flatnonzero(y_all == digit)[:count] for digit in range(10)]))
        np.testing.assert_array_equal(X, X_all[kept])
        np.testing.assert_array_equal(y, y_all[kept])


@pytest.fixture
def tiny_mnist(tmp_path):
    for part, count in (("train", 6), ("t10k", 4)):
        write(tmp_path / f"{part}-images-idx3-ubyte", idx_bytes(np.zeros((count, 3, 2), np.uint8)))
        write(tmp_path / f"{part}-labels-idx1-ubyte", idx_bytes(np.zeros(count, np.uint8)))
    return tmp_path


@pytest.mark.parametrize("dots", [False, True])
@pytest.mark.parametrize("compressed", [False, True])
def test_mnist_in_all_spellings(tiny_mnist, dots, compressed):
    for path in list(tiny_mnist.iterdir()):
        content = path.read_bytes()
        path.unlink()
        name = path.name.replace("-idx", ".idx") if dots else path.name
        write(tiny_mnist / (name + ".gz" * compressed), content, compressed)
    assert load_mnist(tiny_mnist).X_train.shape == (6, 6)
    assert load_mnist(str(tiny_mnist)).y_test.shape == (4,)


def test_mnist_with_a_file_missing(tiny_mnist):
    (tiny_mnist / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(FileNotFoundError, match=r"holds no t10k-labels-idx1-ubyte \(looked for"):
        load_mnist(tiny_mnist)


def test_mnist_with_other_labels(tiny_mnist):
    shutil.copy(tiny_mnist / "t10k-labels-idx1-ubyte", tiny_mnist / "train-labels-idx1-ubyte")
    with pytest.raises(ValueError, match="6 images but 4 labels in the train files"):
        load_mnist(tiny_mnist)


def test_mnist_with_images_and_labels_exchanged(tiny_mnist):
    shutil.copy(tiny_mnist / "t10k-labels-idx1-ubyte", tiny_mnist / "t10k-images-idx3-ubyte")
    with pytest.raises(ValueError, match="must have 3 axes"):
        load_mnist(tiny_mnist)


def test_rows_from_npy_and_idx(tmp_path):
    X = np.random.default_rng(0).random((5, 3, 2))
    np.save(tmp_path / "x.npy", X)
    write(tmp_path / "x.idx", idx_bytes(X))
    for name in ("x.npy", "x.idx"):
        table = load_rows(tmp_path / name)
        np.testing.assert_array_equal(table.X, X.reshape(5, 6))
        assert table.image_shape == (3, 2)
    np.save(tmp_path / "y.npy", np.arange(5))
    assert load_labels(tmp_path / "y.npy").tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("shape", "image_shape"),
    [((4,), None), ((4, 5), (4, 5)), ((4, 5, 3), (4, 5, 3)), ((4, 5, 1), (4, 5)), ((4, 5, 6), None), ((2,) * 4, None)],
)
def test_which_rows_are_images(tmp_path, shape, image_shape):
    np.save(tmp_path / "x.npy", np.zeros((3, *shape)))
    assert load_rows(tmp_path / "x.npy").image_shape == image_shape


def test_rows_with_one_axis_and_labels_with_two(tmp_path):
    np.save(tmp_path / "y.npy", np.arange(5))
    with pytest.raises(ValueError, match="rows need two axes"):
        load_rows(tmp_path / "y.npy")
    np.save(tmp_path / "x.npy", np.zeros((5, 2)))
    with pytest.raises(ValueError, match="labels need one axis"):
        load_labels(tmp_path / "x.npy")


def test_npy_that_is_none(tmp_path):
    (tmp_path / "text.npy").write_text("1,2,3")
    np.save(tmp_path / "objects.npy", np.array([{}, []], dtype=object), allow_pickle=True)
    np.save(tmp_path / "cut.npy", np.zeros((50, 50)))
    (tmp_path / "cut.npy").write_bytes((tmp_path / "cut.npy").read_bytes()[:-8])
    np.save(tmp_path / "complex.npy", np.zeros((2, 2), complex))
    for name in ("text", "objects", "cut", "complex"):
        with pytest.raises(ValueError, match=f"{name}.npy"):
            load_rows(tmp_path / f"{name}.npy")
