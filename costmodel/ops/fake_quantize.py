"""Fake quantisation: numbers rounded to a grid and clamped, as a quantised layer would see them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from costmodel.access import AccessMap, Affine, AxisMap, Fixed
from costmodel.graph import Arguments, OpCall, TensorSpec
from costmodel.ops import layout
from costmodel.ops.access import aligned, everything
from costmodel.ops.rule import Outputs, Rule, always, every_argument, example, no_temporaries, register
from costmodel.quantities import Work

_X = TensorSpec((2, 3, 4))
_ONE, _THREE = TensorSpec((1,)), TensorSpec((3,))
_ZERO, _ZEROS = TensorSpec((1,), "int32"), TensorSpec((3,), "int32")
_SOURCE = "Jacob et al., Quantization and Training, arXiv:1712.05877: (clamp(round(x / s) + z) - z) s"
_EACH = Work(multiplies=2, adds=2, compares=2)
"""Times 1 / s, plus z, clamped from both sides (which the mask says too), less z, times s."""


def _like_self(args: Arguments) -> TensorSpec:
    x = args["self"]
    return TensorSpec(x.shape, x.dtype, layout.preserved_strides(x.shape, [x]))


def _with_mask(args: Arguments) -> Outputs:
    y = _like_self(args)
    return y, TensorSpec(y.shape, "bool", y.strides)


def _mask_alone(args: Arguments) -> list[TensorSpec]:
    """The mask, which is not returned; the rounded zero point of each channel."""
    rounded = [args["zero_point"]] if "axis" in args else []
    return [TensorSpec(args["self"].shape, "bool"), *rounded]


def _work(call: OpCall) -> Work:
    return _EACH.times(call.args["self"].size)


def _learnable_work(call: OpCall) -> Work:
    # The zero point is rounded and clamped first.
    return _EACH.times(call.args["self"].size) + Work(compares=2 * call.args["zero_point"].size)


def _switches(args: Mapping[str, Any]) -> dict[str, int]:
    """Whether the range is observed, and whether numbers are quantised: a training run switches either off."""
    return {"observes": int(args["observer_on"]), "quantises": int(args["fake_quant_on"])}


def _observed_work(call: OpCall) -> Work:
    # Observed: least and greatest, and their moving averages (r + c (m - r)). Quantised: of each pair a scale and a
    # zero point, by which each element is. A range of each channel is empty before the first run.
    args, x = call.args, call.args["self"]
    pairs = x.shape[args["ch_axis"]] if args["per_row_fake_quant"] else 1
    switches = args.get("observed", {"observes": 1, "quantises": 1})
    work = Work()
    if switches["observes"]:
        work += Work(compares=2 * max(x.size - pairs, 0)) + Work(adds=4, multiplies=2).times(pairs)
    if switches["quantises"]:
        work += Work(adds=2, divides=2).times(pairs) + _EACH.times(x.size)
    return work


def _access(call: OpCall, output: int) -> AccessMap:
    # One scale for all, or one for each position along the axis.
    own = aligned(call.args["self"], call.outputs[output])
    scale: AxisMap = Affine(call.args["axis"]) if "axis" in call.args else Fixed(0)
    return {name: own if name == "self" else (scale,) * len(t.shape) for name, t in call.tensors()}


register(
    *(
        Rule(targets=(target,), kind=always("other"), outputs=outputs, work=work, traffic=every_argument,
             access=_access, temporaries=temporaries, fusible=True, source=_SOURCE, free_because=None,
             examples=(case,))
        for target, outputs, work, temporaries, case in (
            ("aten.fake_quantize_per_tensor_affine_cachemask.default", _with_mask, _work, no_temporaries,
             example(_X, 0.1, 0, 0, 255)),
            ("aten._fake_quantize_per_tensor_affine_cachemask_tensor_qparams.default", _with_mask, _work,
             no_temporaries,
             example(_X, _ONE, _ZERO, TensorSpec((1,), "int64"), 0, 255)),
            ("aten.fake_quantize_per_channel_affine_cachemask.default", _with_mask, _work, no_temporaries,
             example(_X, _THREE, _ZEROS, 1, 0, 255)),
            ("aten._fake_quantize_learnable_per_tensor_affine.default", _like_self, _learnable_work, _mask_alone,
             example(_X, _ONE, _ONE, 0, 255)),
            ("aten._fake_quantize_learnable_per_channel_affine.default", _like_self, _learnable_work, _mask_alone,
             example(_X, _THREE, _THREE, 1, 0, 255)),
        )
    ),
    Rule(
        targets=("aten._fused_moving_avg_obs_fq_helper.default",), kind=always("other"), outputs=_with_mask,
        work=_observed_work, traffic=every_argument, access=everything, temporaries=no_temporaries, fusible=False,
        source=f"torch.ao.quantization.FusedMovingAvgObsFakeQuantize; {_SOURCE}", free_because=None,
        observe=_switches,
        examples=(example(_X, TensorSpec((1,), "int64"), TensorSpec((1,), "int64"), TensorSpec((1,)), TensorSpec((1,)),
                          _ONE, _ZERO, 0.01, 0, 255, -1),),
    ),
)  # fmt: skip
