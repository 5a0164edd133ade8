"""Backward passes of activations and normalisations, held to what torch runs and keeps on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from costmodel import formulas as f
from costmodel.errors import InputError
from tests.formulas._backward import assert_same_on_arrays_and_symbols, needs, quantities, real

SHAPES = ((7,), (2, 3, 4), (2, 6, 4, 5))

FUNCTIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "identity": lambda x: x.view_as(x), "relu": F.relu, "relu6": F.relu6, "hardtanh": F.hardtanh,
    "threshold": lambda x: F.threshold(x, 0.1, 20.0), "leaky_relu": F.leaky_relu, "rrelu": F.rrelu, "elu": F.elu,
    "selu": F.selu, "celu": lambda x: F.celu(x, alpha=2.0), "sigmoid": torch.sigmoid, "logsigmoid": F.logsigmoid,
    "tanh": torch.tanh, "tanhshrink": F.tanhshrink, "silu": F.silu, "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"), "mish": F.mish, "softplus": F.softplus,
    "softsign": F.softsign, "hardsigmoid": F.hardsigmoid, "hardswish": F.hardswish, "hardshrink": F.hardshrink,
    "softshrink": F.softshrink,
}  # fmt: skip
ALONG = {"softmax": F.softmax, "log_softmax": F.log_softmax, "softmin": F.softmin, "glu": F.glu}
COMPLEX = {"identity": lambda x: x.view_as(x), "sigmoid": torch.sigmoid, "tanh": torch.tanh, "tanhshrink": F.tanhshrink}
OF_INPUT = {"inputs": True, "weight": True, "bias": True}


def rand(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Numbers between 0 and 1."""
    return torch.rand(shape, dtype=dtype, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", sorted(set(f.ACTIVATIONS) - {"prelu"}))
def test_the_gradient_of_an_activation_is_the_slope_at_each_element(name: str, shape: tuple[int, ...]) -> None:
    """What torch runs and keeps for it, of every activation there is."""
    cost = f.activation(name=name, shape=shape).backward()
    assert quantities(cost) == real(FUNCTIONS[name], [rand(*shape)], wanted=OF_INPUT).quantities()


@pytest.mark.parametrize("dim", [-1, 1])
@pytest.mark.parametrize("name", sorted(ALONG))
def test_the_gradient_along_an_axis(name: str, dim: int) -> None:
    """Of each row its own; of GLU two halves."""
    cost = f.activation(name=name, shape=(2, 6, 4), dim=dim).backward()
    assert quantities(cost) == real(lambda x: ALONG[name](x, dim), [rand(2, 6, 4)], wanted=OF_INPUT).quantities()


@pytest.mark.parametrize("name", sorted(COMPLEX))
def test_gradients_of_complex_numbers(name: str) -> None:
    """Products and sums are those of complex numbers."""
    cost = f.activation(name=name, shape=(3, 4), complex_valued=True).backward()
    x = rand(3, 4, dtype=torch.complex64)
    assert quantities(cost, itemsize=8) == real(COMPLEX[name], [x], wanted=OF_INPUT).quantities()


def test_no_gradient_of_complex_numbers_where_torch_has_none() -> None:
    """The slope of silu of complex numbers is not defined there."""
    with pytest.raises(InputError, match=r"the backward pass of this layer \(activation\) has no closed form"):
        f.activation(name="silu", shape=3, complex_valued=True).backward()


@pytest.mark.parametrize("wanted", needs(1, weight=True), ids=str)
@pytest.mark.parametrize("weights", [1, 6])
def test_prelu_has_a_gradient_of_its_weight_too(weights: int, wanted: dict[str, Any]) -> None:
    """One kernel makes both, and the weight's is added up where it is asked for."""
    cost = f.activation(name="prelu", shape=(2, 6, 4), num_parameters=weights).backward(**wanted)
    assert quantities(cost) == real(F.prelu, [rand(2, 6, 4)], [rand(weights)], wanted=wanted).quantities()


def test_no_gradient_is_nothing() -> None:
    """Nothing runs, and nothing is kept, where nobody asks."""
    none = {"inputs": False, "weight": False, "bias": False}
    layers = [f.activation(name=name, shape=(2, 6)) for name in (*f.ACTIVATIONS, *ALONG)]
    norms = [f.batch_norm(channels=4), f.layer_norm(normalized_shape=4), f.group_norm(channels=4, groups=2)]
    for layer in (*layers, *norms, f.instance_norm(channels=4, size=(3,), affine=True)):
        assert not any(quantities(layer.backward(**none)).values())


AFFINE = ((True, True), (True, False), (False, False))


def _parameters(size: int, affine: bool, bias: bool) -> tuple[list[torch.Tensor | None], list[torch.Tensor | None]]:
    return [rand(size) if affine else None], [rand(size) if affine and bias else None]


@pytest.mark.parametrize("wanted", needs(1, weight=True, bias=True), ids=str)
@pytest.mark.parametrize(("affine", "bias"), AFFINE)
@pytest.mark.parametrize(("training", "tracked"), [(True, True), (True, False), (False, True), (False, False)])
def test_batch_norm(training: bool, tracked: bool, affine: bool, bias: bool, wanted: dict[str, Any]) -> None:
    """By the batch's own statistics they depend on x; running ones are constants."""
    if not affine and not any(wanted["inputs"]):
        return  # nothing is asked for
    if not bias and wanted == {"inputs": (False,), "weight": False, "bias": True}:
        return
    weights, biases = _parameters(3, affine, bias)
    buffers = [rand(3), rand(3)] if tracked else [None, None]

    def run(x: Any, w: Any, b: Any, mean: Any, var: Any) -> torch.Tensor:
        return F.batch_norm(x, mean, var, w, b, training or not tracked)

    for size in ((), (4, 5)):
        cost = f.batch_norm(
            channels=3, size=size, batch=2, affine=affine, bias=bias, training=training, track_running_stats=tracked
        ).backward(**wanted)
        assert quantities(cost) == real(run, [rand(2, 3, *size)], weights, biases, buffers, wanted=wanted).quantities()


@pytest.mark.parametrize("wanted", needs(1, weight=True, bias=True), ids=str)
@pytest.mark.parametrize(("affine", "bias"), AFFINE)
@pytest.mark.parametrize("kind", ["layer", "layer of two axes", "group", "instance", "tracked", "in evaluation"])
def test_norms_of_each_sample(kind: str, affine: bool, bias: bool, wanted: dict[str, Any]) -> None:
    """Rows, groups of channels, and single channels."""
    if not affine and not any(wanted["inputs"]):
        return
    if not bias and wanted == {"inputs": (False,), "weight": False, "bias": True}:
        return
    x, buffers = rand(2, 6, 4, 5), [rand(6), rand(6)]
    weights, biases = _parameters(6, affine, bias)
    given = {"affine": affine, "bias": bias}
    if kind.startswith("layer"):
        inner = (5,) if kind == "layer" else (4, 5)
        flat_weights, flat_biases = _parameters(5 if kind == "layer" else 20, affine, bias)
        weights = [w if w is None else w.view(inner) for w in flat_weights]
        biases = [b if b is None else b.view(inner) for b in flat_biases]
        cost = f.layer_norm(normalized_shape=inner, rows=tuple(x.shape[: -len(inner)]), **given)
        found = real(lambda x, w, b: F.layer_norm(x, inner, w, b), [x], weights, biases, wanted=wanted)
    elif kind == "group":
        cost = f.group_norm(channels=6, groups=3, size=(4, 5), batch=2, **given)
        found = real(lambda x, w, b: F.group_norm(x, 3, w, b), [x], weights, biases, wanted=wanted)
    else:
        tracked, training = kind != "instance", kind != "in evaluation"
        cost = f.instance_norm(
            channels=6, size=(4, 5), batch=2, track_running_stats=tracked, training=training, **given
        )
        found = real(
            lambda x, w, b, mean, var: F.instance_norm(x, mean, var, w, b, training),
            [x], weights, biases, buffers if tracked else [None, None], wanted=wanted,
        )  # fmt: skip
    assert quantities(cost.backward(**wanted)) == found.quantities()


@pytest.mark.parametrize("tracked", [False, True])
def test_instance_norm_of_one_sample(tracked: bool) -> None:
    """What is repeated once is not added up."""
    cost = f.instance_norm(channels=6, size=(4, 5), affine=True, track_running_stats=tracked, training=True)
    found = real(
        lambda x, w, b, mean, var: F.instance_norm(x, mean, var, w, b, True),
        [rand(1, 6, 4, 5)], [rand(6)], [rand(6)], [rand(6), rand(6)] if tracked else [None, None], wanted=OF_INPUT,
    )  # fmt: skip
    assert quantities(cost.backward()) == found.quantities()


def test_layers_of_no_elements() -> None:
    """Sums of nothing are no arithmetic; a single number needs no sum."""
    empty = (f.batch_norm(channels=3, batch=0, training=True), f.layer_norm(normalized_shape=5, rows=0))
    for cost in (*empty, f.rms_norm(normalized_shape=5, rows=0)):
        assert cost.backward().flops == 0
    number = f.activation(name="prelu", shape=()).backward()
    assert quantities(number) == real(F.prelu, [torch.rand(())], [rand(1)], wanted=OF_INPUT).quantities()


@pytest.mark.parametrize("beta", [0.75, 1.0, 2.0, 3.0])
@pytest.mark.parametrize("size", [(4,), (4, 3)])
@pytest.mark.parametrize("local_size", [3, 5])
def test_local_response_norm(local_size: int, size: tuple[int, ...], beta: float) -> None:
    """Seven kernels, each differentiated."""
    cost = f.local_response_norm(channels=5, size=size, local_size=local_size, batch=2, beta=beta)
    found = real(lambda x: F.local_response_norm(x, local_size, beta=beta), [rand(2, 5, *size)], wanted=OF_INPUT)
    assert quantities(cost.backward()) == found.quantities()


@pytest.mark.parametrize("wanted", needs(1, weight=True), ids=str)
@pytest.mark.parametrize("affine", [True, False])
def test_rms_norm(affine: bool, wanted: dict[str, Any]) -> None:
    """The kernels that it is made of where autograd records it."""
    if not affine and not any(wanted["inputs"]):
        return
    cost = f.rms_norm(normalized_shape=(4, 5), rows=(2, 3), affine=affine).backward(**wanted)
    weights = [rand(4, 5) if affine else None]
    found = real(lambda x, w: F.rms_norm(x, (4, 5), w), [rand(2, 3, 4, 5)], weights, wanted=wanted)
    assert quantities(cost) == found.quantities()


@pytest.mark.parametrize("wanted", needs(2), ids=str)
@pytest.mark.parametrize("keepdim", [False, True])
@pytest.mark.parametrize("order", [0, 0.5, 1, 1.5, 2, 2.5, 3, 4, float("inf")])
def test_pairwise_distance(order: float, keepdim: bool, wanted: dict[str, Any]) -> None:
    """Of every order: the derivatives of norms differ."""
    cost = f.pairwise_distance(features=5, rows=(2, 3), norm_type=order, keepdim=keepdim).backward(**wanted)
    found = real(
        lambda x, y: F.pairwise_distance(x, y, order, keepdim=keepdim), [rand(2, 3, 5), rand(2, 3, 5)], wanted=wanted
    )
    assert quantities(cost) == found.quantities()


CALLS: tuple[tuple[Callable[..., Any], dict[str, Any]], ...] = (
    (f.activation, {"name": "gelu", "shape": (2, 8)}),
    (f.activation, {"name": "prelu", "shape": (2, 8), "num_parameters": 8}),
    (f.activation, {"name": "softmin", "shape": (2, 8)}),
    (f.softmax, {"shape": (2, 8), "log": True}),
    (f.glu, {"shape": (2, 8)}),
    (f.batch_norm, {"channels": 8, "size": (3, 4), "batch": 2, "training": True}),
    (f.batch_norm, {"channels": 8, "size": (3, 4), "batch": 2}),
    (f.layer_norm, {"normalized_shape": 8, "rows": (2, 5)}),
    (f.group_norm, {"channels": 8, "groups": 4, "size": (3, 4)}),
    (f.instance_norm, {"channels": 8, "size": (3, 4), "batch": 2, "affine": True, "track_running_stats": True}),
    (f.local_response_norm, {"channels": 8, "size": (3, 4), "local_size": 5, "batch": 2}),
    (f.rms_norm, {"normalized_shape": 8, "rows": (2, 5)}),
    (f.pairwise_distance, {"features": 8, "rows": (2, 5)}),
)


@pytest.mark.parametrize(("formula", "arguments"), CALLS)
def test_arrays_and_symbols(formula: Callable[..., Any], arguments: dict[str, Any]) -> None:
    """Backward passes are functions of counts, whatever those are."""
    assert_same_on_arrays_and_symbols(formula, arguments, OF_INPUT, free_of={"dim"})
