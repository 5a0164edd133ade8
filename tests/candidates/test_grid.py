"""The candidates of a grid: which there are, in which order, and how a file's rows find them again."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from costmodel.candidates.grid import Grid, Listed, Product, read
from costmodel.errors import InputError

VALUES = st.one_of(
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False),
    st.text(max_size=4),
    st.booleans(),
    st.none(),
    st.tuples(st.integers(0, 3), st.integers(0, 3)),
)
LISTS = st.one_of(st.lists(kind, min_size=1, max_size=5) for kind in (
    st.integers(0, 9), st.floats(0, 9), st.text(max_size=3), st.booleans(), VALUES,
))  # fmt: skip


def rows(grid: Grid) -> list[dict[str, Any]]:
    """All candidates."""
    return [grid.candidate(i) for i in range(len(grid))]


def found(grid: Grid) -> list[int]:
    """Where each candidate is found again, once it was written as a file holds it."""
    columns = grid.columns(np.arange(len(grid)))
    return grid.find({name: grid.written(name, column.tolist()) for name, column in columns.items()})


@given(st.dictionaries(st.sampled_from("abc"), LISTS, min_size=1))
def test_a_product_is_all_combinations(axes: dict[str, list[Any]]) -> None:
    """Every combination of distinct values, the last name fastest, each found again under its number."""
    grid = Product(axes)
    everything = [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]
    made = rows(grid)
    assert all(row in everything for row in made)
    assert all(row in made for row in everything)
    assert found(grid) == list(range(len(grid)))
    assert made[: len(set(map(repr, axes[list(axes)[-1]])))][0] == everything[0]


def test_the_last_name_varies_fastest() -> None:
    """The order of rows is that of nested loops, and values keep their types."""
    made = rows(Product({"a": [2, 1], "b": ["x", "y"]}))
    assert made == [{"a": 2, "b": "x"}, {"a": 2, "b": "y"}, {"a": 1, "b": "x"}, {"a": 1, "b": "y"}]
    mixed = [row["a"] for row in rows(Product({"a": [1, 0.5, True, (2, 3), None, "s"]}))]
    assert [(type(value), value) for value in mixed] == [
        (int, 1), (float, 0.5), (bool, True), (tuple, (2, 3)), (type(None), None), (str, "s"),
    ]  # fmt: skip


@given(st.lists(st.dictionaries(st.sampled_from("abc"), VALUES, min_size=1), min_size=1, max_size=8))
def test_listed_candidates_stay_in_order(given_rows: list[dict[str, Any]]) -> None:
    """Each dict once, in its order, also where some lack an argument that others have; each is found again."""
    grid = Listed(given_rows)
    made = rows(grid)
    assert all(row in given_rows for row in made)
    assert all(row in made for row in given_rows)
    assert found(grid) == list(range(len(grid)))


@given(
    st.dictionaries(st.sampled_from("abcd"), st.integers(1, 12).map(range), min_size=1), st.integers(1, 40)
)  # fmt: skip
def test_blocks_are_every_candidate_once(axes: dict[str, range], size: int) -> None:
    """Blocks follow each other without a gap, none is larger than asked for, and each is a product of values."""
    grid = Product(axes)
    blocks = list(grid.blocks(size))
    assert [i for block in blocks for i in block] == list(range(len(grid)))
    for block in blocks:
        assert 0 < len(block) <= size
        columns = grid.columns(np.array(block))
        assert len(block) == np.prod([len(np.unique(column)) for column in columns.values()])


def test_none_given_is_not_the_same_as_nothing_given() -> None:
    """A candidate with an argument None and one without the argument are two."""
    grid = Listed([{"a": 1, "b": None}, {"a": 1}, {"a": 1, "b": None}])
    assert rows(grid) == [{"a": 1, "b": None}, {"a": 1}]
    assert found(grid) == [0, 1]


def test_kinds_are_those_of_parquet_columns() -> None:
    """Ints, floats with ints, texts and flags have types of their own; all else is JSON."""
    axes = {"i": [1], "f": [1, 0.5], "s": ["a"], "b": [True], "t": [(1, 2)], "m": [1, "a"], "l": [2**63], "n": [None]}
    assert Product(axes).kinds == {
        "i": "int64", "f": "double", "s": "string", "b": "bool", "t": "json", "m": "json", "l": "json", "n": "json",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ("width", "a grid is a dict of lists, or candidates as dicts of arguments, not 'width'"),
        (3, "a grid is a dict of lists"),
        ([3], "or candidates as dicts of arguments, not 3"),
        ({}, "the grid has no candidate"),
        ({"a": []}, "the grid has no candidate"),
        ([], "the grid has no candidate"),
        ({"a": "abc"}, r"the grid's a is a list of values, not 'abc': write \['abc'\]"),
        ({"a": 3}, "the grid's a is a list of values, not 3"),
        ({3: [1]}, "3 in the grid cannot be the name of an argument"),
        ({"a b": [1]}, "'a b' in the grid cannot be the name of an argument"),
        ({"a": [float("nan")]}, "a value of the grid is not a number"),
    ],
)
def test_what_is_no_grid_is_refused(grid: Any, message: str) -> None:
    """With what is wrong, and an example."""
    with pytest.raises(InputError, match=message):
        read(grid)
