"""A folder of images as a source of rows."""

from __future__ import annotations

import warnings
from functools import cached_property
from os import PathLike
from pathlib import Path

import numpy as np

from layerwise import distributed
from layerwise.data.image_folder import ImageFolder, load_image_folder
from layerwise.data.image_labels import load_image_labels
from layerwise.data.parts import Where, find_parts
from layerwise.data.source import Input, Source
from layerwise.section import Section


class ImageSource(Source):
    """A folder of images, whose classes may be the folders in it."""

    kind = "a folder of images"
    thing = "a label"
    refused = ("id", "ignore", "sample_weight", "max_categories", "missing", "date_parts")
    names = ("class",)

    def __init__(self, where: Where, section: Section):
        paths = find_parts(where)
        if len(paths) > 1:
            raise ValueError(f"{paths[1]} is one of {len(paths)} folders, but images are read from one folder alone")
        self.path = paths[0]

    @cached_property
    def _images(self) -> ImageFolder:
        options = self.options
        return load_image_folder(self.path, options.image_shape, memory=options.memory, scratch=options.scratch)

    @property
    def n_rows(self) -> int:
        """Of all ranks."""
        return self._images.n_images

    def rows(self) -> Input:
        """Return the pixels of each image, named by its file."""
        return Input(self._images.X, None, {"file": self._images.files}, self._images.image_shape, None, None)

    def labels(self, name: str | PathLike[str]) -> np.ndarray:
        """Return the folder that each image is in, or what a file says of it."""
        if str(name) != "class":
            self.check_file(name)
            return distributed.share(load_image_labels(Path(name), Path(self.path), self._images.all_files))
        files, classes = self._images.files, self._images.classes
        outside = [file for file, folder in zip(files, classes, strict=True) if folder is None]
        if outside:
            raise ValueError(
                f"labels='class' needs every image in a sub-folder of {self.path}, but {outside[0]} is in none"
            )
        deeper = [file for file in files if file.count("/") > 1]
        if deeper:
            warnings.warn(
                f"the class of an image is the folder right below {self.path}: {len(deeper)} of {len(files)} images "
                f"lie deeper, such as {deeper[0]}, whose class is {deeper[0].split('/')[0]!r}",
                stacklevel=4,
            )
        return classes
