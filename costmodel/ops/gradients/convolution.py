"""Gradients of convolutions: of the input, the weight and the bias, as far as each is wanted."""

from __future__ import annotations

from collections.abc import Iterable

from costmodel.graph import Arguments, OpCall, TensorSpec
from costmodel.ops import convolution as forward
from costmodel.ops import layout
from costmodel.ops.access import everything
from costmodel.ops.reduction import sum_casts
from costmodel.ops.rule import Gradients, Rule, example, moved, register
from costmodel.ops.temporaries import bytes_besides, copy, is_in_format
from costmodel.quantities import Traffic, Work


def _products(args: Arguments) -> int:
    """How many of the two products are wanted."""
    of_input, of_weight, _ = args["output_mask"]
    return int(of_input) + int(of_weight)


def _work(call: OpCall) -> Work:
    # Each product pairs every element of the output with every weight that made it, as the forward does: the input's
    # gradient spreads g over the filters, the weight's sums g times the input.
    args = call.args
    once = forward.work_of(args, args["grad_output"])
    products = _products(args)
    of_bias = Work()
    if args["output_mask"][2]:
        channels = args["grad_output"].shape[1]
        of_bias = Work(adds=max(args["grad_output"].size - channels, 0))
    return Work(macs=products * once.macs, macs_on_padding=products * once.macs_on_padding) + of_bias


def _outputs(args: Arguments) -> Gradients:
    g, x, w = args["grad_output"], args["input"], args["weight"]
    of_input, of_weight, of_bias = args["output_mask"]
    channels_last = layout.suggested_channels_last(x) or layout.suggested_channels_last(w)
    like = next((t for t in (x, w) if layout.suggested_channels_last(t)), x)

    def gradient(t: TensorSpec) -> TensorSpec:
        return TensorSpec(t.shape, t.dtype, layout.in_format_of(like, t.shape) if channels_last else None)

    return (
        gradient(x) if of_input else None,
        gradient(w) if of_weight else None,
        TensorSpec((g.shape[1],), g.dtype) if of_bias else None,
    )


def _traffic(call: OpCall) -> Traffic:
    args, (of_input, of_weight, _) = call.args, call.args["output_mask"]
    read = [args["grad_output"], *([args["weight"]] if of_input else []), *([args["input"]] if of_weight else [])]
    return moved(read, call.outputs)


def _temporaries(args: Arguments) -> Iterable[TensorSpec]:
    """What arrives, the input and the filters in one memory format: channels last where one of these suggests it."""
    if forward.is_by_group(args):
        yield from _by_group(args)
        return
    given = args["grad_output"], args["input"], args["weight"]
    last = any(map(layout.suggested_channels_last, given[1:]))
    yield from (copy(t) for t in given if not is_in_format(t, channels_last=last))
    _, of_weight, of_bias = args["output_mask"]
    if of_bias and not of_weight:  # the CPU's kernel computes both, and drops one
        yield copy(args["weight"])


def _by_group(args: Arguments) -> list[TensorSpec]:
    """While the last group is computed: contiguous copies of its channels, and sums for biases, which live to the end.

    Source: ``convolution_backward`` in aten/src/ATen/native/Convolution.cpp; a kernel's own results are its workspace.
    """
    g, x, w, groups = args["grad_output"], args["input"], args["weight"], args["groups"]
    last = any(map(layout.suggested_channels_last, (x, w)))
    whole = [copy(t) for t in (x, w) if not is_in_format(t, channels_last=last)]
    of_group = sum(t.nbytes // groups for t in (g, x) if t.shape[0] > 1 or not (t is x or t.is_contiguous))
    outputs = [t for t in _outputs(args) if t is not None]
    biases = outputs[-1].nbytes if args["output_mask"][2] else 0
    if biases:
        channels = TensorSpec((g.shape[0], g.shape[1] // groups, *g.shape[2:]), g.dtype)
        summed = sum_casts({"self": channels, "dim": [0, *range(2, len(g.shape))]})
        of_group += biases + sum(t.nbytes for t in summed)
    total = sum(t.nbytes for t in outputs)
    return [*whole, *bytes_besides(total, of_group, total + biases)]


_X, _CHANNELS = TensorSpec((2, 4, 9, 8)), TensorSpec((2, 6, 7, 6))

register(
    Rule(
        targets=("aten.convolution_backward.default",), kind=forward.kind_of, outputs=_outputs, work=_work,
        traffic=_traffic, access=everything, temporaries=_temporaries, fusible=False,
        source="Dumoulin & Visin, arXiv:1603.07285, section 4: a convolution's gradients are convolutions",
        free_because=None,
        examples=(
            example(_CHANNELS, _X, TensorSpec((6, 4, 3, 3)), [6], [1, 1], [0, 0], [1, 1], False, [0, 0], 1,
                    [True, True, True]),
            example(_CHANNELS, _X, TensorSpec((6, 4, 3, 3)), None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1,
                    [False, True, False]),
            example(TensorSpec((2, 4, 9, 8)), _X, TensorSpec((4, 1, 3, 3)), None, [1, 1], [1, 1], [1, 1], False,
                    [0, 0], 4, [True, True, False]),
            example(TensorSpec((2, 6, 11, 10)), _X, TensorSpec((4, 6, 3, 3)), [6], [1, 1], [0, 0], [1, 1], True,
                    [0, 0], 1, [True, True, True]),
            example(TensorSpec((60, 6, 31, 30)), TensorSpec((60, 4, 33, 32)), TensorSpec((6, 4, 3, 3)), [6], [1, 1],
                    [0, 0], [1, 1], False, [0, 0], 1, [True, True, True]),
            example(TensorSpec((2, 6, 14, 13)), _X, TensorSpec((4, 3, 3, 3)), [6], [1, 1], [0, 0], [2, 2], True,
                    [1, 1], 2, [True, True, True]),
            example(TensorSpec((2, 6, 7)), TensorSpec((2, 4, 9)), TensorSpec((6, 4, 3)), [6], [1], [0], [1], False, [0],
                    1, [True, True, True]),
        ),
    ),
)  # fmt: skip
