"""Every network's closed form is the trace of the built network, row by row, to the last integer."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import costmodel
import costmodel.models as models
from costmodel import formulas
from costmodel.errors import InputError
from costmodel.formulas import feature_map
from costmodel.formulas._fields import Fields

GRID: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in models.list_models()),
    ("alexnet", {"resolution": 190, "num_classes": 10}),
    ("vgg11", {"resolution": 192}),
    ("vgg11", {"resolution": 450}),
    ("vgg16", {"num_classes": 7}),
    *(("googlenet", {"aux": aux, "resolution": size}) for aux, size in [(True, 224), (True, 161), (False, 250)]),
    *(("inception_v3", {"aux": aux, "resolution": size}) for aux, size in [(True, 299), (True, 139), (False, 200)]),
    ("inception_v4", {"resolution": 160, "num_classes": 11}),
    ("resnet18", {"resolution": 97, "num_classes": 10}),
    ("resnet34", {"resolution": 32}),
    *(("resnet50", {"stride_in_1x1": first, "resolution": size}) for first in (True, False) for size in (193, 256)),
    ("resnet101", {"stride_in_1x1": True}),
    ("resnext50_32x4d", {"resolution": 129, "num_classes": 3}),
    ("resnext101_64x4d", {"resolution": 320}),
    *(("se_resnet50", {"stride_in_1x1": first, "resolution": 131}) for first in (True, False)),
    ("xception", {"resolution": 150, "num_classes": 2}),
    *(("mobilenet_v1", {"width": w, "resolution": r}) for w in (0.25, 0.5, 0.75, 1.3) for r in (128, 161)),
    *(("mobilenet_v1_cifar", {"resolution": r, "num_classes": 100}) for r in (32, 47)),
    *(("mobilenet_v1_cifar", {"width": w}) for w in (0.25, 0.75, 1.3)),
    *(("mobilenet_v2", {"width": w, "resolution": r}) for w in (0.05, 0.35, 0.75, 1.4) for r in (96, 225)),
    *((f"mobilenet_v3_{s}", {"width": w, "resolution": 161}) for s in ("large", "small") for w in (0.1, 0.35, 0.75, 2)),
    *(("shufflenet_v1", {"groups": g, "width": w, "resolution": 160}) for g in (1, 2, 3, 4, 8) for w in (0.25, 1.5)),
    *(("shufflenet_v2", {"width": w, "resolution": r}) for w, r in [(0.5, 224), (1.5, 97), (2, 160)]),
    *((f"efficientnet_b{i}", {"resolution": 97, "num_classes": 5}) for i in (0, 3)),
    ("efficientnet_v2_s", {"resolution": 127, "num_classes": 5}),
    *(("ghostnet", {"width": w, "resolution": r}) for w in (0.1, 0.5, 1.3) for r in (96, 225)),
    *(("hybridsn", {"window": w, "bands": b, "num_classes": 9}) for w, b in [(9, 13), (10, 14), (19, 40)]),
]

SHAPES: list[tuple[str, tuple[int, ...], str]] = [
    ("vgg11", (3, 3, 160, 224), "eval"),
    ("mobilenet_v2", (7, 3, 96, 160), "eval"),
    ("googlenet", (2, 3, 224, 224), "train"),
    ("inception_v3", (2, 3, 299, 299), "train"),
    ("resnet18", (4, 3, 64, 96), "train"),
    ("se_resnet50", (2, 3, 96, 64), "train"),
    ("xception", (2, 3, 128, 96), "train"),
    ("mobilenet_v3_large", (2, 3, 160, 96), "train"),
    ("shufflenet_v1", (2, 3, 96, 160), "train"),
    ("shufflenet_v2", (2, 3, 96, 160), "train"),
    ("efficientnet_b0", (2, 3, 96, 160), "train"),
    ("ghostnet", (2, 3, 96, 160), "train"),
    ("hybridsn", (2, 1, 30, 25, 25), "train"),
]


def traced(name: str, shape: tuple[int, ...] | None = None, mode: Any = "eval", **arguments: Any) -> costmodel.Profile:
    """The profile of the network, built without memory for its weights."""
    with torch.device("meta"):
        network = models.build(name, **arguments)
    return costmodel.profile(network, shape or network.example_inputs, mode=mode)


@pytest.mark.parametrize(("name", "arguments"), GRID)
def test_every_row_and_total_is_the_trace_s(name: str, arguments: dict[str, Any]) -> None:
    """Names, kinds, shapes, parameters, work, traffic, receptive fields and strides of all rows; and all totals."""
    profile = traced(name, **arguments)
    form = models.closed_form(name, **arguments)
    assert [row.name for row in form.rows] == list(profile.layers["name"])
    found = models.check_closed_form(profile, name, **arguments)
    assert found.ok, found.differences[:10]
    assert (form.params, form.macs, form.memory_access) == (profile.params, profile.macs, profile.memory_access)


@pytest.mark.parametrize(("name", "shape", "mode"), SHAPES)
def test_batches_oblong_images_and_training(name: str, shape: tuple[int, ...], mode: str) -> None:
    """The same of a batch, of images that are not square, and of training, in which auxiliary classifiers run."""
    arguments = {"aux": True} if name in ("googlenet", "inception_v3") else {}
    found = models.check_closed_form(traced(name, shape, mode, **arguments), name, **arguments)
    assert found.ok, found.differences[:10]


def test_every_name_is_in_the_grid_at_arguments_of_its_own() -> None:
    """Each family is tried at least twice."""
    tried = [family for family, names in models.FAMILIES.items() for name, _ in GRID if name in names]
    assert all(tried.count(family) > len(names) for family, names in models.FAMILIES.items())


@pytest.mark.parametrize("name", models.list_models())
def test_arguments_and_defaults_are_the_network_s(name: str) -> None:
    """A closed form takes what the network takes, with the same defaults."""
    import inspect

    parameters = inspect.signature(getattr(models, name)).parameters
    given = {parameter.name: parameter.default for parameter in parameters.values()}
    assert models.closed_form(name).arguments == given | {"batch": 1, "mode": "eval"}


# -- that the check can fail ------------------------------------------------------------------------------------------

WRONG: list[tuple[str, str, Any]] = [
    ("alexnet", "FEATURE_SIZE", 5),
    ("vgg11", "STAGE_WIDTHS", (64, 128, 256, 512, 504)),
    ("googlenet", "STEM_WIDTH", 32),
    ("inception_v3", "TABLE_1", "conv2"),
    ("resnet18", "STEM_WIDTH", 32),
    ("resnet50", "BOTTLENECK_EXPANSION", 2),
    ("se_resnet50", "REDUCTION", 8),
    ("xception", "STEM", (32, 32)),
    ("mobilenet_v2", "HEAD_WIDTH", 1272),
    ("mobilenet_v3_small", "HEAD_EXPANSION", 5),
    ("shufflenet_v1", "BOTTLENECK_RATIO", 2),
    ("shufflenet_v2", "STEM_WIDTH", 16),
    ("efficientnet_b0", "HEAD_EXPANSION", 5),
    ("ghostnet", "CHEAP_KERNEL", 5),
    ("hybridsn", "CONV_2D", 32),
]


def closed_file(name: str) -> Any:
    """The file with the closed form of a network."""
    family = next(family for family, names in models.FAMILIES.items() if name in names)
    return importlib.import_module(f"costmodel.models.closed.{family}")


@pytest.mark.parametrize(("name", "entry", "value"), WRONG)
def test_one_wrong_entry_is_seen(name: str, entry: str, value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table's entry that is changed for the closed form alone makes it differ from the trace."""
    file = closed_file(name)
    if isinstance(value, str):
        value = {row: file.Conv(24, 3) if row == value else column for row, column in file.TABLE_1.items()}
    profile = traced(name)
    monkeypatch.setattr(file, entry, value)
    assert {d.quantity for d in models.check_closed_form(profile, name).differences} >= {"params", "macs", "flops"}


@pytest.mark.parametrize("formula", ["conv", "batch_norm", "activation", "add", "max_pool", "linear", "concat"])
def test_one_wrong_formula_is_seen(formula: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A formula that writes one element too many is seen in the rows of its layers and in the total."""
    profile, right = (
        traced("googlenet" if formula in ("concat", "linear") else "resnet18"),
        getattr(feature_map, formula),
    )

    def wrong(**arguments: Any) -> formulas.LayerCost:
        cost: formulas.LayerCost = right(**arguments)
        return replace(cost, written=cost.written + 1)

    monkeypatch.setattr(feature_map, formula, wrong)
    found = models.check_closed_form(profile, "googlenet" if formula in ("concat", "linear") else "resnet18")
    assert {d.quantity for d in found.differences} == {"memory_access"}
    *rows, total = found.differences
    assert total.layer == ""
    assert total.closed_form - total.traced == len(rows) > 0


def test_a_row_too_many_or_too_few_is_seen() -> None:
    """The rows are compared to the end of the longer list."""
    found = models.check_closed_form(traced("vgg13"), "vgg11")
    assert "classifier.fc8" in {d.layer for d in found.differences}


def test_where_the_receptive_field_starts_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Padding that is left out moves the network's field, and nothing else."""
    profile, right = traced("resnet18"), Fields.after_window
    monkeypatch.setattr(
        Fields, "after_window", lambda x, kernel, stride, _, axes: right(x, kernel, stride, 0, axes=axes)
    )
    (found,) = models.check_closed_form(profile, "resnet18").differences
    assert (found.layer, found.quantity, found.closed_form) == ("", "receptive field, start", (0, 0))
    assert found.traced == profile.receptive_field().start != (0, 0)


def test_the_receptive_field_of_a_layer_that_is_not_there() -> None:
    """The error names the layer."""
    form = models.closed_form("vgg16")
    assert [(field.size, field.stride) for field in form.receptive_field("features.pool5")] == [(212, 32)] * 2
    assert form.receptive_field() == form.receptive_field("features.pool5")
    with pytest.raises(ValueError, match="no layer of vgg16 is called 'pool6'"):
        form.receptive_field("pool6")


# -- two sides --------------------------------------------------------------------------------------------------------

SHARED = {"make_divisible", "check_window", "stage_2_width", "widths_at"}
"""Beside tables: rounding, and reading a table."""


def shared_with_closed_forms(source: str) -> set[str]:
    """What a file of modules imports from the closed forms or from the formulas, but for tables and their rows."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "closed":
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.Import | ast.ImportFrom) and "formulas" in ast.unparse(node):
            names.add(ast.unparse(node))
    return {name for name in names if not re.fullmatch(r"[A-Z]\w*", name)} - SHARED


def test_modules_share_only_tables_with_the_closed_forms() -> None:
    """A network's modules know its table, and no formula and no walk."""
    folder = Path(models.__file__).parent
    for file in (path for path in folder.glob("*.py") if path.name != "__init__.py"):
        assert shared_with_closed_forms(file.read_text("utf-8")) == set(), file.name
    wrong = "from .closed.resnet import STEM_WIDTH, basic_block\nfrom costmodel.formulas import conv"
    assert shared_with_closed_forms(wrong) == {"basic_block", "from costmodel.formulas import conv"}


# -- without torch ----------------------------------------------------------------------------------------------------


def test_no_torch_is_needed() -> None:
    """All closed forms are derived, tables and sweeps included, while torch cannot be imported."""
    code = """
import importlib.util, sys, types
# The package itself imports torch, to trace with; here stands an empty one in its place.
costmodel = types.ModuleType("costmodel")
costmodel.__path__ = importlib.util.find_spec("costmodel").submodule_search_locations
sys.modules["costmodel"] = costmodel
sys.modules["torch"] = None
import numpy as np
import costmodel.models as models
for name in models.list_models():
    models.closed_form(name).layers
models.closed_form("mobilenet_v2", width=np.array([0.5, 1.0])).table
print(models.closed_form("mobilenet_v2", width=0.75, resolution=192).params)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("2636424", "")


def test_no_module_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    """A closed form makes no `nn.Module`."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a module is built")

    monkeypatch.setattr(nn.Module, "__init__", refuse)
    with pytest.raises(AssertionError, match="a module is built"):
        models.build("vgg11")
    for name in models.list_models():
        assert models.closed_form(name).macs > 0


# -- what is told -----------------------------------------------------------------------------------------------------


def test_published_integers_by_arithmetic() -> None:
    """Totals that torchvision's networks have too, counted there (tests/models/test_networks.py)."""
    form = models.closed_form("resnet50")
    assert (form.params, form.macs) == (25_557_032, 4_089_184_256)
    assert models.closed_form("mobilenet_v2", width=1.4).macs == 582_195_824
    assert models.closed_form("inception_v3", aux=True).params == 27_161_264


def test_auxiliary_classifiers_that_do_not_run_are_told_apart() -> None:
    """Outside training they are in no row, and their parameters are in the total."""
    form = models.closed_form("googlenet", aux=True)
    assert {row.name.split(".")[0] for row in form.idle} == {"auxiliary"}
    assert form.params - models.closed_form("googlenet").params == sum(row.params for row in form.idle)
    assert all(row.macs == row.flops == row.memory_access == row.activations == 0 for row in form.idle)


def test_rows_and_tables() -> None:
    """The table of layers has a line a row and sums to the totals; a row tells the receptive field and the stride."""
    form = models.closed_form("vgg11", resolution=192)
    layers = form.to_pandas()
    assert len(layers) == len(form.rows) == 30
    assert all(layers[q].sum() == getattr(form, q) for q in ("params", "macs", "flops", "memory_access", "activations"))
    by_name = {row.name: row for row in form.rows}
    assert by_name["features.pool5"].receptive_field == (150, 150)
    assert by_name["features.pool5"].stride == (32, 32)
    assert by_name["avgpool"].stride == (Fraction(192, 7),) * 2
    assert by_name["classifier.fc6"].receptive_field == (192, 192)
    assert form.table.loc[0, ["resolution", "batch", "params"]].tolist() == [192, 1, 132_863_336]
    assert repr(form).startswith(
        "<ClosedForm of vgg11(num_classes=1,000, resolution=192, batch=1, mode=eval): params=13"
    )


def test_blocks_of_the_formulas_are_the_networks_blocks() -> None:
    """What `costmodel.formulas` prices as a block costs what the rows of that block cost together."""
    blocks = {
        ("mobilenet_v2", "features.3"): formulas.inverted_residual(c_in=24, c_out=24, size=(56, 56)),
        ("resnet18", "layer1.0"): formulas.basic_block(c_in=64, c_out=64, size=(56, 56)),
        ("resnet50", "layer2.0"): formulas.bottleneck(c_in=256, width=128, c_out=512, size=(56, 56), stride=2),
        ("resnext50_32x4d", "layer1.1"): formulas.grouped_bottleneck(c_in=256, c_out=256, size=(56, 56)),
        ("googlenet", "inception_3a"): formulas.inception_module(
            c_in=192, size=(28, 28), c1=64, c3_reduce=96, c3=128, c5_reduce=16, c5=32, pool_proj=32
        ),
        ("shufflenet_v1", "stage3.1"): formulas.shuffle_unit_v1(c_in=480, c_out=480, size=(14, 14)),
        ("shufflenet_v2", "stage3.0"): formulas.shuffle_unit_v2(c_in=116, c_out=232, size=(28, 28), stride=2),
        ("efficientnet_b0", "features.2.1"): formulas.mbconv(c_in=24, c_out=24, size=(56, 56)),
        ("efficientnet_v2_s", "features.2.1"): formulas.fused_mbconv(c_in=48, c_out=48, size=(96, 96)),
        ("ghostnet", "features.2.body.ghost1"): formulas.ghost_module(c_in=16, c_out=48, size=(112, 112)),
        ("mobilenet_v1", "features.12"): formulas.depthwise_separable(c_in=512, c_out=1024, size=(14, 14), stride=2),
    }
    for (name, place), block in blocks.items():
        rows = [row for row in models.closed_form(name).rows if row.name.startswith((f"{place}.", f"{place}/"))]
        for quantity in ("params", "macs", "flops", "memory_access", "activations"):
            assert sum(getattr(row, quantity) for row in rows) == getattr(block, quantity), (name, quantity)


@pytest.mark.parametrize(
    ("name", "arguments", "error", "said"),
    [
        ("mobilenetv2", {}, ValueError, "no model is called 'mobilenetv2'; did you mean mobilenet_v2 or"),
        (
            "resnet18",
            {"width": 2},
            TypeError,
            "has no argument 'width'; it takes num_classes, resolution, batch and mode",
        ),
        ("resnet18", {"mode": "test"}, ValueError, "mode='test' is unknown: choose eval or train"),
        (
            "mobilenet_v2",
            {"width": "a"},
            ValueError,
            r"^closed_form\('mobilenet_v2', batch=1, .*width='a'",
        ),
        ("mobilenet_v2", {"width": 0}, ValueError, "a width multiplier must be greater than 0"),
        ("shufflenet_v1", {"groups": 5}, ValueError, "no groups=5; Table 1 of the paper has groups 1, 2, 3, 4, 8"),
        ("shufflenet_v2", {"width": 0.7}, ValueError, "no width=0.7; Table 5 of the paper has widths 0.5, 1, 1.5, 2"),
        ("hybridsn", {"bands": 12}, ValueError, "at least 13 bands and a window of 9, got bands=12, window=25"),
        ("alexnet", {"resolution": 20}, ValueError, "reaches over 3 positions"),
    ],
)
def test_a_wrong_argument_is_named(name: str, arguments: dict[str, Any], error: type[Exception], said: str) -> None:
    """The error says what there is, or what the value must be."""
    with pytest.raises(error, match=said):
        models.closed_form(name, **arguments)


@pytest.mark.parametrize("given", [("vgg16",), ("vgg16", "vgg16"), (nn.Linear(8, 4),), (None,)])
def test_a_name_in_the_place_of_a_profile_is_one_clear_error(given: tuple[Any, ...]) -> None:
    """What is wanted, as one calls it; and where only the name lacks, that."""
    with pytest.raises(
        InputError, match=r"takes the Profile of .* as in check_closed_form\(costmodel.profile\('vgg16'"
    ):
        models.check_closed_form(*given)
    with pytest.raises(InputError, match="needs the network's name"):
        models.check_closed_form(traced("vgg11"))
