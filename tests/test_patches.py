"""Images to patches to rows: drawing, normalising and whitening them; image files and MAT files."""

import struct
import sys
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from scipy.io import savemat
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.utils.estimator_checks import parametrize_with_checks

from layerwise.data import (
    PCAWhitening,
    ZCAWhitening,
    extract_patches,
    load_images,
    load_mat,
    load_mat_images,
    normalize_patches,
    whiten_images,
)

# Patches


def numbered(*shape):
    """Return an image in which every pixel has its own value."""
    return np.arange(np.prod(shape)).reshape(shape)


def test_every_place_of_every_image_is_equally_likely():
    images = [numbered(5, 7), 100 + numbered(3, 4)]
    patches = extract_patches(images, (2, 3), 40_000, random_state=0)
    corners, counts = np.unique(patches[:, 0], return_counts=True)
    places = [numbered(5, 7)[:4, :5].ravel(), 100 + numbered(3, 4)[:2, :2].ravel()]
    assert corners.tolist() == [*places[0], *places[1]]
    expected = np.repeat([20_000 / 20, 20_000 / 4], [20, 4])  # half of them from each image
    chi2 = ((counts - expected) ** 2 / expected).sum()
    assert chi2 < 49.7  # the 0.999 quantile for 23 degrees of freedom


@pytest.mark.parametrize("colours", [(), (3,)])
def test_patches_are_cut_out_whole(colours):
    image = numbered(6, 5, *colours)
    patches = extract_patches([image], (3, 2), 50, random_state=1)
    assert patches.shape == (50, 6 * len(image[0, 0].reshape(-1)))
    assert patches.dtype == np.float64
    for patch in patches.reshape(50, 3, 2, *colours):
        top, left = np.argwhere(image == patch.flat[0])[0][:2]
        np.testing.assert_array_equal(patch, image[top : top + 3, left : left + 2])


def test_patches_of_an_array_are_those_of_a_list():
    images = np.random.default_rng(0).random((3, 9, 9))
    first = extract_patches(images, (4, 4), 20, random_state=7)
    np.testing.assert_array_equal(first, extract_patches(list(images), (4, 4), 20, random_state=7))
    np.testing.assert_array_equal(first, extract_patches(images.tolist(), (4, 4), 20, random_state=7))
    assert not np.array_equal(first, extract_patches(images, (4, 4), 20, random_state=8))


def test_patch_as_large_as_the_image():
    image = numbered(4, 3)
    np.testing.assert_array_equal(extract_patches([image], (4, 3), 2), [image.ravel()] * 2)


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        ([], {}, "images is empty"),
        (np.empty((0, 9, 9)), {}, "images is empty"),
        (np.zeros((9, 9)), {}, r"images\[0\] has shape \(9,\).*in a list"),
        ([np.zeros((9, 9, 4))], {}, r"images\[0\] has shape \(9, 9, 4\)"),
        ([np.zeros((9, 9)), np.zeros((7, 9))], {}, r"images\[1\] has shape \(7, 9\).*smaller than patch_size=\(8, 8\)"),
        ([np.zeros((9, 9)), np.zeros((9, 9, 3))], {}, r"images\[1\] has shape \(9, 9, 3\).*grey and colour"),
        ([np.full((9, 9), "a")], {}, r"images\[0\] holds values of type <U1"),
        ([np.zeros((9, 9), complex)], {}, "complex128"),
        ([np.zeros((9, 9))], {"n_patches": 0}, "n_patches=0"),
        ([np.zeros((9, 9))], {"n_patches": 2.5}, "n_patches=2.5"),
        ([np.zeros((9, 9))], {"patch_size": (8, 0)}, r"patch_size=\(8, 0\)"),
        ([np.zeros((9, 9))], {"patch_size": 8}, "patch_size=8"),
        ([np.zeros((9, 9))], {"patch_size": (8, 8, 3)}, r"patch_size=\(8, 8, 3\)"),
    ],
)
def test_what_no_patches_can_be_drawn_from(images, options, message):
    with pytest.raises(ValueError, match=message):
        extract_patches(images, **options)


def test_normalized_as_in_2014(reference):
    _, arrays = reference
    np.testing.assert_allclose(normalize_patches(arrays["patches_in"]), arrays["patches_out"], rtol=0, atol=1e-12)


FINITE = st.floats(allow_nan=False, allow_infinity=False)


@settings(deadline=None)
@given(hnp.arrays(np.float64, hnp.array_shapes(min_dims=2, max_dims=2, max_side=6), elements=FINITE))
def test_normalized_is_finite_and_in_range(patches):
    normalized = normalize_patches(patches)
    assert np.isfinite(normalized).all()
    assert normalized.min() >= 0.1
    assert normalized.max() <= 0.9


@given(value=FINITE, rows=st.integers(1, 7))
def test_normalized_constant_is_one_half(value, rows):
    assert (normalize_patches(np.full((rows, 3), value)) == 0.5).all()


def test_normalizing_does_not_change_its_input():
    patches = np.random.default_rng(0).integers(0, 255, (4, 9), dtype=np.uint8)
    before = patches.copy()
    normalize_patches(patches)
    np.testing.assert_array_equal(patches, before)


@pytest.mark.parametrize("bad", [[[np.nan, 1.0]], [[np.inf, 1.0]], np.empty((0, 4)), [1.0, 2.0], [["a"]]])
def test_what_cannot_be_normalized(bad):
    with pytest.raises(ValueError):  # noqa: PT011 (scikit-learn's messages)
        normalize_patches(bad)


# Whitening


@pytest.fixture(scope="module")
def correlated():
    random = np.random.default_rng(0)
    return random.normal(size=(400, 6)) @ random.normal(size=(6, 6)) + 5


@pytest.fixture(scope="module")
def rank_deficient(correlated):
    """Return 8 columns that vary along 6 directions only."""
    return np.hstack([correlated, correlated[:, :1] + correlated[:, 1:2], np.ones((len(correlated), 1))])


@parametrize_with_checks([PCAWhitening(), ZCAWhitening()])
def test_scikit_learns_checks(estimator, check):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(estimator)


@pytest.mark.parametrize("whitening", [PCAWhitening(epsilon=0), PCAWhitening(3, epsilon=0), ZCAWhitening(epsilon=0)])
def test_covariance_of_whitened_rows_is_the_identity(whitening, correlated):
    Y = clone(whitening).fit_transform(correlated)
    np.testing.assert_allclose(Y.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(Y.T @ Y / len(Y), np.eye(Y.shape[1]), atol=1e-11)


@pytest.mark.parametrize("epsilon", [0.0, 0.3])
def test_whitening_is_its_formula(epsilon, correlated):
    mean = correlated.mean(axis=0)
    eigenvalues, U = np.linalg.eigh((correlated - mean).T @ (correlated - mean) / len(correlated))
    pca = PCAWhitening(epsilon=epsilon).fit(correlated)
    zca = ZCAWhitening(epsilon=epsilon).fit(correlated)
    rotated = (correlated - mean) @ U[:, ::-1] / np.sqrt(eigenvalues[::-1] + epsilon)
    np.testing.assert_allclose(np.abs(pca.transform(correlated)), np.abs(rotated), atol=1e-10)
    back = (correlated - mean) @ U @ np.diag(1 / np.sqrt(eigenvalues + epsilon)) @ U.T
    np.testing.assert_allclose(zca.transform(correlated), back, atol=1e-10)
    np.testing.assert_allclose(pca.eigenvalues_, eigenvalues[::-1], rtol=1e-10)


def test_pca_whitening_is_scikit_learns_but_for_the_divisor(correlated):
    ours = PCAWhitening(4, epsilon=0).fit_transform(correlated)
    theirs = PCA(4, whiten=True, svd_solver="full").fit_transform(correlated)
    m = len(correlated)
    np.testing.assert_allclose(ours, theirs * np.sqrt(m / (m - 1)), atol=1e-10)


def test_zca_is_symmetric_and_nearest_to_the_rows(correlated):
    zca = ZCAWhitening(epsilon=0).fit(correlated)
    np.testing.assert_allclose(zca.whitening_, zca.whitening_.T, atol=1e-12)
    assert np.linalg.eigvalsh(zca.whitening_).min() > 0
    centred = correlated - zca.mean_
    distance = np.linalg.norm(zca.transform(correlated) - centred)
    assert distance < np.linalg.norm(PCAWhitening(epsilon=0).fit_transform(correlated) - centred)


@pytest.mark.parametrize("whitening", [PCAWhitening(), PCAWhitening(epsilon=0), ZCAWhitening(), ZCAWhitening(0)])
def test_inverse_is_exact_at_full_rank(whitening, correlated):
    whitening = clone(whitening).fit(correlated)
    back = whitening.inverse_transform(whitening.transform(correlated))
    np.testing.assert_allclose(back, correlated, rtol=0, atol=1e-10)


def test_inverse_of_few_components_is_the_projection(correlated):
    whitening = PCAWhitening(2, epsilon=0.1).fit(correlated)
    pca = PCA(2).fit(correlated)
    projection = pca.inverse_transform(pca.transform(correlated))
    back = whitening.inverse_transform(whitening.transform(correlated))
    np.testing.assert_allclose(back, projection, rtol=0, atol=1e-10)


@pytest.mark.parametrize("whitening", [PCAWhitening(), PCAWhitening(epsilon=1e-300), ZCAWhitening()])
def test_rank_deficient_rows_are_whitened_with_epsilon(whitening, rank_deficient):
    for X in (rank_deficient, rank_deficient[:3], np.ones((4, 3))):
        whitening = clone(whitening).fit(X)
        Y = whitening.transform(X)
        assert np.isfinite(Y).all()
        np.testing.assert_allclose(whitening.inverse_transform(Y), X, atol=1e-8)


@pytest.mark.parametrize("whitening", [PCAWhitening(epsilon=0), ZCAWhitening(epsilon=0)])
def test_rank_deficient_rows_need_epsilon(whitening, rank_deficient):
    with pytest.raises(ValueError, match=r"epsilon=0 cannot be used: the 8 components .* 2 along which"):
        clone(whitening).fit(rank_deficient)
    with pytest.raises(ValueError, match=r"epsilon=0 cannot be used: the 3 components .* 3 along which"):
        clone(whitening).fit(np.ones((4, 3)))


def test_rank_deficient_rows_on_fewer_components(rank_deficient):
    Y = PCAWhitening(6, epsilon=0).fit_transform(rank_deficient)
    np.testing.assert_allclose(Y.T @ Y / len(Y), np.eye(6), atol=1e-10)


def test_whitening_refuses(correlated):
    with pytest.raises(ValueError, match="n_components=7 is too large: X has 6 features"):
        PCAWhitening(7).fit(correlated)
    with pytest.raises(ValueError, match="'n_components' parameter"):
        PCAWhitening(0).fit(correlated)
    for whitening in (PCAWhitening(epsilon=-1), ZCAWhitening(epsilon=-1)):
        with pytest.raises(ValueError, match="'epsilon' parameter"):
            whitening.fit(correlated)
    for whitening, width in ((PCAWhitening(4), 4), (ZCAWhitening(), 6)):
        with pytest.raises(ValueError, match=rf"shape \(1, 5\).*\(n_samples, {width}\) are expected"):
            whitening.fit(correlated).inverse_transform(np.ones((1, 5)))


def test_names_of_whitened_columns(correlated):
    assert PCAWhitening(2).fit(correlated).get_feature_names_out().tolist() == ["pcawhitening0", "pcawhitening1"]
    assert ZCAWhitening().fit(correlated).get_feature_names_out()[0] == "x0"


# Image files


def save(path, array, **options):
    Image.fromarray(array).save(path, **options)


@pytest.fixture
def colours():
    return np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)


def test_photographs_of_scikit_learn():
    images = load_images()
    assert [image.shape for image in images] == [(427, 640), (427, 640)]
    for image in images:
        assert image.dtype == np.float64
        assert image.min() >= 0
        assert image.max() <= 1
    assert extract_patches(images, n_patches=3, random_state=0).shape == (3, 64)


def test_images_of_a_folder_sorted_by_name(tmp_path, colours):
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    save(tmp_path / "c.PNG", grey)
    save(tmp_path / "b.tif", (grey.astype(np.uint16) * 257))
    save(tmp_path / "a.png", colours)
    save(tmp_path / "d.bmp", grey)
    save(tmp_path / "e.jpeg", np.full((8, 9), 128, np.uint8))
    save(tmp_path / "f.tiff", grey > 127)
    save(tmp_path / "g.png", np.dstack([colours, np.full((6, 5), 255, np.uint8)]))
    (tmp_path / ".README.txt").write_text("no image")
    (tmp_path / "h.png").mkdir()
    save(tmp_path / "h.png" / "a.gif", grey)
    images = load_images(tmp_path)
    luminance = colours @ np.array([0.299, 0.587, 0.114]) / 255
    expected = [luminance, *[grey / 255] * 3, np.full((8, 9), 128 / 255), grey > 127, luminance, grey / 255]
    assert len(images) == len(expected)
    for image, values in zip(images, expected, strict=True):
        assert image.dtype == np.float64
        np.testing.assert_allclose(image, values, rtol=0, atol=1e-15)
        assert image.max() <= 1
    assert len(load_images(str(tmp_path))) == len(expected)


def cut(path, colours):
    save(path, colours)
    path.write_bytes(path.read_bytes()[:100])


def other_format(path, colours):
    save(path, colours, format="PPM")


def of_no_known_range(path, colours):
    save(path, colours[:, :, 0].astype(np.float32), format="TIFF")


def text(path, colours):
    path.write_text("no image")


@pytest.mark.parametrize("write", [cut, other_format, of_no_known_range, text])
def test_file_that_is_no_image_is_named(tmp_path, colours, write):
    save(tmp_path / "a.png", colours)
    write(tmp_path / "b.png", colours)
    with pytest.raises(ValueError, match=r"b\.png cannot be read as a PNG, JPEG, BMP, TIFF, WebP or GIF image"):
        load_images(tmp_path)


@pytest.mark.parametrize("limit", [20, 10])  # 30 pixels: Pillow warns above the limit and refuses above twice as many
def test_decompression_bomb_is_refused(tmp_path, colours, limit, monkeypatch):
    save(tmp_path / "a.png", colours)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(ValueError, match=r"a\.png has so many pixels .* PIL.Image.MAX_IMAGE_PIXELS"):
        load_images(tmp_path)


def test_folder_without_images(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no image"):
        load_images(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"neither a folder of images nor a \.mat file"):
        load_images(tmp_path / "absent")


@pytest.mark.parametrize("source", [None, "."])
def test_images_without_pillow(source, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match="pip install pillow"):
        load_images(source)


# MAT files


@pytest.mark.parametrize("compressed", [False, True])
def test_mat_round_trip(tmp_path, compressed):
    values = np.random.default_rng(0).normal(size=(6, 5, 3))
    path = tmp_path / "images.mat"
    savemat(path, {"IMAGES": values, "count": np.int16(3)}, do_compression=compressed)
    loaded = load_mat(path, "IMAGES")
    assert loaded.dtype == np.float64
    np.testing.assert_array_equal(loaded, values)
    assert load_mat(str(path), "count").dtype == np.int16


def test_mat_array_has_the_type_that_it_has_in_matlab(tmp_path):
    """MATLAB writes doubles that are whole numbers as integers."""
    path = tmp_path / "x.mat"
    savemat(path, {"x": np.arange(9, dtype=np.uint8)})
    flags = struct.pack("<II", 6, 8)
    path.write_bytes(path.read_bytes().replace(flags + struct.pack("<I", 9), flags + struct.pack("<I", 6)))
    assert load_mat(path).dtype == np.float64
    assert load_mat(path).tolist() == [list(range(9))]


def test_mat_of_version_4(tmp_path):
    savemat(tmp_path / "old.mat", {"x": np.eye(3)}, format="4")
    np.testing.assert_array_equal(load_mat(tmp_path / "old.mat"), np.eye(3))


@pytest.mark.parametrize("shape", [(6, 5, 3), (6, 5)])
def test_mat_images_keep_their_values(tmp_path, shape):
    values = np.random.default_rng(0).normal(size=shape)
    savemat(tmp_path / "IMAGES.MAT", {"IMAGES": values}, appendmat=False)
    images = load_images(tmp_path / "IMAGES.MAT")
    np.testing.assert_array_equal(np.dstack(images), values.reshape(6, 5, -1))
    assert all(image.dtype == np.float64 and image.flags.c_contiguous for image in images)


def test_mat_that_holds_no_images(tmp_path):
    savemat(tmp_path / "x.mat", {"x": np.zeros((2, 2, 2, 2))})
    with pytest.raises(ValueError, match=r"array of shape \(2, 2, 2, 2\), but \(height, width, n_images\)"):
        load_mat_images(tmp_path / "x.mat", "x")


def test_mat_is_read_from_any_working_directory(tmp_path, monkeypatch):
    """A module that lies beside the file is not run."""
    (tmp_path / "scipy.py").write_text("raise SystemExit('run from the working directory')")
    savemat(tmp_path / "x.mat", {"x": 1.0})
    monkeypatch.chdir(tmp_path)
    assert load_mat("x.mat") == 1


def saved(variables, **options):
    return lambda path: savemat(path, variables, **options)


def truncated(path):
    savemat(path, {"x": np.random.default_rng(0).random((50, 50))})
    path.write_bytes(path.read_bytes()[:2000])


def random_bytes(path):
    path.write_bytes(np.random.default_rng(0).bytes(5000))


def that_only_begins_like_version_73(path):
    header = b"MATLAB 7.3 MAT-file".ljust(124) + struct.pack("<H", 0x0200) + b"IM"
    path.write_bytes(header.ljust(512) + b"\x89HDF\r\n\x1a\n" + bytes(600))


def that_lies(path):
    """Write an array of 2 x 2 whose data claim to take almost 4 GiB."""
    savemat(path, {"x": np.full((2, 2), 7.5)})
    content = path.read_bytes()
    path.write_bytes(content.replace(struct.pack("<II", 9, 32), struct.pack("<II", 9, 2**32 - 8)))


def of_unknown_type(path):
    """Write an array with a type of data that does not exist, on which SciPy 1.17 crashes."""
    savemat(path, {"x": np.full((2, 2), 7.5)})
    content = path.read_bytes()
    path.write_bytes(content.replace(struct.pack("<II", 9, 32), struct.pack("<II", 2**28, 32)))


BOMB = np.zeros((1000, 1000, 10))
OBJECTS = np.array([[1.0, "text"]], dtype=object)
SMALL = {"x": np.eye(2)}


@pytest.mark.parametrize(
    ("write", "options", "message"),
    [
        (random_bytes, {}, "is not a MAT file, or is damaged"),
        (lambda path: path.write_bytes(b""), {}, "is not a MAT file, or is damaged"),
        (truncated, {}, "is not a MAT file, or is damaged"),
        (that_lies, {}, "is not a MAT file, or is damaged|takes more memory"),
        (of_unknown_type, {}, "is damaged or made to do harm|is not a MAT file, or is damaged"),
        (that_only_begins_like_version_73, {}, "is not a MAT file, or is damaged"),
        (saved({"x": OBJECTS}), {}, "holds 'x' as cell, but an array of numbers is needed"),
        (saved({"x": "text"}), {}, "holds 'x' as char"),
        (saved({"x": {"field": 1.0}}), {}, "holds 'x' as struct"),
        (saved({"x": np.eye(2) * 1j}), {}, "holds 'x' as complex128, but an array of real numbers"),
        (saved(SMALL), {"name": "y"}, "holds no variable name='y'; there are: 'x'"),
        (saved({}), {}, "holds 0 variables, so name must say which to load; there are: none"),
        (saved({"a": 1.0, "b": 2.0}), {}, "holds 2 variables, so name must say which to load; there are: 'a', 'b'"),
        (saved({"x": BOMB}, do_compression=True), {"max_bytes": 2**20}, "80000000 bytes, which is more than max_bytes"),
        (saved(SMALL), {"timeout": 0.001}, "not read within timeout=0.001 seconds"),
    ],
)
def test_mat_that_is_refused(tmp_path, write, options, message):
    path = tmp_path / "file.mat"
    write(path)
    with pytest.raises(ValueError, match=message) as error:
        load_mat(path, **options)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


def test_mat_that_breaks_the_reader_down(tmp_path, monkeypatch):
    """A crash of the reading process, here of one that is not Python, is an error like others."""
    crash = tmp_path / "crash"
    crash.write_text("#!/bin/sh\nkill -SEGV $$\n")
    crash.chmod(0o755)
    savemat(tmp_path / "x.mat", SMALL)
    monkeypatch.setattr(sys, "executable", str(crash))
    with pytest.raises(ValueError, match=r"broke down \(exit status -11\)"):
        load_mat(tmp_path / "x.mat")
    monkeypatch.setattr(sys, "executable", "true")
    with pytest.raises(ValueError, match="did not hand back an array"):
        load_mat(tmp_path / "x.mat")


def test_mat_that_is_absent(tmp_path):
    for path in (tmp_path / "absent.mat", tmp_path):
        with pytest.raises(FileNotFoundError, match="is not there, or is not a file"):
            load_mat(path)


def test_whitened_images_have_a_flat_spectrum():
    """Neighbouring pixels of photographs are nearly equal; those of whitened ones are nearly uncorrelated."""
    photographs = load_images()
    for before, after in zip(photographs, whiten_images(photographs), strict=True):
        assert after.shape == before.shape
        assert abs(after.mean()) < 1e-12
        assert after.std() == pytest.approx(1)
        assert np.corrcoef(before[:, 3:].ravel(), before[:, :-3].ravel())[0, 1] > 0.8
        assert abs(np.corrcoef(after[:, 3:].ravel(), after[:, :-3].ravel())[0, 1]) < 0.2
    assert not whiten_images([np.full((8, 9), 0.5)])[0].any()
