"""Patches of images as rows: drawn at random places, and normalised as the UFLDL tutorial does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.utils import check_array, check_random_state


def extract_patches(
    images: Any, patch_size: tuple[int, int] = (8, 8), n_patches: int = 10000, *, random_state: Any = None
) -> np.ndarray:
    """Draw patches from images: each from a random image, at a random place in it.

    All images are equally likely, and all places within an image at which the whole patch lies in it.

    Parameters
    ----------
    images : array-like of shape (n_images, height, width) or (n_images, height, width, 3), or a sequence of images
        Grey images have 2 axes, colour images 3. The images of a sequence may be of different sizes.
    patch_size : tuple of two int, default=(8, 8)
        Height and width of a patch.
    n_patches : int, default=10000
        How many to draw, from all images together.
    random_state : int, RandomState instance or None, default=None
        Draws the images and the places.

    Returns
    -------
    patches : ndarray of shape (n_patches, n_features), float64
        One patch a row, its pixels row by row, the 3 colours of a pixel side by side. The values are those of the
        images: uint8 is not scaled.

    Raises
    ------
    ValueError
        If there is no image, an array is none, a patch does not fit into an image, grey and colour images are
        mixed, or a size is wrong.

    Examples
    --------
    >>> import numpy as np
    >>> image = np.arange(12).reshape(3, 4)
    >>> extract_patches([image], patch_size=(3, 2), n_patches=2, random_state=0)
    array([[ 0.,  1.,  4.,  5.,  8.,  9.],
           [ 1.,  2.,  5.,  6.,  9., 10.]])
    """
    height, width = _check_patch_size(patch_size)
    if not isinstance(n_patches, (int, np.integer)) or n_patches < 1:
        raise ValueError(f"n_patches={n_patches!r} is wrong: a whole number of at least 1 is expected")
    images = _check_images(images, (height, width))
    heights, widths = np.array([image.shape[:2] for image in images]).T
    random = check_random_state(random_state)
    chosen = random.randint(len(images), size=n_patches)
    tops = random.randint(heights[chosen] - height + 1)
    lefts = random.randint(widths[chosen] - width + 1)
    patches = np.empty((n_patches, height, width, *images[0].shape[2:]))
    for patch, index, top, left in zip(patches, chosen, tops, lefts, strict=True):
        patch[...] = images[index][top : top + height, left : left + width]
    return patches.reshape(n_patches, -1)


def normalize_patches(patches: Any) -> np.ndarray:
    """Bring patches into the range of a sigmoid: centre, clip at three standard deviations, scale to [0.1, 0.9].

    With the mean and the standard deviation s of *all* values::

        y = 0.4 (clip(x - mean, -3s, 3s) / 3s + 1) + 0.1

    Where all values are equal, y is 0.5.

    Parameters
    ----------
    patches : array-like of shape (n_patches, n_features)

    Returns
    -------
    normalized : ndarray of shape (n_patches, n_features), float64

    Raises
    ------
    ValueError
        If ``patches`` is no table of finite numbers, or is empty.

    References
    ----------
    A. Ng, J. Ngiam, C. Y. Foo, Y. Mai, C. Suen, UFLDL tutorial, "Exercise: Sparse Autoencoder", function
    ``normalizeData``.

    Examples
    --------
    >>> normalize_patches([[0.0, 1.0], [2.0, 3.0]]).round(3)
    array([[0.321, 0.44 ],
           [0.56 , 0.679]])
    """
    patches = check_array(patches, dtype=np.float64, input_name="patches")
    # The answer does not depend on the scale; on this one no square overflows or vanishes.
    patches = patches / (np.abs(patches).max() or 1)
    centred = patches - patches.mean()
    limit = 3 * centred.std()
    if limit == 0:
        return np.full_like(centred, 0.5)
    return 0.4 * (np.clip(centred, -limit, limit) / limit + 1) + 0.1


def _check_patch_size(patch_size: Any) -> tuple[int, int]:
    """Return height and width of a patch."""
    sizes = tuple(patch_size) if isinstance(patch_size, Sequence) else ()
    if len(sizes) != 2 or not all(isinstance(size, (int, np.integer)) and size >= 1 for size in sizes):
        raise ValueError(
            f"patch_size={patch_size!r} is wrong: height and width are expected, each a whole number of at least 1, "
            f"for example (8, 8)"
        )
    return int(sizes[0]), int(sizes[1])


def _check_images(images: Any, patch_size: tuple[int, int]) -> list[np.ndarray]:
    """Return the images as arrays of one kind, grey or colour, each at least as large as a patch."""
    images = [np.asarray(image) for image in images]
    if not images:
        raise ValueError("images is empty, but at least one image is needed to draw patches from")
    for index, image in enumerate(images):
        name = f"images[{index}]"
        if image.dtype.kind not in "biuf":
            raise ValueError(f"{name} holds values of type {image.dtype}, but numbers are needed")
        if image.ndim != 2 and image.shape[2:] != (3,):
            raise ValueError(
                f"{name} has shape {image.shape}, but (height, width) or (height, width, 3) is expected; pass a single "
                f"image in a list"
            )
        if image.ndim != images[0].ndim:
            raise ValueError(
                f"{name} has shape {image.shape}, but images[0] has {images[0].shape}: grey and colour images cannot "
                f"be mixed; draw from them separately, or make all of them grey"
            )
        if image.shape[0] < patch_size[0] or image.shape[1] < patch_size[1]:
            raise ValueError(
                f"{name} has shape {image.shape}, which is smaller than patch_size={patch_size}; choose a smaller "
                f"patch, or leave the image out"
            )
    return images
