"""Products and roundings of few bits: definitions as loops over numbers that count, or worked by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import costmodel
from costmodel.graph import OpCall, TensorSpec
from costmodel.ops import RULES
from costmodel.quantities import Work
from tests.ops._asking import work
from tests.ops._counting import Number, counted, values

I8, F8 = torch.int8, torch.float8_e4m3fn


def integers(*shape: int, dtype: torch.dtype = I8) -> torch.Tensor:
    """A tensor of small integers."""
    return torch.arange(torch.Size(shape).numel()).reshape(shape).sub(3).remainder(7).to(dtype)


def products(x: torch.Tensor, w: torch.Tensor) -> int:
    """How many numbers are multiplied and added for ``x`` times ``w`` transposed, by the innermost loop."""
    return sum(1 for _ in x.tolist() for row in w.tolist() for _ in row)


def test_integer_products() -> None:
    """Each output is a sum of products of 8-bit integers."""
    a, b = integers(3, 4), integers(4, 5)
    done = Work(macs=products(a, b.t()))
    assert done == Work(macs=3 * 4 * 5) == work("aten._int_mm.default", self=a, mat2=b)


def test_8_bit_weights() -> None:
    """The scale of a column is applied to the sum."""
    x, w, scales = torch.rand(3, 32), integers(16, 32), torch.rand(16)
    result, done = counted(
        lambda sums, s: [[y * z for y, z in zip(row, s, strict=True)] for row in sums], x @ w.t().float(), scales
    )
    torch.testing.assert_close(values(result).float(), torch.ops.aten._weight_int8pack_mm(x, w, scales))
    assert done + Work(macs=3 * 16 * 32) == work("aten._weight_int8pack_mm.default", self=x, mat2=w, scales=scales)


def test_4_bit_weights() -> None:
    """A weight is q s + z, once; its group of 32 along a row has one scale and one zero point."""
    x, q = torch.rand(3, 64), integers(32, 64, dtype=torch.int32)
    pairs = torch.rand(2, 32, 2)

    def weights(qs: list[list[Number]], ps: list[list[list[Number]]]) -> list[list[Number]]:
        return [[v * ps[k // 32][n][0] + ps[k // 32][n][1] for k, v in enumerate(row)] for n, row in enumerate(qs)]

    result, done = counted(weights, q - 8, pairs)
    packed = torch.ops.aten._convert_weight_to_int4pack_for_cpu(q, 1)
    arguments = {"self": x, "mat2": packed, "qGroupSize": 32, "qScaleAndZeros": pairs}
    real = torch.ops.aten._weight_int4pack_mm_for_cpu(**arguments)
    torch.testing.assert_close(x @ values(result).float().t(), real, rtol=1e-3, atol=1e-3)
    expected = done + Work(macs=3 * 32 * 64)
    assert expected == Work(macs=6144, multiplies=2048, adds=2048)
    assert expected == work("aten._weight_int4pack_mm_for_cpu.default", **arguments)


def asked(target: str, /, **arguments: object) -> OpCall:
    """The record of a call that no CPU runs, with outputs by the rule, and what its schema has for absent arguments."""
    names = {
        "_scaled_mm": "scale_a scale_b bias scale_result out_dtype", "_scaled_mm_v2": "bias out_dtype",
        "_scaled_grouped_mm": "scale_a scale_b offs bias scale_result out_dtype",
        "_mixed_dtypes_linear": "bias activation", "_sparse_semi_structured_linear": "bias activation out_dtype",
        "_sparse_semi_structured_mm": "out_dtype", "_sparse_semi_structured_addmm": "out_dtype",
        "_cslt_sparse_mm": "bias alpha out_dtype transpose_result",
    }  # fmt: skip
    args = dict.fromkeys(names.get(target, "").split()) | arguments
    told = RULES[f"aten.{target}.default"].outputs
    assert callable(told)
    outputs = told(args)
    return OpCall(f"aten.{target}.default", args, (outputs,) if isinstance(outputs, TensorSpec) else outputs)


def cost(call: OpCall) -> tuple[Work, tuple[int, ...], str]:
    """Work, and the output's shape and dtype."""
    (y,) = call.outputs
    return RULES[call.op].work(call), y.shape, y.dtype


A, B = TensorSpec((16, 256), "float8_e4m3fn"), TensorSpec((256, 48), "float8_e4m3fn", (1, 256))
ONE = TensorSpec(())
OUT = 16 * 48


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        # One scale each: multiplied with each other, then with every output.
        ({"scale_a": ONE, "scale_b": ONE}, Work(multiplies=1 + OUT)),
        ({"scale_a": ONE, "scale_b": ONE, "bias": TensorSpec((48,)), "scale_result": ONE},
         Work(multiplies=1 + 2 * OUT, adds=OUT)),
        # One of each row, one of each column.
        ({"scale_a": TensorSpec((16, 1)), "scale_b": TensorSpec((1, 48))}, Work(multiplies=2 * OUT)),
        # One of 128 numbers of a row: two sums, each scaled twice, and added.
        ({"scale_a": TensorSpec((16, 2)), "scale_b": TensorSpec((2, 48))}, Work(multiplies=4 * OUT, adds=OUT)),
        ({"scale_a": TensorSpec((16, 2)), "scale_b": TensorSpec((2, 1))}, Work(multiplies=4 * OUT, adds=OUT)),
        # Microscaling: one of 32 numbers, in tiles of which some are padding: eight sums.
        ({"scale_a": TensorSpec((1024,), "float8_e8m0fnu"), "scale_b": TensorSpec((1024,), "float8_e8m0fnu")},
         Work(multiplies=16 * OUT, adds=7 * OUT)),
    ],
)  # fmt: skip
def test_scales_of_8_bit_floats(given: dict[str, object], expected: Work) -> None:
    """Sums are multiplied by what both factors were divided by."""
    call = asked("_scaled_mm", self=A, mat2=B, out_dtype="bfloat16", **given)
    assert cost(call) == (Work(macs=OUT * 256) + expected, (16, 48), "bfloat16")


def test_4_bit_floats_with_two_levels_of_scales() -> None:
    """An element holds two numbers; 16 share a scale, and all share a second one."""
    a, b = TensorSpec((16, 128), "float4_e2m1fn_x2"), TensorSpec((128, 48), "float4_e2m1fn_x2", (1, 128))
    tiles = TensorSpec((2048,), "float8_e4m3fn")
    call = asked("_scaled_mm_v2", self=a, mat2=b, scale_a=[tiles, ONE], scale_b=[tiles, ONE], out_dtype="bfloat16")
    assert a.nbytes == 16 * 128
    # 256 numbers a row are 16 blocks, each scaled twice and added to the others; the second scales' product, once.
    expected = Work(macs=OUT * 256, multiplies=32 * OUT + 1 + OUT, adds=15 * OUT)
    assert cost(call) == (expected, (16, 48), "bfloat16")


def test_products_in_groups_are_scaled_by_row_and_column() -> None:
    """Each row is multiplied with the matrix of its own group."""
    call = asked(
        "_scaled_grouped_mm", self=A, mat2=TensorSpec((2, 256, 48), "float8_e4m3fn"), scale_a=TensorSpec((16,)),
        scale_b=TensorSpec((2, 48)), offs=TensorSpec((2,), "int32"), out_dtype="bfloat16",
    )  # fmt: skip
    assert cost(call) == (Work(macs=OUT * 256, multiplies=2 * OUT), (16, 48), "bfloat16")


@pytest.mark.parametrize(
    ("activation", "more"),
    [("none", Work()), ("relu", Work(compares=1)), ("silu", Work(transcendentals=1, adds=1, divides=1, multiplies=1))],
)
def test_8_bit_weights_on_a_gpu(activation: str, more: Work) -> None:
    """The sum is scaled, the bias added, the activation computed."""
    call = asked(
        "_mixed_dtypes_linear", input=TensorSpec((2, 8, 64), "float16"), weight=TensorSpec((64, 32), "int8"),
        scale=TensorSpec((32,), "float16"), bias=TensorSpec((32,), "float16"), activation=activation,
    )  # fmt: skip
    each = Work(macs=64, multiplies=1, adds=1) + more
    assert cost(call) == (each.times(2 * 8 * 32), (2, 8, 32), "float16")


def quantised_row(row: list[Number]) -> list[Number]:
    """Numbers to 8 bits, by the scale and the zero point of their own range."""
    low, high = row[0], row[0]
    for x in row[1:]:
        low = x if x < low else low
        high = x if x > high else high
    low, high = clamped(low, high=0), clamped(high, low=0)
    scale = 255 / (high - low)
    _inverse = 1 / scale
    of_low, of_high = low * scale, high * scale
    from_low, from_high = of_low + -128, of_high + 127
    zero = -128 - of_low if from_low + from_high > 0 else 127 - of_high
    zero = clamped(clamped(zero, low=-128), high=127)
    return [clamped(clamped(x * scale + zero, low=-128), high=127) for x in row]


def clamped(x: Number, low: float | None = None, high: float | None = None) -> Number:
    """A number bounded from one side."""
    below = x < low if low is not None else x > high
    return Number(low if low is not None else high, x.tally) if below else x  # type: ignore[arg-type]


@pytest.mark.parametrize(("block", "blocks"), [(32, 2), (64, 1)])
def test_4_bit_weights_and_inputs_quantised_on_the_way(block: int, blocks: int) -> None:
    """Rows are quantised; each block's sum is corrected by the zero point and scaled, their sum scaled and clamped."""
    x = torch.rand(3, 64) - 0.5
    _, rows = counted(lambda given: [quantised_row(row) for row in given], x)
    # Less the zero point times the sum of a block's weights; the block's scale; the blocks' sum; the row's scale.
    output = Work(macs=64, adds=blocks + blocks - 1, multiplies=blocks + blocks + 1, compares=2)
    call = OpCall(
        "aten._dyn_quant_matmul_4bit.default",
        {"inp": TensorSpec((3, 64)), "packed_weights": TensorSpec((1088,)), "block_size": block, "in_features": 64,
         "out_features": 32},
        (TensorSpec((3, 32)),),
    )  # fmt: skip
    expected = rows + output.times(3 * 32)
    assert RULES[call.op].work(call) == expected
    assert cost(call)[1:] == ((3, 32), "float32")


class Product(nn.Module):
    """A product of scaled 8-bit floats, in groups or not."""

    def forward(self, *given: torch.Tensor) -> torch.Tensor:
        if len(given) == 5:
            a, b, left, right, ends = given
            return torch._scaled_grouped_mm(a, b, left, right, offs=ends, out_dtype=torch.bfloat16)
        return torch._scaled_mm(*given, out_dtype=torch.bfloat16)


def test_the_output_has_the_dtype_that_is_asked_for() -> None:
    """Without values, too, and by kernels that no CPU has."""
    scale, kind = costmodel.Input((1,)), costmodel.Input
    p = costmodel.profile(Product(), (kind((16, 32), F8), kind((32, 16), F8), scale, scale), execution="meta")
    assert (p.macs, p.is_exact, str(p.graph.outputs)) == (16 * 32 * 16, True, "bfloat16[16, 16]")
    if not hasattr(torch, "_scaled_grouped_mm"):
        return
    ends = torch.tensor([8, 16], dtype=torch.int32)
    given = kind((16, 32), F8), kind((2, 32, 16), F8), kind((16,)), kind((2, 16)), ends
    p = costmodel.profile(Product(), given, execution="meta")
    assert (p.macs, p.is_exact, str(p.graph.outputs)) == (16 * 32 * 16, True, "bfloat16[16, 16]")


HALVES, PLACES = TensorSpec((32, 32), "float16"), TensorSpec((32, 4), "int16")


def test_products_with_two_of_four_numbers() -> None:
    """Numbers that are not stored are not multiplied: half as many MACs as with the dense factor."""
    x, bias = TensorSpec((16, 64), "float16"), TensorSpec((32,), "float16")
    call = asked("_sparse_semi_structured_linear", input=x, weight=HALVES, meta=PLACES, bias=bias, activation="relu")
    assert cost(call) == (Work(macs=32, adds=1, compares=1).times(16 * 32), (16, 32), "float16")
    assert call.outputs[0].strides == (1, 16)
    dense = TensorSpec((64, 16), "float16")
    call = asked("_sparse_semi_structured_mm", mat1=HALVES, mat1_meta=PLACES, mat2=dense)
    assert cost(call) == (Work(macs=32 * 32 * 16), (32, 16), "float16")
    call = asked(
        "_sparse_semi_structured_addmm", input=bias, mat1=HALVES, mat1_meta=PLACES, mat2=dense, alpha=1, beta=0.5
    )
    assert cost(call) == (Work(macs=32, multiplies=1, adds=1).times(32 * 16), (32, 16), "float16")


@pytest.mark.parametrize("stored", [(32, 36), (32 * 36,)])
@pytest.mark.parametrize("transposed", [True, False])
def test_products_with_two_of_four_numbers_by_cusparselt(stored: tuple[int, ...], transposed: bool) -> None:
    """A row of 64 numbers is stored as 32, and their places as 4 more: one or two dimensions, by the version."""
    call = asked(
        "_cslt_sparse_mm", compressed_A=TensorSpec(stored, "float16"), dense_B=TensorSpec((64, 16), "float16"),
        bias=TensorSpec((32,), "float16"), alpha=ONE, transpose_result=transposed,
    )  # fmt: skip
    shape = (16, 32) if transposed else (32, 16)
    assert cost(call) == (Work(macs=32, multiplies=1, adds=1).times(32 * 16), shape, "float16")


# -- quantisation as arithmetic -------------------------------------------------------------------------------------

X, Q = torch.rand(4, 8) - 0.5, integers(4, 8)


def to_grid(x: Number, scale: float, zero: int) -> Number:
    """A number as an integer from -128 to 127."""
    return clamped(clamped(x * (1 / scale) + zero, low=-128), high=127)


def test_quantised_by_one_scale() -> None:
    """Times 1 / s, plus z, clamped."""
    result, done = counted(lambda xs: [[to_grid(x, 0.01, 3) for x in row] for row in xs], X)
    op = torch.ops.quantized_decomposed.quantize_per_tensor.default
    torch.testing.assert_close(values(result).round().to(I8), op(X, 0.01, 3, -128, 127, I8), rtol=0, atol=1)
    grid = {"quant_min": -128, "quant_max": 127, "dtype": I8}
    target = "quantized_decomposed.quantize_per_tensor.default"
    assert done == work(target, input=X, scale=0.01, zero_point=3, **grid)


def test_back_to_numbers() -> None:
    """Minus z, times s; times s alone where there are no zero points."""
    scales, zeros = torch.rand(4), torch.arange(4)
    grid = {"axis": 0, "quant_min": -128, "quant_max": 127, "dtype": I8}
    run = lambda qs, ss, zs: [[(q - z) * s for q in row] for row, s, z in zip(qs, ss, zs, strict=True)]  # noqa: E731
    result, done = counted(run, Q, scales, zeros)
    target = "quantized_decomposed.dequantize_per_channel.default"
    real = torch.ops.quantized_decomposed.dequantize_per_channel.default(Q, scales, zeros, 0, -128, 127, I8)
    torch.testing.assert_close(values(result).float(), real)
    assert done == work(target, input=Q, scales=scales, zero_points=zeros, **grid)
    assert work(target, input=Q, scales=scales, zero_points=None, **grid) == Work(multiplies=32)


def range_of(row: list[Number]) -> tuple[Number, Number]:
    """Least and greatest."""
    low = high = row[0]
    for x in row[1:]:
        low = x if x < low else low
        high = x if x > high else high
    return low, high


def test_scale_and_zero_point_of_a_tensor() -> None:
    """From the least and the greatest, each with 0."""

    def pair(nest: list[list[Number]]) -> tuple[Number, Number]:
        low, high = range_of([x for row in nest for x in row])
        low, high = clamped(low, high=0), clamped(high, low=0)
        scale = clamped((high - low) / 255, low=1e-5)
        return scale, clamped(clamped(-128 - low / scale, low=-128), high=127)

    (scale, zero), done = counted(pair, X)
    target = torch.ops.quantized_decomposed.choose_qparams.tensor
    real = target(X, -128, 127, 1e-5, I8)
    assert (scale.value, round(zero.value)) == (pytest.approx(real[0].item()), real[1].item())
    grid = {"quant_min": -128, "quant_max": 127, "eps": 1e-5, "dtype": I8}
    assert done == work("quantized_decomposed.choose_qparams.tensor", input=X, **grid)


def test_scale_of_a_tensor_whose_zero_point_is_given() -> None:
    """The greater of both bounds decides."""

    def scale_of(nest: list[list[Number]]) -> Number:
        low, high = range_of([x for row in nest for x in row])
        low, high = clamped(low, high=0), clamped(high, low=0)
        most = -low if high < -low else high
        zero = Number(0, most.tally)
        clamped(clamped(zero, low=-128), high=127)
        return clamped(most / 127.5, low=1e-5)

    scale, done = counted(scale_of, X)
    real = torch.ops.quantized_decomposed.choose_qparams_symmetric.tensor(X, -128, 127, 1e-5, I8)
    assert scale.value == pytest.approx(real[0].item())
    grid = {"quant_min": -128, "quant_max": 127, "eps": 1e-5, "dtype": I8}
    assert done == work("quantized_decomposed.choose_qparams_symmetric.tensor", input=X, **grid)


def test_scales_of_rows() -> None:
    """The greatest absolute value of each row; or its range, and a zero point from the better of both bounds."""

    def scale_of(row: list[Number]) -> Number:
        most = abs(row[0])
        for x in row[1:]:
            most = abs(x) if most < abs(x) else most
        return clamped(most, low=1e-5) / 127

    result, done = counted(lambda xs: [scale_of(row) for row in xs], X)
    real = torch.ops.quantized_decomposed.choose_qparams_per_token(X, I8)
    torch.testing.assert_close(values(result).float(), real[0].flatten())
    assert done == work("quantized_decomposed.choose_qparams_per_token.default", input=X, dtype=I8)

    def pair_of(row: list[Number]) -> list[Number]:
        low, high = range_of(row)
        low, high = clamped(low, high=0), clamped(high, low=0)
        scale = clamped((high - low) / 255, low=1e-7)
        of_low, of_high = low / scale, high / scale
        errors = (of_low + -128) + (of_high + 127)
        candidates = -128 - of_low, 127 - of_high
        zero = candidates[0] if errors > 0 else candidates[1]
        return [scale, clamped(clamped(zero, low=-128), high=127)]

    result, done = counted(lambda xs: [pair_of(row) for row in xs], X)
    scales, zeros = torch.ops.quantized_decomposed.choose_qparams_per_token_asymmetric(X, I8)
    torch.testing.assert_close(values(result)[:, 0], scales.flatten(), rtol=1e-5, atol=0)
    assert values(result)[:, 1].round().tolist() == zeros.flatten().tolist()
    target = "quantized_decomposed.choose_qparams_per_token_asymmetric.default"
    assert done == work(target, input=X, dtype=I8)
