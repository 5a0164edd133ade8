"""Whole networks in closed form over NumPy arrays and sympy symbols: the same as one configuration at a time."""

from __future__ import annotations

import inspect
from itertools import product
from typing import Any

import numpy as np
import pytest
import sympy
import torch

import costmodel
import costmodel.models as models

QUANTITIES = ("params", "buffers", "macs", "flops", "memory_access", "activations")

AXES: dict[str, list[Any]] = {
    "width": [0.25, 0.35, 0.5, 0.75, 1.0, 1.4],
    "resolution": [193, 224, 231, 256, 299],
    "num_classes": [1, 1000],
    "batch": [1, 3],
    "window": [9, 19, 25],
    "bands": [14, 30],
}
"""Values that an argument of a sweep goes through."""

TABLED = {"shufflenet_v2": {"width": [0.5, 1.0, 1.5, 2.0]}, "mobilenet_v1_cifar": {"resolution": [32, 40, 47]}}
"""Arguments for which a network takes other values."""

ONE_OF_EACH = [names[-1] for names in models.FAMILIES.values()]


def axes_of(name: str) -> dict[str, list[Any]]:
    """The arguments of a network that take arrays, with values for them."""
    known = [*inspect.signature(getattr(models, name)).parameters, "batch"]
    return {a: TABLED.get(name, {}).get(a, values) for a, values in AXES.items() if a in known}


def totals(form: Any) -> list[Any]:
    """All totals of a closed form."""
    return [getattr(form, quantity) for quantity in QUANTITIES]


@pytest.mark.parametrize("name", ONE_OF_EACH)
@pytest.mark.parametrize("scattered", [False, True], ids=["grid", "scattered"])
def test_an_array_is_its_configurations(name: str, scattered: bool) -> None:
    """Every element of a sweep is the closed form of its configuration alone, in a grid and in any order."""
    axes = axes_of(name)
    points = list(product(*axes.values()))
    if scattered:
        points = [points[i] for i in np.random.default_rng(0).permutation(len(points))[:11]]
    arrays = {a: np.array(column) for a, column in zip(axes, zip(*points, strict=True), strict=True)}
    swept = models.closed_form(name, **arrays)
    for i in {0, len(points) // 3, len(points) // 2, len(points) - 1}:
        alone = totals(models.closed_form(name, **dict(zip(axes, points[i], strict=True))))
        assert [int(np.broadcast_to(total, (len(points),))[i]) for total in totals(swept)] == alone, points[i]


def test_an_array_is_the_trace_of_its_configurations() -> None:
    """Elements of a MobileNetV2 sweep, width x resolution, equal the profiles of the built networks."""
    widths, resolutions = np.array([0.35, 0.6, 1.0, 1.3])[:, None], np.array([96, 131, 224])
    swept = models.closed_form("mobilenet_v2", width=widths, resolution=resolutions)
    assert swept.macs.shape == swept.params.shape == (4, 3)
    for i, j in [(0, 0), (1, 1), (2, 2), (3, 0)]:
        with torch.device("meta"):
            network = models.mobilenet_v2(width=float(widths[i, 0]), resolution=int(resolutions[j]))
        profile = costmodel.profile(network)
        assert [total[i, j] for total in totals(swept)] == totals(profile)


def test_rows_of_a_sweep_are_arrays() -> None:
    """Layers, shapes and receptive fields of a sweep hold an array where a configuration matters to them."""
    resolutions = np.array([160, 192, 224])
    form = models.closed_form("resnet18", resolution=resolutions)
    stem = next(row for row in form.rows if row.name == "conv1.conv")
    assert stem.macs.tolist() == [3 * 49 * 64 * (r // 2) ** 2 for r in resolutions]
    assert stem.output_shape[2].tolist() == [80, 96, 112]
    assert stem.params == 9408
    assert [field.size for field in form.receptive_field()] == [435, 435]
    assert [field.size.tolist() for field in form.receptive_field("avgpool")] == [[160, 192, 224]] * 2


def test_a_layer_that_only_some_configurations_have() -> None:
    """Where rounding makes a width equal to its neighbour's, the layers left out cost nothing in those alone."""
    widths = np.array([0.05, 1.0])
    swept = models.closed_form("mobilenet_v2", width=widths)
    for i, width in enumerate(widths):
        alone = models.closed_form("mobilenet_v2", width=float(width))
        assert [int(total[i]) for total in totals(swept)] == totals(alone)


def test_a_table_of_a_sweep_has_a_line_a_configuration() -> None:
    """`table` spreads the arguments beside the totals."""
    form = models.closed_form("mobilenet_v1", width=np.array([0.5, 1.0])[:, None], resolution=np.array([128, 224]))
    table = form.table
    assert table[["width", "resolution"]].to_numpy().tolist() == [[0.5, 128], [0.5, 224], [1.0, 128], [1.0, 224]]
    assert table["macs"].iloc[-1] == 568_740_352
    assert table["num_classes"].tolist() == [1000] * 4


def test_numbers_do_not_wrap() -> None:
    """Narrow integers are counted with 64 bits."""
    swept = models.closed_form("vgg16", resolution=np.array([224], dtype=np.uint8), batch=np.array([100], np.int8))
    assert swept.flops.tolist() == [models.closed_form("vgg16", batch=100).flops]


def test_a_size_too_small_in_one_configuration_is_named() -> None:
    """The layer that has no output position is told, as for a single configuration."""
    with pytest.raises(ValueError, match="no output position in some configurations of this sweep"):
        models.closed_form("alexnet", resolution=np.array([224, 20]))


# -- symbols ----------------------------------------------------------------------------------------------------------

N, CLASSES, SIZE = sympy.symbols("n c r", integer=True, positive=True)


@pytest.mark.parametrize("name", models.list_models())
def test_batch_and_classes_as_symbols(name: str) -> None:
    """Every network has a formula in its batch and its classes; put in, the numbers are those of that network."""
    form = models.closed_form(name, batch=N, num_classes=CLASSES)
    assert sympy.sympify(form.macs).free_symbols == {N, CLASSES}
    numbers = totals(models.closed_form(name, batch=3, num_classes=7))
    assert [int(sympy.sympify(total).subs({N: 3, CLASSES: 7})) for total in totals(form)] == numbers


@pytest.mark.parametrize("name", ["resnet50", "mobilenet_v2", "shufflenet_v1", "efficientnet_b0", "xception"])
def test_resolution_as_a_symbol(name: str) -> None:
    """Rounded sizes are floors in the formula, which holds for odd resolutions too."""
    form = models.closed_form(name, resolution=SIZE)
    for resolution in (224, 97):
        numbers = totals(models.closed_form(name, resolution=resolution))
        assert [int(sympy.sympify(total).subs({SIZE: resolution})) for total in totals(form)] == numbers


def test_window_and_bands_as_symbols() -> None:
    """HybridSN pads nowhere, so that its formula is a polynomial; it is the hand-written one."""
    form = models.closed_form("hybridsn", window=SIZE, bands=N)
    s, b = SIZE, N
    macs = (
        8 * 63 * (b - 6) * (s - 2) ** 2
        + 16 * 8 * 45 * (b - 10) * (s - 4) ** 2
        + 32 * 16 * 27 * (b - 12) * (s - 6) ** 2
        + 64 * 9 * 32 * (b - 12) * (s - 8) ** 2
        + 64 * (s - 8) ** 2 * 256
        + 256 * 128
        + 128 * 16
    )
    assert sympy.expand(form.macs - macs) == 0


@pytest.mark.parametrize("name", ["mobilenet_v1", "mobilenet_v2", "mobilenet_v3_large", "ghostnet", "shufflenet_v1"])
def test_a_width_that_is_rounded_is_no_symbol(name: str) -> None:
    """Rounding to a multiple has no formula; the error says what may be a symbol instead."""
    with pytest.raises(ValueError, match="give the width multiplier as a number or an array"):
        models.closed_form(name, width=sympy.Symbol("a", positive=True))


@pytest.mark.parametrize("name", ONE_OF_EACH)
@pytest.mark.parametrize("training", [False, True])
def test_numbers_beyond_64_bits_are_exact(name: str, training: bool) -> None:
    """An array whose figures need more than 64 bits has Python's integers: those of each configuration alone."""
    batches = [1, 10**6, 10**13, 10**17, 2**62]
    widths = {"width": [0.5, 1.0, 1.5, 2.0, 1.0]} if "width" in axes_of(name) else {}
    swept = models.closed_form(
        name, training=training, batch=np.array(batches), **{a: np.array(values) for a, values in widths.items()}
    )
    quantities = (*QUANTITIES, "backward_flops", "saved_bytes") if training else QUANTITIES
    for i, batch in enumerate(batches):
        alone = models.closed_form(name, training=training, batch=batch, **{a: v[i] for a, v in widths.items()})
        assert [getattr(swept, q)[i] for q in quantities] == [getattr(alone, q) for q in quantities]


def test_arrays_of_larger_integers_are_exact() -> None:
    """Unsigned and Python integers, of which 64 bits with a sign do not hold all, are taken as they are."""
    small = models.closed_form("vgg11").macs
    for batches in (np.array([3, 2**64 - 1], dtype="uint64"), np.array([3, 2**70], dtype=object)):
        assert models.closed_form("vgg11", batch=batches).macs.tolist() == [int(n) * small for n in batches]


def test_figures_within_64_bits_stay_in_64_bits() -> None:
    """Python's integers are slower by far: an ordinary sweep has none."""
    assert models.closed_form("mobilenet_v2", batch=np.array([1, 2**20])).macs.dtype == np.int64
