"""Image files: which of a folder are read, and what Pillow makes of one, upright and without transparency."""

from __future__ import annotations

import io
import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from layerwise import distributed
from layerwise.errors import FileError
from layerwise.limits import check_expansion

IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif")
# Only these parsers of Pillow see a file, whatever it is.
_FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF")
# More pixels than any compression makes of a byte: deflate makes 8,256 of one bit each.
_PIXELS_A_BYTE = 2**14
# EXIF's name for how the camera was held, and, by its value, the method of Pillow's transpose that turns upright.
_ORIENTATION, _TURNS = 0x0112, {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}
# Pixels that become an array at once: Pillow makes two copies on the way.
_STRIP = 2**20


def check_pillow() -> None:
    """Raise an ImportError if Pillow is not there."""
    try:
        import PIL  # noqa: F401
    except ImportError as error:
        raise ImportError("reading images needs Pillow, which is not installed: pip install pillow") from error


def find_images(folder: Path) -> list[Path]:
    """Return the image files of a folder and of all folders in it, sorted by path; say what is left out.

    Names that begin with a dot are passed over.
    """
    files = [path for path in _walk(folder, ()) if path.is_file() or path.is_symlink()]
    found = [path for path in files if path.suffix.lower() in IMAGE_ENDINGS]
    others = Counter(path.suffix.lower() or "no ending" for path in files if path.suffix.lower() not in IMAGE_ENDINGS)
    if not found:
        raise FileNotFoundError(
            f"{folder} holds no image, and no folder in it does (looked for {', '.join(IMAGE_ENDINGS)}"
            f"{f'; left out: {_count(others)}' if others else ''})"
        )
    if others and distributed.rank() == 0:
        n_others = others.total()
        warnings.warn(
            f"{folder} holds {n_others} file{'s' if n_others > 1 else ''} beside the {len(found)} images, left out by "
            f"the ending: {_count(others)}",
            stacklevel=3,
        )
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def _walk(folder: Path, above: tuple[str, ...]) -> Iterator[Path]:
    """Yield what is in a folder and in all folders in it, but for those that a link leads back to."""
    place = os.path.realpath(folder)
    if place in above:
        return
    for entry in folder.iterdir():
        if entry.name[0] == ".":
            continue
        if entry.is_dir():
            yield from _walk(entry, (*above, place))
        else:
            yield entry


def _count(endings: Counter[str]) -> str:
    shown = ", ".join(f"{count} of {ending[:20]}" for ending, count in endings.most_common(8))
    return f"{shown}, ..." if len(endings) > 8 else shown


def warn_of_frames(paths: Sequence[Path], frames: Sequence[bool]) -> None:
    """Say that of images with several frames or pages only the first was read."""
    several = [path for path, more in zip(paths, frames, strict=True) if more]
    if several:
        warnings.warn(
            f"{len(several)} of {len(paths)} images have several frames or pages, such as {several[0].name}; the first "
            f"of each is read",
            stacklevel=3,
        )


def open_image(path: Path, use: Callable[[Any], Any]) -> Any:
    """Open an image file with Pillow and return what ``use`` makes of it; a FileError names a file that is bad."""
    from PIL import Image, UnidentifiedImageError

    with _Metered(path) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a hostile file they can be 65,536
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            image = Image.open(file, formats=_FORMATS)
            n_pixels = image.width * image.height
            if n_pixels > _PIXELS_A_BYTE * file.length:
                raise ValueError(f"it cannot hold the {image.width} x {image.height} pixels that its header names")
            check_expansion(path, n_pixels * (2 if is_deep(image) else len(image.getbands())), file.length)
            return use(image)
        except FileError:
            raise
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise FileError(
                f"{path} has so many pixels that it may be meant to fill the memory; make it smaller, or raise "
                f"PIL.Image.MAX_IMAGE_PIXELS={Image.MAX_IMAGE_PIXELS} if you trust it"
            ) from error
        except Exception as error:
            # Pillow raises many kinds of errors on bytes that are not what they should be.
            reason = "" if isinstance(error, UnidentifiedImageError) else f" ({error})"
            raise FileError(
                f"{path} cannot be read as a PNG, JPEG, BMP, TIFF, WebP or GIF image{reason}; mend it or take it out "
                f"of the folder"
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


def is_deep(image: Any) -> bool:
    """Whether a Pillow image is grey of 16 bits a value."""
    return image.mode.startswith("I;16")


def has_frames(image: Any) -> bool:
    """Whether a Pillow image has several frames or pages; the previews in the file of a photograph are none."""
    return image.format != "MPO" and bool(getattr(image, "is_animated", False))


def upright_size(image: Any) -> tuple[int, int]:
    """Return the height and width that a Pillow image has upright."""
    return (image.width, image.height) if 5 <= _find_turn(image) <= 8 else (image.height, image.width)


def as_seen(image: Any) -> Any:
    """Return a Pillow image as a viewer shows it: upright by its EXIF data, on white where it is transparent."""
    from PIL import Image

    turn = _find_turn(image)
    image.load()
    if turn in _TURNS:
        image = image.transpose(_TURNS[turn])
    clear = image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info
    if not clear or is_deep(image):
        return image
    grey = image.mode in ("1", "L", "LA", "La")
    image = image.convert("LA" if grey else "RGBA")
    seen = Image.new("L" if grey else "RGB", image.size, "white")
    seen.paste(image.convert(seen.mode), mask=image.getchannel("A"))
    return seen


def _find_turn(image: Any) -> int:
    """Return EXIF's orientation of a Pillow image, 1 if it is upright; TIFF images are turned by Pillow itself."""
    if image.format == "PNG":
        image.load()  # what tells may stand behind the pixels
    if image.format == "TIFF":
        return 1
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # damaged EXIF data, which a viewer passes over too
        return 1


def to_array(image: Any, convert: Callable[[np.ndarray], np.ndarray] = np.asarray) -> np.ndarray:
    """Return the pixels of a Pillow image, each strip of rows converted by a function of its own."""
    step = max(1, _STRIP // max(1, image.width))
    boxes = [(0, top, image.width, min(top + step, image.height)) for top in range(0, image.height, step)]
    first = convert(np.asarray(image.crop(boxes[0])))
    if len(boxes) == 1:
        return first
    array = np.empty((image.height, *first.shape[1:]), first.dtype)
    for box in boxes:
        array[box[1] : box[3]] = convert(np.asarray(image.crop(box)))
    return array
