"""Labels of values, as statistics packages keep them (1 is "male"): a column of which all have one becomes these."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeAlias

from layerwise.data._polars import columns, composed, pl, reading
from layerwise.data.naming import name_columns
from layerwise.urls import Place

# Of columns, by name: what each value stands for, which is a float or text.
Labels: TypeAlias = Mapping[str, Mapping[Any, str]]
_SHOWN = 3


def apply_labels(
    path: Place,
    tables: Sequence[pl.LazyFrame],
    labels: Sequence[Labels],
    *,
    text: Collection[str] = (),
    numbers: Collection[str] | None = None,
) -> list[pl.LazyFrame]:
    """Return the parts of a table with labels in place of values, in columns all of whose values have one.

    Columns named in ``numbers`` keep their values, and those in ``text`` become labels, where there are such, whatever
    others they hold. ``numbers`` of None says that nobody has decided yet, and what is doubtful is said aloud.
    """
    names = list(dict.fromkeys(name for part in labels for name in part))
    counts = [_count(path, table, part, names) for table, part in zip(tables, labels, strict=True)]
    as_text, fixed = set(map(composed, text)), set(map(composed, numbers or ()))
    chosen = [
        name
        for name in names
        if composed(name) not in fixed and (composed(name) in as_text or _are_labelled([part[name] for part in counts]))
    ]
    if numbers is None:
        _tell(path, labels, counts, chosen)
    return [
        table.with_columns(_as_labels(table, name, part.get(name, {})) for name in chosen)
        for table, part in zip(tables, labels, strict=True)
    ]


def _count(path: Place, table: pl.LazyFrame, labels: Labels, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return of each column how many values there are, how many of them have a label, and some of those."""
    counts, schema = [], table.collect_schema()
    for name in names:
        value = _value(schema, name)
        with_label = value.is_in(list(labels.get(name, {})) or [None])
        found = value.filter(with_label).unique().sort()
        shown = [value.count().alias("n"), with_label.sum().alias("n_labelled"), found.implode().alias("values")]
        counts.append(pl.struct(shown).alias(name))
    with reading(path):
        return table.select(counts).collect(engine="streaming").row(0, named=True)


def _are_labelled(counts: Sequence[Mapping[str, Any]]) -> bool:
    return all(part["n"] == part["n_labelled"] for part in counts) and any(part["n"] for part in counts)


def _as_labels(table: pl.LazyFrame, name: str, labels: Mapping[Any, str]) -> pl.Expr:
    """Return a column as text of labels; a value without one is written as it is."""
    value = _value(table.collect_schema(), name)
    written = value.cast(pl.String).str.strip_suffix(".0")
    if labels:
        written = pl.coalesce(value.replace_strict(labels, default=None, return_dtype=pl.String), written)
    return written.cast(pl.Categorical).alias(name)


def _value(schema: Mapping[str, Any], name: str) -> pl.Expr:
    """Return a column as labels name its values: text, or float64."""
    return columns(name).cast(pl.Float64) if schema[name].is_numeric() else columns(name)


def _tell(
    path: Place, labels: Sequence[Labels], counts: Sequence[Mapping[str, Mapping[str, Any]]], chosen: Sequence[str]
) -> None:
    """Warn of numbers in an order that become categories without one, and of labels among numbers."""
    words = {name: dict(item for part in labels for item in part.get(name, {}).items()) for name in counts[0]}
    ordered = [name for name in chosen if _is_scale(words[name])]
    if ordered:
        example = ordered[0]
        ends = [words[example][end(words[example])] for end in (min, max)]
        warnings.warn(
            f"{path}: {name_columns(ordered)} {'has' if len(ordered) == 1 else 'have'} a label for each value "
            f"({example:.65}: {ends[0]:.65} ... {ends[1]:.65}), which become categories without an order; "
            f"--no-value-labels (value_labels=False) keeps the numbers of all columns",
            stacklevel=4,
        )
    for name in words:
        found = sorted({value for part in counts for value in part[name]["values"] or () if value is not None})
        if name in chosen or not found:
            continue
        shown = ", ".join(f"{value:g} is {words[name][value]!r:.65}" for value in found[:_SHOWN])
        marks = " ".join(f"--missing={value:g}" for value in found[:_SHOWN])
        warnings.warn(
            f"{path}: column {name!r:.65} stays numbers, as not all of its values have labels, but {shown}"
            f"{' ...' if len(found) > _SHOWN else ''}; if that stands for nothing, declare it missing: {marks}",
            stacklevel=4,
        )


def _is_scale(labels: Mapping[Any, str]) -> bool:
    """Whether these are labels of three or more whole numbers that follow each other."""
    values = [value for value in labels if not isinstance(value, str)]
    return len(values) > 2 and max(values) - min(values) == len(values) - 1
