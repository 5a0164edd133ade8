"""Each rule's peak, its outputs and temporaries, is what the allocator gives a real run of the op, to the byte."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from costmodel.graph import TensorSpec, tensors_in
from costmodel.ops import COMPOSITES, RULES, Torch
from costmodel.ops.elementwise import casts, float_casts
from costmodel.ops.rule import Example
from tests.live_memory import allocations, peak
from tests.ops._binding import LAYOUTS, RealCall, runnable
from tests.ops._scaling import large

BOOKKEEPING = 128
"""So many bytes are not told: a Python number as a tensor, an op's own notes on dimensions."""

DRAWN_FROM_VALUES = {
    "aten.unique_consecutive.": "how many of the elements stay is a matter of their values",
    "aten.linalg_matrix_exp.": "the polynomial's degree, and with it the products, is a matter of the matrices' norms",
    "torchvision.nms.": "how many boxes are kept is a matter of how they overlap",
    "aten.isin.": "how many of the sorted elements stay is a matter of their values",
    "aten._unique": "how many of the sorted elements stay is a matter of their values",
    "aten.masked_scatter_backward.": "how many elements are selected is a matter of the mask's values",
    ".data": "how many sequences go on at each step stands in the values of batch_sizes",
}
BY_THE_BUILD = {
    "torch_nn._linear_cross_entropy": "code in Python that torch loads when it is first used; it chunks as it likes",
    "aten._scaled_mm": "a processor without products of 8-bit floats is given copies of 32 bits",
    "aten._dyn_quant_": "a processor without a kernel for packed 4-bit weights has them as floats, and as bytes again",
    "quantized_decomposed.": "a reference in Python, in the place of which a compiler puts kernels",
    "aten._fft_": "the copies are those of the library that torch was built with: MKL or pocketFFT",
}
ELSEWHERE = {
    "aten.mkldnn_rnn_layer": "its sizes are arguments too, and autograd is on: tests/ops/test_recurrent_onednn.py"
}
NOT_MEASURED = DRAWN_FROM_VALUES | BY_THE_BUILD | ELSEWHERE
"""Ops whose peak no rule can tell exactly, and why."""

NOT_LARGE = {
    "space.": "a tensor among its arguments is a number",
    **dict.fromkeys(
        (f"aten._foreach_{op}.Tensor" for op in ("addcmul", "addcmul_", "addcdiv", "addcdiv_")),
        "a tensor among its arguments has a number for each of the list",
    ),
    "aten.empty_permuted.": "its strides are arguments too",
    "aten._reshape_alias_copy.": "its strides are arguments too",
    "aten.scalar_tensor.": "it makes one value",
    "aten._local_scalar_dense.": "it reads one value",
    "aten._assert_": "it looks at one value, or at none",
    "aten.native_group_norm.": "its sizes are arguments too: measured as aten.group_norm",
    "aten.native_group_norm_backward.": "its sizes are arguments too",
    "aten.slice_backward.": "its sizes are arguments too",
    "aten.convolution_backward.": "its sizes must agree: one of its examples is large",
    "aten._pdist_backward.": "it reads a gradient for each pair of rows, beyond the end of one that has fewer",
    "aten._ctc_loss_backward.": "lengths of sequences are arguments too",
    "_pool3d_backward.": "the kernel's windows are arguments too",
    "aten.empty_strided.": "its strides are arguments too",
    "aten.affine_grid_generator.": "its sizes are arguments too: one of its examples is large",
}
"""Ops that are measured at their examples alone, and why."""


def told(target: str, call: RealCall, results: tuple[torch.Tensor, ...]) -> list[TensorSpec] | None:
    """Every tensor that the rule says the op allocates; ``None`` where torch decomposes the op."""
    composite, args = COMPOSITES.get(target), call.arguments()
    rule = RULES[target if composite is None else composite.core]
    if composite is not None:
        if composite.is_identity(args):
            return []
        lowered = composite.arguments(args)
        if lowered is None:
            return None
        args = lowered
    outputs: list[TensorSpec] = []
    if callable(rule.outputs) and not call.is_inplace:
        outputs = list(tensors_in(rule.outputs(args)))
    elif rule.outputs is Torch.META:
        outputs = [TensorSpec(tuple(t.shape), str(t.dtype).removeprefix("torch.")) for t in results]
    if composite is not None and composite.temporaries is not None:
        return [*outputs[:1], *composite.temporaries(args)]
    return [*outputs, *rule.temporaries(args)]


def calls(target: str, examples: tuple[Example, ...]) -> Iterator[tuple[str, RealCall]]:
    """Each example as it is and large, in every layout that torch takes."""
    op = runnable(target)
    if op is None:
        return
    for i, small in enumerate(examples):
        grown = (
            None
            if any(part in target for part in NOT_LARGE)
            else large(op, small, lambda call: told(target, call, ()) is not None)
        )
        for size, example in (("small", small), ("large", grown)):
            seen: list[list[tuple[int, ...]]] = []
            for how in LAYOUTS if example is not None else ():
                call = RealCall.of(op, example, how)
                strides = [tensor.stride() for _, tensor in call.tensors()]
                if strides in seen or (seen and "params" in call.bound):
                    continue  # the weights of a recurrent layer lie in one piece
                seen.append(strides)
                for name, tensor in call.tensors():
                    if (tensor.is_floating_point() or tensor.is_complex()) and name.split("[")[0] in (
                        "weight",
                        "bias",
                        "params",
                    ):
                        tensor.requires_grad_()  # as a parameter does: a product with one is done otherwise
                yield f"{target} example {i}, {size}, {how}", call


EXAMPLES = {target: rule.examples for target, rule in RULES.items()} | {
    target: composite.examples for target, composite in COMPOSITES.items()
}
MEASURED = [t for t in EXAMPLES if not any(part in t for part in NOT_MEASURED)]


pytestmark = pytest.mark.usefixtures("one_thread")  # more threads have more workspaces


@pytest.mark.parametrize("target", MEASURED)
def test_the_peak_is_that_of_a_real_run(target: str) -> None:
    """Outputs and temporaries together are the most that the allocator holds while the op runs."""
    wrong, sizes = {}, set()
    for which, call in calls(target, EXAMPLES[target]):
        try:
            with torch.no_grad():
                results = call.copy().run()
        except RuntimeError:
            assert "as given" not in which
            continue  # torch refuses some layouts
        tensors = told(target, call, results)
        if tensors is None:
            continue  # torch decomposes this composite
        sizes.add("large" in which)
        found = allocations(call.run)
        expected, held = sum(t.nbytes for t in tensors), peak(found)
        if abs(expected - held) > BOOKKEEPING:
            wrong[which] = f"told {expected}, held {held}"
    assert not wrong
    assert True in sizes or runnable(target) is None or any(part in target for part in NOT_LARGE)


@pytest.mark.parametrize("bias", [True, False])
def test_a_recurrent_layer_of_one_sample_holds_its_bias(bias: bool) -> None:
    """Both biases are added up first, which with a batch of 1 is as much as several states."""
    hidden = 512
    x, h = TensorSpec((2, 1, 8)), TensorSpec((1, 1, hidden))
    params = [TensorSpec((4 * hidden, 8)), TensorSpec((4 * hidden, hidden))]
    params += [TensorSpec((4 * hidden,))] * 2 if bias else []
    of_one = Example((x, [h, h], params, bias, 1, 0.0, False, False, False), {})
    op = runnable("aten.lstm.input")
    assert op is not None
    call = RealCall.of(op, of_one)
    with torch.no_grad():
        tensors = told("aten.lstm.input", call, call.copy().run())
        assert tensors is not None
        assert abs(sum(t.nbytes for t in tensors) - peak(allocations(call.run))) <= BOOKKEEPING


def integers(example: Example, last_only: bool) -> Example:
    """The example with its last tensor of integers, or all of them."""
    places = [i for i, value in enumerate(example.args) if isinstance(value, TensorSpec)]
    changed = places[-1:] if last_only else places
    return Example(
        tuple(TensorSpec(v.shape, "int64") if i in changed else v for i, v in enumerate(example.args)), example.kwargs
    )


CASTING = [
    target for target, rule in RULES.items()
    if rule.temporaries in (casts, float_casts) and runnable(target) is not None
    and "_backward" not in target  # gradients are no integers
]  # fmt: skip


@pytest.mark.parametrize("last_only", [True, False])
@pytest.mark.parametrize("target", CASTING)
def test_operands_of_another_dtype_are_cast(target: str, last_only: bool) -> None:
    """An elementwise op computes in one dtype: of each operand that has another it makes a copy first."""
    op = runnable(target)
    assert op is not None
    wrong = {}
    for i, example in enumerate(RULES[target].examples):
        grown = large(op, integers(example, last_only), lambda call: told(target, call, ()) is not None)
        if grown is None:
            continue  # torch takes no integers here
        call = RealCall.of(op, grown)
        tensors = told(target, call, ())
        assert tensors is not None
        expected, held = sum(t.nbytes for t in tensors), peak(allocations(call.run))
        if abs(expected - held) > BOOKKEEPING:
            wrong[i] = f"told {expected}, held {held}"
    assert not wrong
