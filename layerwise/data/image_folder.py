"""A folder of images as rows of pixels, and its sub-folders as their classes."""

from __future__ import annotations

import math
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from layerwise import distributed
from layerwise.data.images import IMAGE_ENDINGS, check_pillow, open_image
from layerwise.data.scratch import MEMORY, allocate
from layerwise.errors import FileError

# Pillow's modes of one value a pixel that fits a byte; others become red, green and blue.
_GREY = ("1", "L", "LA", "La")


class ImageFolder(NamedTuple):
    """Images as rows.

    Attributes
    ----------
    X : ndarray of shape (n_images, n_features), uint8
    image_shape : tuple of int
        (height, width), or (height, width, 3) of colour images.
    files : ndarray of shape (n_images,), object
        The path of each image, from the folder on.
    classes : ndarray of shape (n_images,), object
        The name of the sub-folder that an image is in; None of one in the folder itself.
    n_images : int
        How many there are in the folder; of several ranks each loads its share of them.
    """

    X: np.ndarray
    image_shape: tuple[int, ...]
    files: np.ndarray
    classes: np.ndarray
    n_images: int


def load_image_folder(
    folder: str | PathLike[str],
    image_shape: tuple[int, ...] | None = None,
    *,
    memory: int = MEMORY,
    scratch: str | PathLike[str] | None = None,
) -> ImageFolder:
    """Load all images of a folder and of its direct sub-folders, sorted by path.

    Parameters
    ----------
    folder : str or path-like
        Holds PNG, JPEG, BMP or TIFF files; others are passed over, and so are names that begin with a dot, transparency
        and all pages but the first.
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
        If sizes differ, or a file is no image, is damaged, has more than 8 bits a value, or so many pixels that it may
        be meant to fill the memory.
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
    check_pillow()
    folder = Path(folder)
    paths = _find(folder)
    if image_shape is None:
        image_shape = _common_shape(folder, paths)
    elif not (len(image_shape) in (2, 3) and min(image_shape) > 0 and image_shape[2:] in ((), (3,))):
        raise ValueError(f"image_shape={image_shape} must be (height, width), or (height, width, 3) for colour")
    n_images, paths = len(paths), distributed.share(paths)
    X = allocate((len(paths), math.prod(image_shape)), np.uint8, memory=memory, scratch=scratch)
    for row, path in zip(X, paths, strict=True):
        row[:] = open_image(path, lambda image: _pixels(image, image_shape))
    files = [path.relative_to(folder) for path in paths]
    classes = [file.parts[0] if len(file.parts) > 1 else None for file in files]
    names = np.array([file.as_posix() for file in files], dtype=object)
    return ImageFolder(X, tuple(image_shape), names, np.array(classes, dtype=object), n_images)


def _find(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not there, or is not a folder")
    folders = [folder, *(entry for entry in folder.iterdir() if entry.is_dir() and entry.name[0] != ".")]
    entries = [entry for parent in folders for entry in parent.iterdir()]
    paths = [
        path for path in entries if path.suffix.lower() in IMAGE_ENDINGS and path.name[0] != "." and path.is_file()
    ]
    if not paths:
        raise FileNotFoundError(f"{folder} and its sub-folders hold no image (looked for {', '.join(IMAGE_ENDINGS)})")
    return sorted(paths, key=lambda path: path.relative_to(folder).as_posix())


def _common_shape(folder: Path, paths: list[Path]) -> tuple[int, ...]:
    """Return the shape of all images, by their headers."""
    found = [open_image(path, lambda image: (image.height, image.width, image.mode in _GREY)) for path in paths]
    sizes = [size[:2] for size in found]
    other = next((place for place, size in enumerate(sizes) if size != sizes[0]), None)
    if other is not None:
        first, second = ("{} x {}".format(*sizes[place]) for place in (0, other))
        raise FileError(
            f"{folder} holds images of different sizes: {paths[0].name} is {first} and {paths[other].name} {second}; "
            f"give image_shape (at the command line: --image-shape HEIGHT WIDTH, and 3 for colour) to resize them"
        )
    return sizes[0] if all(grey for _, _, grey in found) else (*sizes[0], 3)


def _pixels(image: Any, image_shape: tuple[int, ...]) -> np.ndarray:
    """Return a Pillow image as a row of bytes."""
    if image.mode.startswith("I") or image.mode == "F":
        raise ValueError(f"its pixels are of Pillow's mode {image.mode!r}, but 8 bits a value are needed")
    image = image.convert("L" if len(image_shape) == 2 else "RGB")
    size = (image_shape[1], image_shape[0])
    return np.asarray(image if image.size == size else image.resize(size)).reshape(-1)
