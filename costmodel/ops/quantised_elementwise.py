"""Arithmetic and activations of quantised tensors, and their concatenation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from costmodel.graph import Arguments, OpCall, TensorSpec, is_channels_last
from costmodel.ops.access import everything
from costmodel.ops.quantisation import DEQUANTISED, QUANTISED, quantised_rule
from costmodel.ops.rule import register_quantised
from costmodel.quantities import Work


def of_output(work: Work) -> Callable[[OpCall], Work]:
    """So much for every output element."""
    return lambda call: work.times(call.outputs[0].size)


def between_grids(function: Work, operands: int = 1) -> Callable[[OpCall], Work]:
    """A function of real numbers: integers to those at every position, and the result to the output's grid."""
    return of_output(DEQUANTISED.times(operands) + function + QUANTISED)


_SIGMOID = Work(transcendentals=1, adds=1, divides=1)
_HARD_SIGMOID = Work(adds=1, compares=2, divides=1)
_RELU = Work(compares=1)
_PRODUCT = Work(adds=2, multiplies=1) + QUANTISED
"""(q1 - z1) (q2 - z2), scaled to the output's grid by one number."""


def _of_clamp(call: OpCall) -> Work:
    bounds = sum(call.args[name] is not None for name in ("min", "max"))
    return Work(compares=bounds).times(call.outputs[0].size)


def _of_softmax(call: OpCall) -> Work:
    y = call.outputs[0]
    n = y.shape[call.args["dim"]]
    rows = y.size // n
    softmax = Work(compares=rows * (n - 1), adds=y.size + rows * (n - 1), transcendentals=y.size, divides=y.size)
    return softmax + between_grids(Work())(call)


def _of_matmul(call: OpCall) -> Work:
    a, b, y = call.args["qa"], call.args["qb"], call.outputs[0]
    return Work(macs=y.size * a.shape[-1]) + DEQUANTISED.times(a.size + b.size) + QUANTISED.times(y.size)


def _of_scaling(further: Work) -> Callable[[OpCall], Work]:
    def work(call: OpCall) -> Work:
        # The output's scale is s |b|; a negative number turns the integers over, q_max + q_min - q.
        turned = Work(adds=1) if call.args["b"] < 0 else Work()
        return (turned + further).times(call.outputs[0].size)

    return work


def _shift_is_bound(call: OpCall) -> str:
    return "adding a number moves the zero point, or the integers where that has no room: by their values"


def _real(*tensors: TensorSpec) -> list[TensorSpec]:
    return [TensorSpec(t.shape) for t in tensors]


def _joined_parts(args: Arguments) -> list[TensorSpec]:
    """Every part as real numbers, and those joined; with channels last, one kernel does all."""
    parts: list[TensorSpec] = args["qx"]
    if all(map(is_channels_last, parts)):
        return []
    return [*_real(*parts), *_real(*parts)]


def _factors(args: Arguments) -> list[TensorSpec]:
    """Both factors and the product as real numbers."""
    a, b = args["qa"], args["qb"]
    return [*_real(a, b), TensorSpec((*a.shape[:-1], b.shape[-1]))]


register_quantised(
    *(
        quantised_rule(*(f"quantized.{name}" for name in names), work=work, kind=kind)
        for names, work, kind in (
            (("add.default", "add.out", "add_out.default"), between_grids(Work(adds=1), 2), "add"),
            (("add_relu.default", "add_relu.out", "add_relu_out.default"),
             between_grids(Work(adds=1) + _RELU, 2), "add"),
            (("mul.default", "mul.out", "mul_out.default"), of_output(_PRODUCT), "multiply"),
            (("mul_relu.default", "mul_relu.out", "mul_relu_out.default"), of_output(_PRODUCT + _RELU), "multiply"),
            (("mul.Scalar", "mul.Scalar2", "mul.Scalar_out", "mul_scalar.default", "mul_scalar_out.default"),
             _of_scaling(Work()), "multiply"),
            (("mul_relu.Scalar", "mul_relu.Scalar2", "mul_relu.Scalar_out", "mul_scalar_relu.default",
              "mul_scalar_relu_out.default"), _of_scaling(_RELU), "multiply"),
            (("sigmoid.default",), between_grids(_SIGMOID), "activation"),
            (("hardswish.default",), between_grids(_HARD_SIGMOID + Work(multiplies=1)), "activation"),
            (("leaky_relu.default",), between_grids(Work(compares=1, multiplies=1)), "activation"),
            (("prelu.default",), between_grids(Work(compares=1, multiplies=1), 2), "activation"),
            (("elu.default",), between_grids(Work(compares=1, transcendentals=1, adds=1, multiplies=1)), "activation"),
            (("celu.default",),
             between_grids(Work(compares=1, transcendentals=1, adds=1, multiplies=1, divides=1)), "activation"),
            (("relu6.default",), of_output(Work(compares=2)), "activation"),
            (("threshold.default",), of_output(_RELU), "activation"),
            (("clamp.default",), _of_clamp, "activation"),
        )
    ),
    *(
        replace(
            quantised_rule(*(f"quantized.{name}" for name in names), work=of_output(further), kind="add"),
            bound_because=_shift_is_bound,
        )
        for names, further in (
            (("add.Scalar", "add.Scalar2", "add.Scalar_out", "add_scalar.default", "add_scalar_out.default"), Work()),
            (("add_relu.Scalar", "add_relu.Scalar2", "add_relu.Scalar_out", "add_scalar_relu.default",
              "add_scalar_relu_out.default"), _RELU),
        )
    ),
    quantised_rule("quantized.softmax.default", work=_of_softmax, kind="activation", access=everything, fusible=False),
    quantised_rule(
        "quantized.matmul.default", work=_of_matmul, kind="matmul", access=everything, fusible=False,
        temporaries=_factors,
    ),
    *(
        quantised_rule(
            f"quantized.{name}.default", work=between_grids(function), kind="concat", access=everything,
            fusible=False, temporaries=_joined_parts,
        )
        for name, function in (("cat", Work()), ("cat_out", Work()), ("cat_relu", _RELU), ("cat_relu_out", _RELU))
    ),
)  # fmt: skip
