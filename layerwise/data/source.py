"""What is asked of files and folders once they are open: names, rows, labels, identifiers, weights."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

import numpy as np

from layerwise import distributed
from layerwise.data._polars import list_names
from layerwise.data.archives import describe_others
from layerwise.data.files import load_labels
from layerwise.data.parts import Where
from layerwise.data.scratch import MEMORY
from layerwise.data.table_encoder import TableEncoder
from layerwise.errors import FileError
from layerwise.section import Section
from layerwise.urls import Place


class Input(NamedTuple):
    """Rows, and what belongs to them.

    Attributes
    ----------
    X : ndarray, memmap or CSR matrix of shape (n_samples, n_features)
        Numbers. Bytes of images stay uint8; what is missing is NaN. Only a sparse matrix of a ``.mat`` or
        ``.npz`` file, or of SVMlight, is sparse.
    y : ndarray of shape (n_samples,) or None
        Labels: numbers or text, with NaN or None for a label that is missing; true and false, and whole numbers beyond
        2**53, are objects beside None.
    ids : dict of str to ndarray of shape (n_samples,)
        The columns that name the rows.
    image_shape : tuple of int or None
        The shape that a row can be drawn in.
    encoder : TableEncoder or None
        What made the rows of a table.
    feature_names : list of str or None
        The names of the columns of ``X``, where they have some.
    layout : str or None
        How the axes of an array of three or more were read, see `load_rows`.
    shape : tuple of int or None
        Of that array.
    weights : ndarray of shape (n_samples,), float64, or None, default=None
        How often each row counts.
    label_name : str or None, default=None
        The column of the table that the labels are from.
    sheet : str or None, default=None
        The sheet that was read, of a workbook with several.
    descriptions : dict of str to str or None, default=None
        What columns of the table are in words, where its file says so.
    zero_based : bool or None, default=None
        Whether columns of a text of pairs column:value (SVMlight, LIBSVM) were counted from 0; None for other files.
    origin : mapping of str to str, default={}
        Of a database: when the rows were read (``read_at``), and that they came in no order (``row_order``).
    """

    X: np.ndarray
    y: np.ndarray | None
    ids: dict[str, np.ndarray]
    image_shape: tuple[int, ...] | None
    encoder: TableEncoder | None
    feature_names: list[str] | None
    layout: str | None = None
    shape: tuple[int, ...] | None = None
    weights: np.ndarray | None = None
    label_name: str | None = None
    sheet: str | None = None
    descriptions: dict[str, str] | None = None
    zero_based: bool | None = None
    origin: Mapping[str, str] = MappingProxyType({})

    @property
    def feature_columns(self) -> list[str] | None:
        """The column of the table that each of ``X`` was made of, where there is a table."""
        return None if self.encoder is None else self.encoder.get_feature_columns()

    @property
    def column_names(self) -> list[str] | None:
        """What to call each of ``X`` in a sentence: after its column of the table, otherwise as the file does."""
        return self.feature_names if self.encoder is None else self.feature_columns

    def take(self, places: np.ndarray) -> Input:
        """Return the rows at these places, with what belongs to them."""
        return self._replace(
            X=self.X[places],
            y=None if self.y is None else self.y[places],
            ids={name: values[places] for name, values in self.ids.items()},
            weights=None if self.weights is None else self.weights[places],
        )

    def widen(self, n_features: int) -> Input:
        """Return rows of as many columns, those beyond the last that SVMlight names are 0 in all rows."""
        if self.zero_based is None or self.X.shape[1] >= n_features:
            return self
        X: Any = self.X.copy()
        X.resize(X.shape[0], n_features)
        return self._replace(X=X)

    def without_weightless(self) -> Input:
        """Return the rows whose weight is not 0, which are all where nothing weighs them.

        Raises
        ------
        ValueError
            If there are none.
        """
        if self.weights is None or self.weights.all():
            return self
        counting = np.flatnonzero(self.weights)
        if not len(counting):
            raise ValueError("the weights of all rows are 0, so no row counts")
        return self.take(counting)


class Options(NamedTuple):
    """How the rows of a source are to be read; see `layerwise.read` for most of it.

    The ``others`` are columns of a table that are no features: identifiers, labels, weights.
    """

    ids: Sequence[str] = ()
    ignore: Sequence[str] = ()
    others: Collection[str] = ()
    max_categories: int | None = None
    missing: Sequence[Any] = ()
    date_parts: Sequence[str] = ()
    encoder: TableEncoder | None = None
    image_shape: tuple[int, ...] | None = None
    scratch: str | PathLike[str] | None = None
    memory: int = MEMORY


class Source:
    """What a new kind of file has to answer. Its header has been read, and its rows are read once, when asked for.

    Of several ranks each gets its share of the rows, and of what belongs to them. The ``options`` are set before the
    first question that needs them. In messages the source is called ``path``, is of a ``kind``, and has ``names``, each
    of which is a ``thing``. Labels of the name ``as_written`` stay text in CSV, numbers or not, as those of a training
    were. Of `Section` it ``takes`` these; ``refused`` are the options that mean nothing here.
    """

    kind: ClassVar[str]
    thing: ClassVar[str] = "an array"
    takes: tuple[str, ...] = ()
    refused: ClassVar[tuple[str, ...]] = ()
    path: Place
    options = Options()
    as_written: str | None = None

    def __init__(self, where: Where, section: Section):
        raise NotImplementedError

    @property
    def names(self) -> Collection[str]:
        """Of columns or arrays."""
        raise NotImplementedError

    @property
    def n_rows(self) -> int:
        """Of all ranks."""
        raise NotImplementedError

    def rows(self) -> Input:
        """Return the rows, without what belongs to them."""
        raise NotImplementedError

    def column(self, name: str) -> np.ndarray:
        """Return the labels of this name, of the rows of all ranks."""
        raise NotImplementedError

    def numbers(self, name: str) -> np.ndarray:
        """Return the values of this name, of the rows of all ranks."""
        return self.column(name)

    def ids(self, names: Iterable[str]) -> dict[str, np.ndarray]:
        """Return what names the rows."""
        return {name: self.share(name, self.column(name)) for name in names}

    def labels(self, name: str | PathLike[str]) -> np.ndarray:
        """Return the labels of this name, or those of a file of this name."""
        if str(name) in self.names:
            return self.share("labels", self.column(str(name)))
        self.check_file(name)
        return self.share("labels", self.load_file(name))

    def load_file(self, path: str | PathLike[str]) -> np.ndarray:
        """Load labels from a file of their own."""
        return load_labels(path, as_text=str(path) == self.as_written)

    def check_file(self, labels: str | PathLike[str]) -> None:
        """Refuse labels that are neither here nor in a file."""
        if not Path(labels).is_file():
            raise ValueError(
                f"labels={str(labels)!r} is neither a file nor {self.thing} of {self.path}, which has "
                f"{list_names(list(self.names)) or 'none'}{describe_others(self.names)}"
            )

    def share(self, name: str, values: Any) -> Any:
        """Return what belongs to the rows of this rank."""
        if len(values) != self.n_rows:
            hint = self.hint_at_transpose(n_rows=len(values))
            raise FileError(
                f"{self.path} has {self.n_rows} rows, but {name} has {len(values)}; each row needs one{hint}"
            )
        return distributed.share(values)

    def hint_at_transpose(self, *, n_rows: int | None = None, n_features: int | None = None) -> str:
        """Return the end of a message, where so many rows or features are wanted and a transposed matrix has them."""
        return ""

    def weights(self, name: str) -> np.ndarray:
        """Return how often each row counts."""
        weights, where = self.numbers(name), f"sample_weight={name!r} of {self.path}"
        if weights.dtype.kind not in "iuf":
            raise ValueError(f"{where} holds {weights[:1].tolist()[0]!r:.65}, but a weight of a row is a number")
        weights = weights.astype(np.float64)
        wrong = np.flatnonzero(~((weights >= 0) & np.isfinite(weights)))
        if len(wrong):
            what = "nothing" if np.isnan(weights[wrong[0]]) else f"{weights[wrong[0]]:g}"
            raise ValueError(
                f"{where} holds {what} in row {wrong[0] + 1} (counted from 1), but each row needs a finite weight that "
                f"is not negative; 0 lets a row count for nothing"
            )
        return self.share("sample_weight", weights)
