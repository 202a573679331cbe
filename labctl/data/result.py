"""Add a run's result and its columns to the file when it ends, without putting what is there at risk.

These repeat, for viewers, what the record holds already. They are added last, when the status is written,
and below one group, so that a kill in these milliseconds can harm nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping

import h5py
import numpy as np
from numpy.typing import NDArray

from labctl.data import layout
from labctl.data.columns import COLUMNS
from labctl.data.nexus import as_json, storable
from labctl.data.room import Room

_TREES_BYTES = 1 << 20


def add_for_viewers(file: h5py.File, room: Room, result: Mapping[str, object], convention: str) -> None:
    """Add, below ``entry/analysis``, the result as groups, the columns as datasets, and two more plots."""
    rows = file[layout.RECORD]["points"][()]
    room.lengthen(rows.nbytes + _TREES_BYTES)
    table = column_tree(file, rows, convention)
    peaks = ("peaks_signal", "peaks_signal_sigma", "Lasing peaks against fluence")
    trees = {
        "result": result_tree(file, result),
        "columns": table,
        "peaks_curve": plot_tree(file, table, *peaks),
        "linewidth": plot_tree(file, table, "fwhm_nm", None, "Width of the emission against fluence"),
    }
    file.flush()
    for name, tree in trees.items():
        file[layout.ANALYSIS][name] = tree
        file.flush()


def result_tree(file: h5py.File, result: Mapping[str, object]) -> h5py.Group:
    """Return an unlinked NXcollection with ``result`` as nested groups."""
    tree = h5py.Group(h5py.h5g.create(file.id, None))
    tree.attrs["NX_class"] = "NXcollection"
    _fill(tree, result)
    return tree


def column_tree(file: h5py.File, rows: NDArray[np.void], convention: str) -> h5py.Group:
    """Return an unlinked NXcollection with every scalar of ``rows`` as a dataset with its unit."""
    tree = h5py.Group(h5py.h5g.create(file.id, None))
    tree.attrs["NX_class"] = "NXcollection"
    for column in COLUMNS:
        made = tree.create_dataset(column.field, data=rows[column.field])
        label = column.label.replace("cm^2", f"cm^2, {convention}")
        made.attrs.update(units=column.unit.replace("counts per pulse", "counts/pulse"), long_name=label)
    return tree


def plot_tree(
    file: h5py.File, columns: h5py.Group, signal: str, errors: str | None, title: str
) -> h5py.Group:
    """Return an unlinked NXdata of one column against fluence, made of links to ``columns``."""
    tree = h5py.Group(h5py.h5g.create(file.id, None))
    tree.attrs.update(NX_class="NXdata", signal=signal, axes=["fluence"], fluence_indices=0)
    tree.create_dataset("title", data=title, dtype=h5py.string_dtype())
    tree[signal] = columns[signal]
    tree["fluence"] = file[layout.CURVE]["fluence"]
    if errors:
        tree[f"{signal}_errors"] = columns[errors]
    return tree


def _fill(group: h5py.Group, values: Mapping[str, object]) -> None:
    for key, value in values.items():
        name = storable(str(key)).replace("/", "_").strip(".") or "_"
        if name not in group:
            _put(group, name, value)


def _put(group: h5py.Group, name: str, value: object) -> None:
    """Store one value; None is left out, as NeXus does with what is not known."""
    if isinstance(value, Mapping):
        inner = group.create_group(name)
        inner.attrs["NX_class"] = "NXcollection"
        _fill(inner, value)
    elif isinstance(value, (bool, int, float, np.generic)):
        group.create_dataset(name, data=value)
    elif isinstance(value, (list, tuple, np.ndarray)):
        _put_sequence(group, name, value)
    elif value is not None:
        group.create_dataset(name, data=storable(str(value)), dtype=h5py.string_dtype())


def _put_sequence(
    group: h5py.Group, name: str, values: list[object] | tuple[object, ...] | NDArray[np.generic]
) -> None:
    numbers = [np.nan if item is None else item for item in values]
    if all(isinstance(item, (int, float, np.number)) for item in numbers):
        group.create_dataset(name, data=np.asarray(numbers, dtype=np.float64))
    elif any(isinstance(item, Mapping) for item in values):
        _put(group, name, {str(number): item for number, item in enumerate(values)})
    else:
        group.create_dataset(name, data=as_json(values), dtype=h5py.string_dtype())
