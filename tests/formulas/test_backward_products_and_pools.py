"""The backward passes of products, embeddings, poolings, resampling and elementwise layers, against what torch runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from costmodel import formulas as f
from costmodel.formulas import LayerCost
from tests.formulas._backward import assert_same_on_arrays_and_symbols, forward_quantities, needs, quantities, real

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Case:
    """A formula with its arguments, and the function of torch that it describes."""

    formula: Callable[..., LayerCost]
    arguments: dict[str, Any]
    function: Callable[..., Any]
    inputs: tuple[Any, ...]
    """Shapes; tensors where they are no floats."""
    weights: tuple[Shape, ...] = ()
    biases: tuple[Shape, ...] = ()
    free_of: frozenset[str] = field(default=frozenset())
    """Arguments that take no array and no symbol."""

    @property
    def tensors(self) -> list[torch.Tensor]:
        """The inputs."""
        return [t if isinstance(t, torch.Tensor) else torch.randn(t) for t in self.inputs]

    @property
    def spare(self) -> int:
        """Bytes of places to spare, one in each of some tensors that the CPU's kernel of bags makes."""
        if self.formula is not f.embedding_bag:
            return 0
        given = self.arguments
        finds_bags = given.get("mode", "mean") != "sum" or given.get("padded", False)
        return 8 * (finds_bags + given.get("include_last_offset", False))

    def needs(self) -> list[Any]:
        """What can be asked for: no gradient of whole numbers."""
        floats = [t.is_floating_point() for t in self.tensors]
        all_needs = needs(len(floats), weight=bool(self.weights), bias=bool(self.biases))
        return [n for n in all_needs if all(ok or not asked for ok, asked in zip(floats, n["inputs"], strict=True))]


X, INDICES = (2, 3, 7, 6), torch.randint(0, 9, (2, 5))
AT = {"channels": 3, "size": (7, 6), "batch": 2}
AT_1, AT_3 = {**AT, "size": (7,)}, {**AT, "size": (7, 6, 5)}
X_1, X_3 = (2, 3, 7), (2, 3, 7, 6, 5)
WINDOW = {"kernel": 3, "stride": 2, "padding": 1}
KERNEL = frozenset({"kernel"})
OUT = frozenset({"output_size"})
BAGS = {"num_embeddings": 9, "embedding_dim": 4, "bags": 2}
TABLE = ((9, 4),)
FLAT, STARTS, STARTS_AND_END = torch.randint(0, 9, (7,)), torch.tensor([0, 3]), torch.tensor([0, 3, 7])


def _max(axes: int, **options: Any) -> Callable[..., Any]:
    return partial((F.max_pool1d, F.max_pool2d, F.max_pool3d)[axes - 1], kernel_size=3, stride=2, padding=1, **options)


def _avg(axes: int, **options: Any) -> Callable[..., Any]:
    return partial((F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[axes - 1], kernel_size=3, stride=2, padding=1, **options)


def _bag(mode: str, **options: Any) -> Callable[..., Any]:
    return lambda i, w: F.embedding_bag(i, w, mode=mode, **options)


CASES: dict[str, Case] = {
    # products
    "linear": Case(
        f.linear, {"in_features": 4, "out_features": 6, "rows": (2, 5)}, F.linear, ((2, 5, 4),), ((6, 4),), ((6,),)
    ),
    "bilinear": Case(
        f.bilinear,
        {"in1_features": 4, "in2_features": 3, "out_features": 6, "rows": (2, 5)},
        F.bilinear,
        ((2, 5, 4), (2, 5, 3)),
        ((6, 4, 3),),
        ((6,),),
    ),
    "matmul": Case(f.matmul, {"m": 2, "n": 3, "k": 4, "batch": 5}, torch.matmul, ((5, 2, 4), (5, 4, 3))),
    "baddbmm": Case(
        f.matmul,
        {"m": 2, "n": 3, "k": 4, "batch": 5, "added": 30},
        lambda a, b, c: torch.baddbmm(c, a, b),
        ((5, 2, 4), (5, 4, 3), (5, 2, 3)),
    ),
    "baddbmm, broadcast": Case(
        f.matmul,
        {"m": 2, "n": 3, "k": 4, "batch": 5, "added": 6},
        lambda a, b, c: torch.baddbmm(c, a, b),
        ((5, 2, 4), (5, 4, 3), (1, 2, 3)),
    ),
    # embeddings
    "embedding": Case(
        f.embedding, {"num_embeddings": 9, "embedding_dim": 4, "shape": (2, 5)}, F.embedding, (INDICES,), TABLE
    ),
    "embedding, by frequency": Case(
        f.embedding,
        {"num_embeddings": 9, "embedding_dim": 4, "shape": (2, 5), "scale_grad_by_freq": True},
        lambda i, w: F.embedding(i, w, padding_idx=1, scale_grad_by_freq=True),
        (INDICES,),
        TABLE,
    ),
    "bag, sum": Case(f.embedding_bag, {**BAGS, "bag_size": 5, "mode": "sum"}, _bag("sum"), (INDICES,), TABLE),
    "bag, mean": Case(f.embedding_bag, {**BAGS, "bag_size": 5}, _bag("mean"), (INDICES,), TABLE),
    "bag, max": Case(f.embedding_bag, {**BAGS, "bag_size": 5, "mode": "max"}, _bag("max"), (INDICES,), TABLE),
    "bag, by frequency": Case(
        f.embedding_bag,
        {**BAGS, "bag_size": 5, "mode": "sum", "scale_grad_by_freq": True},
        _bag("sum", scale_grad_by_freq=True),
        (INDICES,),
        TABLE,
    ),
    "bag, padded": Case(
        f.embedding_bag,
        {**BAGS, "bag_size": 5, "mode": "sum", "padded": True},
        _bag("sum", padding_idx=1),
        (INDICES,),
        TABLE,
    ),
    "bag, offsets": Case(
        f.embedding_bag, {**BAGS, "indices": 7}, lambda i, o, w: F.embedding_bag(i, w, o), (FLAT, STARTS), TABLE
    ),
    "bag, last offset": Case(
        f.embedding_bag,
        {**BAGS, "indices": 7, "mode": "sum", "include_last_offset": True},
        lambda i, o, w: F.embedding_bag(i, w, o, mode="sum", include_last_offset=True),
        (FLAT, STARTS_AND_END),
        TABLE,
    ),
    "bag, weighted": Case(
        f.embedding_bag,
        {**BAGS, "bag_size": 5, "mode": "sum", "weighted": True},
        lambda i, p, w: F.embedding_bag(i, w, mode="sum", per_sample_weights=p),
        (INDICES, (2, 5)),
        TABLE,
    ),
    # poolings
    "max pool": Case(f.max_pool, {**AT, **WINDOW}, _max(2), (X,)),
    "max pool, 1d": Case(f.max_pool, {**AT_1, **WINDOW}, _max(1), (X_1,)),
    "max pool, 3d": Case(f.max_pool, {**AT_3, **WINDOW, "return_indices": True}, _max(3, return_indices=True), (X_3,)),
    "avg pool": Case(f.avg_pool, {**AT, **WINDOW}, _avg(2), (X,), free_of=KERNEL),
    "avg pool, ceil": Case(
        f.avg_pool, {**AT, **WINDOW, "ceil_mode": True}, _avg(2, ceil_mode=True), (X,), free_of=KERNEL
    ),
    "avg pool, 1d": Case(f.avg_pool, {**AT_1, **WINDOW}, _avg(1), (X_1,), free_of=KERNEL),
    "avg pool, 3d": Case(f.avg_pool, {**AT_3, **WINDOW}, _avg(3), (X_3,), free_of=KERNEL),
    "adaptive avg pool": Case(
        f.adaptive_avg_pool,
        {**AT, "output_size": (3, None)},
        partial(F.adaptive_avg_pool2d, output_size=(3, None)),
        (X,),
        free_of=OUT,
    ),
    "adaptive avg pool, 1d": Case(
        f.adaptive_avg_pool,
        {**AT_1, "output_size": 3},
        partial(F.adaptive_avg_pool1d, output_size=3),
        (X_1,),
        free_of=OUT,
    ),
    "adaptive avg pool, 3d": Case(
        f.adaptive_avg_pool,
        {**AT_3, "output_size": 3},
        partial(F.adaptive_avg_pool3d, output_size=3),
        (X_3,),
        free_of=OUT,
    ),
    "global avg pool": Case(f.global_avg_pool, AT, partial(F.adaptive_avg_pool2d, output_size=1), (X,)),
    "global avg pool, 1d": Case(f.global_avg_pool, AT_1, partial(F.adaptive_avg_pool1d, output_size=1), (X_1,)),
    "global avg pool, 3d": Case(f.global_avg_pool, AT_3, partial(F.adaptive_avg_pool3d, output_size=1), (X_3,)),
    "adaptive max pool": Case(
        f.adaptive_max_pool, {**AT, "output_size": 3}, partial(F.adaptive_max_pool2d, output_size=3), (X,), free_of=OUT
    ),
    "adaptive max pool, 3d": Case(
        f.adaptive_max_pool,
        {**AT_3, "output_size": (3, None, 2)},
        partial(F.adaptive_max_pool3d, output_size=(3, None, 2)),
        (X_3,),
        free_of=OUT,
    ),
    "global max pool": Case(f.global_max_pool, AT_1, partial(F.adaptive_max_pool1d, output_size=1), (X_1,)),
    "fractional max pool": Case(
        f.fractional_max_pool,
        {**AT, "kernel": 2, "output_size": 3},
        partial(F.fractional_max_pool2d, kernel_size=2, output_size=3),
        (X,),
    ),
    **{
        f"power pool, {p}": Case(
            f.lp_pool,
            {**AT, "kernel": 2, "norm_type": p},
            partial(F.lp_pool2d, norm_type=p, kernel_size=2),
            (X,),
            free_of=frozenset({"kernel", "norm_type"}),
        )
        for p in (1, 2, 3, 2.5)
    },
    "power pool, 1d": Case(
        f.lp_pool,
        {**AT_1, "kernel": 2, "stride": 3},
        partial(F.lp_pool1d, norm_type=2, kernel_size=2, stride=3),
        (X_1,),
        free_of=KERNEL,
    ),
    # elements
    "add": Case(f.add, {"shape": (2, 3, 4)}, torch.add, ((2, 3, 4), (2, 3, 4))),
    "multiply": Case(f.multiply, {"shape": (2, 3, 4)}, torch.mul, ((2, 3, 4), (2, 3, 4))),
    "multiply, gate": Case(
        f.multiply, {"shape": (2, 3, 5, 4), "other": (2, 3, 1, 1)}, torch.mul, ((2, 3, 5, 4), (2, 3, 1, 1))
    ),
    "multiply, rank": Case(
        f.multiply, {"shape": (2, 3, 5, 4), "other": (3, 1, 1)}, torch.mul, ((2, 3, 5, 4), (3, 1, 1))
    ),
    "concat": Case(
        f.concat,
        {"channels": (3, 4), "size": (5,), "batch": 2},
        lambda a, b: torch.cat([a, b], 1),
        ((2, 3, 5), (2, 4, 5)),
    ),
    "dropout": Case(f.dropout, {"shape": (2, 3, 4), "training": True}, partial(F.dropout, training=True), ((2, 3, 4),)),
    "dropout, in place": Case(
        f.dropout,
        {"shape": (2, 3, 4), "training": True, "inplace": True},
        partial(F.dropout, training=True, inplace=True),
        ((2, 3, 4),),
    ),
    "dropout, at inference": Case(f.dropout, {"shape": (2, 3, 4)}, partial(F.dropout, training=False), ((2, 3, 4),)),
    "feature dropout": Case(
        f.feature_dropout,
        {"shape": (2, 3, 5, 4), "planes": 6, "training": True},
        partial(F.dropout2d, training=True),
        ((2, 3, 5, 4),),
    ),
    "copy": Case(f.copy, {"shape": (2, 3, 4)}, lambda x: x.transpose(0, 1).contiguous(), ((2, 3, 4),)),
    "view": Case(f.view, {"shape": (6, 4)}, partial(torch.flatten, end_dim=1), ((2, 3, 4),)),
    "slice": Case(f.view, {"shape": (2, 2, 4), "sliced_from": 24}, lambda x: x[:, :2], ((2, 3, 4),)),
    "slice, whole": Case(f.view, {"shape": (2, 3, 4), "sliced_from": 24}, lambda x: x[:, :3], ((2, 3, 4),)),
    # resampling
    **{
        f"upsample, {mode}": Case(
            f.upsample,
            {"channels": 4, "size": size, "factor": 2, "mode": mode, "batch": 2},
            partial(F.interpolate, scale_factor=2, mode=mode),
            ((2, 4, *size),),
        )
        for mode, size in (
            ("nearest", (6, 5)),
            ("linear", (6,)),
            ("bilinear", (6, 5)),
            ("trilinear", (6, 5, 4)),
            ("bicubic", (6, 5)),
        )
    },
    "pixel shuffle": Case(
        f.pixel_shuffle,
        {"channels": 4, "size": (5, 4), "factor": 2, "batch": 3},
        partial(F.pixel_shuffle, upscale_factor=2),
        ((3, 4, 5, 4),),
    ),
    "pixel unshuffle": Case(
        f.pixel_unshuffle,
        {"channels": 4, "size": (6, 4), "factor": 2, "batch": 3},
        partial(F.pixel_unshuffle, downscale_factor=2),
        ((3, 4, 6, 4),),
    ),
    "channel shuffle": Case(
        f.channel_shuffle,
        {"channels": 4, "size": (5, 4), "groups": 2, "batch": 3},
        lambda x: x.view(3, 2, 2, 5, 4).transpose(1, 2).reshape(3, 4, 5, 4),
        ((3, 4, 5, 4),),
    ),
    **{
        f"pad {len(size)}d, {mode}": Case(
            f.pad,
            {
                "channels": 4,
                "size": size,
                "before": (1, 0, 1)[: len(size)],
                "after": (2, 1, 1)[: len(size)],
                "batch": 2,
                "mode": mode,
            },
            partial(F.pad, pad=(1, 1, 0, 1, 1, 2)[-2 * len(size) :], mode=mode),
            ((2, 4, *size),),
            free_of=frozenset({"before"}),
        )
        for mode in ("constant", "reflect", "replicate", "circular")
        for size in ((6,), (6, 5), (6, 5, 4))
    },
    "unfold": Case(
        f.unfold,
        {"channels": 4, "size": (6, 5), "kernel": 2, "stride": 2, "padding": 1, "batch": 3},
        partial(F.unfold, kernel_size=2, stride=2, padding=1),
        ((3, 4, 6, 5),),
    ),
    "fold": Case(
        f.fold,
        {"channels": 4, "output_size": (6, 5), "kernel": 2, "stride": 2, "padding": 1, "batch": 3},
        partial(F.fold, output_size=(6, 5), kernel_size=2, stride=2, padding=1),
        ((3, 16, 12),),
    ),
    "max unpool": Case(
        f.max_unpool,
        {"channels": 4, "size": (3, 3), "output_size": (6, 6), "batch": 2},
        partial(F.max_unpool2d, kernel_size=2),
        ((2, 4, 3, 3), torch.randint(0, 36, (2, 4, 3, 3))),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_layer_s_backward_is_torch_s(name: str) -> None:
    """Each combination of gradients: work, elements read and written, and the bytes of each tensor kept."""
    case = CASES[name]
    cost = case.formula(**case.arguments)
    weights, biases = ([torch.randn(shape) for shape in shapes] for shapes in (case.weights, case.biases))
    for wanted in case.needs():
        found = real(case.function, case.tensors, weights, biases, wanted=wanted)
        expected = found.quantities()
        if case.spare:
            expected["kept"]["made"] -= case.spare
        assert quantities(cost.backward(**wanted)) == expected, wanted
        assert forward_quantities(cost, wanted) == found.forward_quantities(), wanted


@pytest.mark.parametrize("name", CASES)
def test_a_layer_s_backward_on_arrays_and_symbols(name: str) -> None:
    """Of sweeps each configuration is what it is alone; of symbols an expression for all."""
    case = CASES[name]
    for wanted in case.needs():
        assert_same_on_arrays_and_symbols(case.formula, case.arguments, wanted, case.free_of)


def test_what_nobody_asks_for_is_not_computed() -> None:
    """Without any gradient a backward pass is nothing, and nothing is kept for it."""
    for name, case in CASES.items():
        cost = case.formula(**case.arguments).backward(inputs=False, weight=False, bias=False)
        assert (cost.memory_access, cost.flops, cost.saved) == (0, 0, ()), name


def test_a_sparse_gradient_is_that_of_the_rows_looked_up() -> None:
    """The rows' gradients with their indices are the table's gradient as they are."""
    cost = f.embedding(num_embeddings=9, embedding_dim=4, shape=(2, 5), sparse=True).backward()
    assert (cost.memory_access, cost.flops, cost.saved_bytes()) == (0, 0, 80)
