"""Sweeps in closed form: each row is the closed form of its candidate alone, and what fails fails alone."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import costmodel
from costmodel import models
from costmodel.errors import CostModelError, InputError, LoadError, SignatureError

ONE_OF_EACH = [names[-1] for names in models.FAMILIES.values()]
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "width": st.one_of(st.sampled_from([0.5, 1, 1.5, 2.0, 0.75, 0, -1.0, "wide"]), st.floats(0.01, 3)),
    "resolution": st.one_of(st.integers(-2, 320), st.sampled_from([224.5, (192, 256), True, 2**40, 2**62, 2**70])),
    "num_classes": st.one_of(st.integers(-1, 2000), st.none()),
    "batch": st.one_of(st.integers(-1, 64), st.sampled_from([10**15, 2**62])),
    "window": st.integers(0, 40),
    "bands": st.integers(0, 40),
    "groups": st.integers(0, 9),
    "aux": st.booleans(),
    "stride_in_1x1": st.booleans(),
}
"""Values of arguments, right and wrong."""


def alone(name: str, candidate: dict[str, Any], measures: tuple[str, ...]) -> list[int] | None:
    """The closed form of one candidate; None where it has none."""
    try:
        form = models.closed_form(name, **candidate)
    except CostModelError:
        return None
    return [getattr(form, measure) for measure in measures]


@st.composite
def grids(draw: st.DrawFn) -> tuple[str, dict[str, list[Any]]]:
    """A network, and some values for some of its arguments."""
    name = draw(st.sampled_from(ONE_OF_EACH))
    known = [argument for argument in (*models.arguments(name), "batch") if argument in VALUES]
    chosen = draw(st.lists(st.sampled_from(known), min_size=1, max_size=3, unique=True))
    return name, {argument: draw(st.lists(VALUES[argument], min_size=1, max_size=4)) for argument in chosen}


@settings(max_examples=60)
@given(grids())
def test_a_row_is_the_closed_form_of_its_candidate(drawn: tuple[str, dict[str, list[Any]]]) -> None:
    """Every figure of every candidate; those that have no closed form alone are failures, and no others."""
    name, grid = drawn
    swept = costmodel.sweep(name, grid)
    known = {repr(row[: len(grid)]): row[len(grid) :] for row in swept.table.astype(object).to_numpy().tolist()}
    failed = {repr(row[:-1]): row[-1] for row in swept.failures.astype(object).to_numpy().tolist()}
    from costmodel.candidates.grid import Product

    product = Product(grid)
    assert len(known) + len(failed) == len(product)
    for i in range(len(product)):
        candidate = product.candidate(i)
        expected = alone(name, candidate, swept.measures)
        key = repr(list(candidate.values()))
        assert (key in failed) if expected is None else known[key] == expected, candidate


def test_the_table_has_arguments_and_measures() -> None:
    """MobileNetV2 (arXiv:1801.04381, table 4): 3.4 M parameters and 300 M MACs at 1.0 and 224, 209 M at 0.75."""
    swept = costmodel.sweep("mobilenet_v2", {"width": [0.75, 1.0], "resolution": [224, 192]})
    assert list(swept.table.columns) == [
        "width", "resolution", "params", "macs", "flops", "memory_access", "activations", "buffers",
    ]  # fmt: skip
    assert swept.table[["width", "resolution"]].to_numpy().tolist() == [
        [0.75, 224], [0.75, 192], [1.0, 224], [1.0, 192],
    ]  # fmt: skip
    assert [round(macs / 1e6) for macs in swept.table["macs"]][::2] == [209, 301]
    assert swept.table["params"].tolist()[2] == 3_504_872
    assert all(str(dtype) in ("int64", "float64") for dtype in swept.table.dtypes)
    assert swept.failures.empty


def test_candidates_may_be_listed_and_share_arguments() -> None:
    """Dicts instead of a product; arguments in the spec hold for all; a default where a candidate has none."""
    swept = costmodel.sweep("mobilenet_v2(width=0.5)", [{"resolution": 96}, {"num_classes": 10}])
    expected = [{"resolution": 96}, {"num_classes": 10}]
    assert swept.table["macs"].tolist() == [models.closed_form("mobilenet_v2", width=0.5, **e).macs for e in expected]
    assert swept.table["resolution"].tolist() == [96, None]


def test_a_failure_has_its_candidate_and_its_reason() -> None:
    """AlexNet's smallest input has 63 pixels a side; all above are computed."""
    swept = costmodel.sweep("alexnet", {"resolution": range(40, 100), "batch": [1, 2]})
    assert swept.failures["resolution"].tolist() == [r for r in range(40, 63) for _ in range(2)]
    assert swept.table["resolution"].min() == 63
    assert all("size" in error for error in swept.failures["error"])


@pytest.mark.parametrize(
    ("what", "grid", "error", "message"),
    [
        ("mobilenet_v2", {"depth": [1]}, InputError, "mobilenet_v2 has no argument 'depth'; it takes width, resol"),
        ("mobilenet_v2(width=1)", {"width": [1]}, InputError, "width is in the grid and in mobilenet_v2"),
        ("mobilenet_v2(1)", {"width": [1]}, InputError, "given by keyword"),
        ("mobilenet_v22", {"width": [1]}, LoadError, "no model is called 'mobilenet_v22'; did you mean mobilenet_v2"),
        ("mobilenet_v2", {"macs": [1]}, InputError, "no argument 'macs'"),
    ],
)
def test_what_does_not_go_together_is_refused(
    what: str, grid: dict[str, Any], error: type[CostModelError], message: str
) -> None:
    """Before anything is computed."""
    assert not issubclass(error, SignatureError)
    with pytest.raises(error, match=message):
        costmodel.sweep(what, grid)
