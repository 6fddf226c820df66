"""A folder of images as rows of pixels, and its sub-folders as their classes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from layerwise import distributed
from layerwise.data import image_files
from layerwise.data.scratch import MEMORY, allocate
from layerwise.errors import FileError

# Pillow's modes of one value a pixel; others become red, green and blue.
_GREY = ("1", "L", "LA", "La")
# The most values that an image may have if no size is given: a layer of 50 units would take 7 GB.
_MAX_VALUES = 2**24


class ImageFolder(NamedTuple):
    """Images as rows.

    Attributes
    ----------
    X : ndarray of shape (n_images, n_features), uint8 or float32
        float32, from 0 to 1, if an image has 16 bits a value.
    image_shape : tuple of int
        (height, width), or (height, width, 3) of colour images.
    files : ndarray of shape (n_images,), object
        The path of each image, from the folder on.
    classes : ndarray of shape (n_images,), object
        The name of the sub-folder that an image is in, the one right below the folder; None of one in the folder
        itself.
    n_images : int
        How many there are in the folder; of several ranks each loads its share of them.
    all_files : list of str
        The path of each of those.
    """

    X: np.ndarray
    image_shape: tuple[int, ...]
    files: np.ndarray
    classes: np.ndarray
    n_images: int
    all_files: list[str]


def load_image_folder(
    folder: str | PathLike[str],
    image_shape: tuple[int, ...] | None = None,
    *,
    memory: int = MEMORY,
    scratch: str | PathLike[str] | None = None,
) -> ImageFolder:
    """Load all images of a folder and of the folders in it, however deep, sorted by path.

    Parameters
    ----------
    folder : str or path-like
        Holds PNG, JPEG, BMP, TIFF, WebP or GIF files. They are turned upright by their EXIF data, what is transparent
        is put on white, and of several frames or pages the first is taken. Files with other endings are left out, with
        a warning that counts them; names that begin with a dot are passed over.
    image_shape : tuple of int or None, default=None
        (height, width) to make all images grey and of that size, (height, width, 3) for colour; proportions are not
        kept. None: they must be of one size, and are grey only if all are.
    memory : int, default=2**32
        How many bytes of rows to keep in memory; more are kept in a file.
    scratch : str, path-like or None, default=None
        The folder for that file; None is a temporary one.

    Returns
    -------
    images : ImageFolder

    Raises
    ------
    FileNotFoundError
        If there is no such folder, or no image in it.
    FileError
        If sizes differ, or a file is no image, is damaged, has values of no known range (32 bits), or so many pixels
        that it may be meant to fill the memory; if no size is given, also if images have more than 16 million values.
    ImportError
        If Pillow, which reads image files, is missing.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from PIL import Image
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> for name, grey in (("cat", 10), ("dog", 200)):
    ...     (folder / name).mkdir()
    ...     Image.new("L", (3, 2), grey).save(folder / name / "1.png")
    >>> images = load_image_folder(folder)
    >>> images.X.shape, images.image_shape, images.files.tolist(), images.classes.tolist()
    ((2, 6), (2, 3), ['cat/1.png', 'dog/1.png'], ['cat', 'dog'])
    """
    image_files.check_pillow()
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not there, or is not a folder")
    paths = image_files.find_images(folder)
    all_files, own = [path.relative_to(folder).as_posix() for path in paths], distributed.share(paths)
    if image_shape is None:
        looks = [image_files.open_image(path, _look) for path in paths]
        image_shape = _common_shape(folder, paths, looks)
    elif len(image_shape) in (2, 3) and min(image_shape) > 0 and image_shape[2:] in ((), (3,)):
        looks = [image_files.open_image(path, partial(_look, sized=False)) for path in own]
    else:
        raise ValueError(f"image_shape={image_shape} must be (height, width), or (height, width, 3) for colour")
    deep = distributed.any_rank(any(deep for _, _, deep, _ in looks))
    image_files.warn_of_frames(paths if len(looks) == len(paths) else own, [frames for *_, frames in looks])
    dtype = np.float32 if deep else np.uint8
    X = allocate((len(own), math.prod(image_shape)), dtype, memory=memory, scratch=scratch)
    for row, path in zip(X, own, strict=True):
        row[:] = image_files.open_image(path, lambda image: _pixels(image, image_shape, dtype)).reshape(-1)
    files = np.array(distributed.share(all_files), dtype=object)
    classes = np.array([file.split("/")[0] if "/" in file else None for file in files], dtype=object)
    return ImageFolder(X, tuple(image_shape), files, classes, len(paths), all_files)


def _look(image: Any, sized: bool = True) -> tuple[tuple[int, int] | None, bool, bool, bool]:
    """Return the size of a Pillow image, if asked for, whether it is grey, has 16 bits a value, and has more frames."""
    deep, frames = image_files.is_deep(image), image_files.has_frames(image)
    return image_files.upright_size(image) if sized else None, deep or image.mode in _GREY, deep, frames


def _common_shape(folder: Path, paths: list[Path], looks: Sequence[tuple]) -> tuple[int, ...]:
    """Return the shape of all images, by what `_look` has seen of them."""
    sizes = [size for size, *_ in looks]
    other = next((place for place, size in enumerate(sizes) if size != sizes[0]), None)
    remedy = "give image_shape (at the command line: --image-shape HEIGHT WIDTH, and 3 for colour) to resize them"
    if other is not None:
        first, second = ("{} x {}".format(*sizes[place]) for place in (0, other))
        raise FileError(
            f"{folder} holds images of different sizes: {paths[0].name} is {first} and {paths[other].name} {second}; "
            f"{remedy}"
        )
    shape = sizes[0] if all(grey for _, grey, *_ in looks) else (*sizes[0], 3)
    if math.prod(shape) > _MAX_VALUES:
        raise FileError(
            f"{folder} holds images of {' x '.join(map(str, shape))}, {math.prod(shape):,} values each, more than a "
            f"model can take; {remedy}, or cut patches out of them"
        )
    return shape


def _pixels(image: Any, image_shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """Return a Pillow image as an array of this shape: bytes, or float32 from 0 to 1."""
    from PIL import Image

    image, colour = image_files.as_seen(image), len(image_shape) == 3
    size = (image_shape[1], image_shape[0])
    if image_files.is_deep(image):
        grey = image_files.to_array(image, lambda strip: strip.astype(np.float32) / 65535)
        if image.size != size:
            grey = np.asarray(Image.fromarray(grey).resize(size)).clip(0, 1)
        return np.repeat(grey[:, :, np.newaxis], 3, axis=2) if colour else grey
    if image.mode.startswith("I") or image.mode == "F":
        raise ValueError(f"its pixels are of Pillow's mode {image.mode!r}, but 8 or 16 bits a value are needed")
    mode = "RGB" if colour else "L"
    image = image if image.mode == mode else image.convert(mode)
    pixels = image_files.to_array(image if image.size == size else image.resize(size))
    return pixels if dtype is np.uint8 else pixels.astype(dtype) / 255
