"""Grey images to draw patches from: photographs, a folder of image files, or UFLDL's IMAGES.mat."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_sample_images

from layerwise.data import image_files
from layerwise.data.mat import load_mat
from layerwise.errors import FileError

# Thousandths of red, green and blue in the luminance, by ITU-R BT.601: whole numbers, so that white is exactly 1.
_LUMINANCE = np.array([299.0, 587.0, 114.0])


def load_images(source: str | PathLike[str] | None = None) -> list[np.ndarray]:
    """Load grey images; colour becomes luminance, 0.299 red + 0.587 green + 0.114 blue.

    Parameters
    ----------
    source : str, path-like or None, default=None
        A folder: all PNG, JPEG, BMP, TIFF, WebP and GIF files in it and in the folders in it, sorted by path. They are
        turned upright by their EXIF data, what is transparent is put on white, and of several frames or pages the
        first is taken. Files with other endings are left out, with a warning that counts them; names that begin with
        a dot are passed over. A path that ends in ``.mat``: see `load_mat_images`. None: the two photographs that
        come with scikit-learn.

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
    image_files.check_pillow()
    if source is None:
        return [_grey(image) for image in load_sample_images().images]
    folder = Path(source)
    if not folder.is_dir():
        raise FileNotFoundError(f"source={str(source)!r} is neither a folder of images nor a .mat file")
    paths = image_files.find_images(folder)
    images, frames = zip(*(image_files.open_image(path, _decode) for path in paths), strict=True)
    image_files.warn_of_frames(paths, frames)
    return list(images)


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


def _decode(image: Any) -> tuple[np.ndarray, bool]:
    """Return a Pillow image as a grey array in [0, 1], and whether there are more frames."""
    frames, image = image_files.has_frames(image), image_files.as_seen(image)
    if image_files.is_deep(image):
        return image_files.to_array(image, lambda strip: strip / 65535), frames
    if image.mode in ("I", "F"):
        raise ValueError(f"its pixels are of Pillow's mode {image.mode!r}, which has no known range")
    return image_files.to_array(image if image.mode == "RGB" else image.convert("RGB"), _grey), frames


def _grey(image: np.ndarray) -> np.ndarray:
    """Return the luminance of a colour image of shape (height, width, 3), uint8, scaled to [0, 1]."""
    return image @ _LUMINANCE / (255 * _LUMINANCE.sum())
