"""Grey images to draw patches from: photographs, a folder of image files, or UFLDL's IMAGES.mat."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_sample_images

from layerwise.data.mat import load_mat
from layerwise.errors import FileError

IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
# Only these parsers of Pillow see a file, whatever it is.
_FORMATS = ("PNG", "JPEG", "BMP", "TIFF")
# More pixels than any compression makes of a byte: deflate makes 8,256 of one bit each.
_PIXELS_A_BYTE = 2**14
# Thousandths of red, green and blue in the luminance, by ITU-R BT.601: whole numbers, so that white is exactly 1.
_LUMINANCE = np.array([299.0, 587.0, 114.0])


def load_images(source: str | PathLike[str] | None = None) -> list[np.ndarray]:
    """Load grey images; colour becomes luminance, 0.299 red + 0.587 green + 0.114 blue.

    Parameters
    ----------
    source : str, path-like or None, default=None
        A folder: all PNG, JPEG, BMP and TIFF files in it, sorted by name; files with other endings are passed over,
        and so are transparency and all pages but the first. A path that ends in ``.mat``: see `load_mat_images`.
        None: the two photographs that come with scikit-learn.

    Returns
    -------
    images : list of ndarray of shape (height, width), float64
        In [0, 1]; those of a ``.mat`` file have the values that they have there.

    Raises
    ------
    FileNotFoundError
        If ``source`` is no folder, or there is no image in it.
    FileError
        If a file is no image or is damaged, has so many pixels that it may be meant to fill the memory, or has pixels
        of no known range.
    ImportError
        If Pillow, which reads image files, is missing.

    Examples
    --------
    >>> from layerwise.data import load_images
    >>> [image.shape for image in load_images()]
    [(427, 640), (427, 640)]
    """
    if source is not None and Path(source).suffix.lower() == ".mat":
        return load_mat_images(source)
    check_pillow()
    if source is None:
        return [_grey(image) for image in load_sample_images().images]
    folder = Path(source)
    if not folder.is_dir():
        raise FileNotFoundError(f"source={str(source)!r} is neither a folder of images nor a .mat file")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_ENDINGS and path.is_file())
    if not paths:
        raise FileNotFoundError(f"{folder} holds no image (looked for {', '.join(IMAGE_ENDINGS)})")
    return [open_image(path, _decode) for path in paths]


def load_mat_images(path: str | PathLike[str], name: str | None = None) -> list[np.ndarray]:
    """Load the images of a MAT file such as ``IMAGES.mat`` of the UFLDL tutorial, with the values that they have there.

    Parameters
    ----------
    path : str or path-like
        Holds an array of shape (height, width, n_images), or (height, width) for one image.
    name : str or None, default=None
        The name of the array; None takes the only one that there is. UFLDL's ten images of 512 x 512 are called
        ``IMAGES``; they are whitened already and not in [0, 1].

    Returns
    -------
    images : list of ndarray of shape (height, width), float64

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    FileError
        If the file cannot be read, see `load_mat`, or the array has another number of axes.

    Examples
    --------
    >>> from layerwise.data import load_mat_images
    >>> images = load_mat_images("IMAGES.mat")  # doctest: +SKIP
    """
    array = load_mat(path, name)
    if array.ndim == 2:  # MATLAB drops a last axis of length 1
        array = array[:, :, np.newaxis]
    if array.ndim != 3:
        raise FileError(f"{path} holds an array of shape {array.shape}, but (height, width, n_images) is expected")
    return list(np.ascontiguousarray(np.moveaxis(array, 2, 0), dtype=np.float64))


def whiten_images(images: Sequence[np.ndarray], *, cutoff: float = 0.3) -> list[np.ndarray]:
    """Flatten the spectrum of grey images, whose amplitude falls with the frequency f, up to a cutoff.

    Each image is filtered with::

        f exp(-(f / cutoff)^4)

    which makes neighbouring pixels uncorrelated without raising the noise at the highest frequencies, and scaled to a
    standard deviation of 1. UFLDL's IMAGES.mat was made in this way.

    Parameters
    ----------
    images : sequence of ndarray of shape (height, width)
    cutoff : float, default=0.3
        In cycles a pixel; 0.5 is the highest that there is.

    Returns
    -------
    whitened : list of ndarray of shape (height, width), float64
        With mean 0. An image of one colour stays 0.

    References
    ----------
    B. A. Olshausen and D. J. Field, "Sparse coding with an overcomplete basis set: a strategy employed by V1?", Vision
    Research 37(23), 1997.

    Examples
    --------
    >>> from layerwise.data import load_images, whiten_images
    >>> [round(float(image.std()), 6) for image in whiten_images(load_images())]
    [1.0, 1.0]
    """
    whitened = []
    for image in images:
        frequency = np.hypot(*np.meshgrid(*map(np.fft.fftfreq, image.shape), indexing="ij"))
        spectrum = np.fft.fft2(image) * frequency * np.exp(-((frequency / cutoff) ** 4))
        filtered = np.fft.ifft2(spectrum).real
        whitened.append(filtered / (filtered.std() or 1))
    return whitened


def check_pillow() -> None:
    """Raise an ImportError if Pillow is not there."""
    try:
        import PIL  # noqa: F401
    except ImportError as error:
        raise ImportError("reading images needs Pillow, which is not installed: pip install pillow") from error


def open_image(path: Path, use: Callable[[Any], Any]) -> Any:
    """Open an image file with Pillow and return what ``use`` makes of it; a FileError names a file that is bad."""
    from PIL import Image, UnidentifiedImageError

    with _Metered(path) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a hostile file they can be 65,536
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            image = Image.open(file, formats=_FORMATS)
            if image.width * image.height > _PIXELS_A_BYTE * file.length:
                raise ValueError(f"it cannot hold the {image.width} x {image.height} pixels that its header names")
            return use(image)
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise FileError(
                f"{path} has so many pixels that it may be meant to fill the memory; make it smaller, or raise "
                f"PIL.Image.MAX_IMAGE_PIXELS={Image.MAX_IMAGE_PIXELS} if you trust it"
            ) from error
        except Exception as error:
            # Pillow raises many kinds of errors on bytes that are not what they should be.
            reason = "" if isinstance(error, UnidentifiedImageError) else f" ({error})"
            raise FileError(
                f"{path} cannot be read as a PNG, JPEG, BMP or TIFF image{reason}; mend it or take it out of the folder"
            ) from error


class _Metered(io.FileIO):
    """A file that cannot be read over and over: a few bytes of TIFF can point to the same values 65,536 times."""

    def __init__(self, path: Path):
        super().__init__(path)
        self.length = path.stat().st_size
        self._left = 3 * self.length + 2**20

    def read(self, size: int | None = -1) -> bytes:
        content = super().read(-1 if size is None else size)
        self._left -= len(content)
        if self._left < 0:
            raise ValueError("its parts lie upon each other")
        return content


def _decode(image: Any) -> np.ndarray:
    """Return a Pillow image as a grey array in [0, 1]."""
    if image.mode.startswith("I;16"):
        return np.asarray(image) / 65535
    if image.mode in ("I", "F"):
        raise ValueError(f"its pixels are of Pillow's mode {image.mode!r}, which has no known range")
    return _grey(np.asarray(image.convert("RGB")))


def _grey(image: np.ndarray) -> np.ndarray:
    """Return the luminance of a colour image of shape (height, width, 3), uint8, scaled to [0, 1]."""
    return image @ _LUMINANCE / (255 * _LUMINANCE.sum())
