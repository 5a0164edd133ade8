"""Batch, layer, group and instance normalisation: by a mean and a deviation."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import prod

from costmodel.access import AccessMap, Affine, All, AxisMap, Statistic
from costmodel.graph import Arguments, OpCall, TensorSpec, is_channels_last
from costmodel.ops import layout
from costmodel.ops.composite import Composite, register_composites, without
from costmodel.ops.reduction import sum_casts
from costmodel.ops.rule import Example, Outputs, Rule, always, example, moved, no_temporaries, register
from costmodel.ops.temporaries import bytes_besides, contiguous, copied_into_format, in_memory_format
from costmodel.quantities import Traffic, Work


def _given(call: OpCall, *names: str) -> list[TensorSpec]:
    return [t for name in names if (t := call.args.get(name)) is not None]


def _affine(call: OpCall) -> Work:
    n = call.outputs[0].size
    return Work(multiplies=n if call.args["weight"] is not None else 0, adds=n if call.args["bias"] is not None else 0)


def standardised(*, groups: int, n: int) -> Work:
    """(x - mean) / sqrt(var + eps) over each of ``groups`` groups of ``n`` elements."""
    mean = Work(adds=n - 1, divides=1)
    variance = Work(adds=n + n - 1, multiplies=n, divides=1)  # centre, square, sum
    inverse_deviation = Work(adds=1, transcendentals=1)
    scaling = Work(multiplies=n)  # of the centred elements
    return (mean + variance + inverse_deviation + scaling).times(groups)


_MOVING_AVERAGES = Work(multiplies=2 + 2 + 1, adds=1 + 1)
"""Both running statistics of a channel: (1 - m) * old + m * new; the variance is also corrected by n / (n - 1)."""

# Batch normalisation ---------------------------------------------------------------------------------------------


def _trains(args: Arguments) -> bool:
    return bool(args.get("training", False))


def _batch_norm(args: Arguments) -> tuple[TensorSpec, ...]:
    x = args["input"]
    if len(x.shape) < 2:
        raise ValueError(f"batch norm takes (batch, channels, *size), got {x.shape}")
    given = args["weight"] or args.get("running_mean")
    if given is not None and given.shape[0] != x.shape[1]:
        raise ValueError(f"batch norm of {given.shape[0]} channels got an input of {x.shape[1]}: {x.shape}")
    # Statistics are kept in the dtype of the parameters; none are saved in eval mode.
    saved = TensorSpec((x.shape[1],) if _trains(args) else (0,), x.dtype if given is None else given.dtype)
    return TensorSpec(x.shape, x.dtype, layout.in_format_of(x, x.shape)), saved, saved


def _batch_norm_work(call: OpCall) -> Work:
    x = call.args["input"]
    if not _trains(call.args):
        # At inference a linear transform with constants, y = a x + b (Alg. 2, step 11).
        return Work(multiplies=x.size, adds=x.size)
    channels = x.shape[1]
    if not x.size:
        return Work()
    work = standardised(groups=channels, n=x.size // channels) + _affine(call)
    if call.args.get("running_mean") is not None:
        work += _MOVING_AVERAGES.times(channels)
    return work


def _batch_norm_traffic(call: OpCall) -> Traffic:
    running = _given(call, "running_mean", "running_var")
    read = [*_given(call, "input", "weight", "bias"), *running]
    return moved(read, [*call.outputs, *running] if _trains(call.args) else call.outputs)


def statistic(d: int, output: int) -> AxisMap:
    """What the result, or the saved mean and deviation, see of a dimension that these are taken over."""
    return Statistic(d) if output == 0 else All()


def _batch_norm_access(call: OpCall, output: int) -> AccessMap:
    rank = len(call.args["input"].shape)
    if _trains(call.args):
        channel = Affine(1 if output == 0 else 0)
        return {"input": tuple(channel if d == 1 else statistic(d, output) for d in range(rank))}
    return {"input": tuple(Affine(d) for d in range(rank))} if output == 0 else {}


def _inverse_deviation(args: Arguments) -> list[TensorSpec]:
    """On an input in no memory format: in evaluation sqrt(variance + eps), made in two steps; in training the sums.

    Of an empty input the statistics are allocated, in the dtype that sums are taken in.
    """
    x, variance = args["input"], args.get("running_var")
    if not x.size:
        saved = _batch_norm(args)[1]
        wide = TensorSpec((x.shape[1],), "float64" if saved.dtype in ("float32", "float64") else "float32")
        return bytes_besides(2 * saved.nbytes, 2 * wide.nbytes)
    if not copied_into_format(x):
        return []
    if _trains(args):
        casts = sum(t.nbytes for t in sum_casts({"self": x, "dim": [0, *range(2, len(x.shape))]}))
        saved = _batch_norm(args)[1]
        live = saved.nbytes * (3 if saved.dtype == x.dtype else 1)
        return bytes_besides(2 * saved.nbytes, casts + live) if casts else []
    if variance is None:
        return []
    return [TensorSpec(variance.shape, variance.dtype)] * 2


def _batch_norm_rule(target: str, examples: tuple[Example, ...]) -> Rule:
    return Rule(
        targets=(target,), kind=always("norm"), outputs=_batch_norm, work=_batch_norm_work,
        traffic=_batch_norm_traffic, access=_batch_norm_access, temporaries=_inverse_deviation, fusible=True,
        source="Ioffe & Szegedy, Batch Normalization, arXiv:1502.03167, algorithms 1 and 2", free_because=None,
        examples=examples,
    )  # fmt: skip


def _trained(call: OpCall) -> OpCall:
    """The same call of an op that has no switch because it always trains."""
    return OpCall(call.op, {**call.args, "training": True}, call.outputs[:3])


register(
    Rule(
        targets=("aten._batch_norm_with_update.default",), kind=always("norm"),
        # The last output is what cuDNN reserves: nothing here.
        outputs=lambda args: (*_batch_norm({**args, "training": True}), TensorSpec((0,), "uint8")),
        work=lambda call: _batch_norm_work(_trained(call)), traffic=lambda call: _batch_norm_traffic(_trained(call)),
        access=lambda call, output: _batch_norm_access(_trained(call), output) if output < 3 else {},
        temporaries=no_temporaries, fusible=True,
        source="Ioffe & Szegedy, Batch Normalization, arXiv:1502.03167, algorithms 1 and 2", free_because=None,
        examples=(example(TensorSpec((2, 3, 4)), *(TensorSpec((3,)),) * 4, 0.1, 1e-5),),
    ),
)  # fmt: skip


# Over the elements of each sample --------------------------------------------------------------------------------


def _layer_norm(args: Arguments) -> tuple[TensorSpec, ...]:
    x, normalized = args["input"], tuple(args["normalized_shape"])
    leading = len(x.shape) - len(normalized)
    if x.shape[leading:] != normalized:
        raise ValueError(f"layer norm over {normalized} got an input of {x.shape}")
    saved = x.shape[:leading] + (1,) * len(normalized)
    dtype = args["weight"].dtype if args["weight"] is not None else x.dtype
    return TensorSpec(x.shape, x.dtype), TensorSpec(saved, dtype), TensorSpec(saved, dtype)


def _layer_norm_work(call: OpCall) -> Work:
    n, size = prod(call.args["normalized_shape"]), call.args["input"].size
    if not size:
        return Work()
    return standardised(groups=size // n, n=n) + _affine(call)


def over_trailing(call: OpCall, output: int) -> AccessMap:
    """Of a norm over the last dimensions, those of ``normalized_shape``."""
    x = call.args["input"]
    leading = len(x.shape) - len(call.args["normalized_shape"])
    return {"input": tuple(Affine(d) if d < leading else statistic(d, output) for d in range(len(x.shape)))}


def _group_norm(args: Arguments) -> tuple[TensorSpec, ...]:
    x, groups = args["input"], args["group"]
    if x.shape[1] % groups:
        raise ValueError(f"group norm of {groups} groups does not divide the {x.shape[1]} channels of {x.shape}")
    dtype = args["weight"].dtype if args["weight"] is not None else x.dtype
    saved = (x.shape[0], groups)
    y = TensorSpec(x.shape, x.dtype, layout.in_format_of(x, x.shape))
    return y, TensorSpec(saved, dtype), TensorSpec(saved, dtype)


def _group_norm_work(call: OpCall) -> Work:
    groups = call.args["N"] * call.args["group"]
    return standardised(groups=groups, n=call.args["input"].size // groups if groups else 0) + _affine(call)


def _group_norm_access(call: OpCall, output: int) -> AccessMap:
    x, groups = call.args["input"], call.args["group"]
    # Exact where a group is one channel or all channels; otherwise axis maps cannot express where a group begins.
    channel = Affine(1) if groups == x.shape[1] else statistic(1, output)
    return {"input": (Affine(0), channel, *(statistic(d, output) for d in range(2, len(x.shape))))}


def _main_traffic(call: OpCall) -> Traffic:
    # Saved means and deviations are for the backward pass alone.
    return moved(_given(call, "input", "weight", "bias"), call.outputs[:1])


def _instance_norm(args: Arguments) -> TensorSpec:
    x = args["input"]
    if len(x.shape) < 3:
        raise ValueError(f"instance norm takes (batch, channels, *size), got {x.shape}")
    return TensorSpec(x.shape, x.dtype)


def _instance_norm_work(call: OpCall) -> Work:
    x, channels = call.args["input"], call.args["input"].shape[1]
    if not call.args["use_input_stats"]:
        return Work(multiplies=x.size, adds=x.size)
    batch = x.shape[0]
    instances = batch * channels
    if not instances:
        return Work()
    work = standardised(groups=instances, n=x.size // instances) + _affine(call)
    if call.args["running_mean"] is not None:
        # torch moves the averages of every instance, then takes their mean over the batch.
        work += _MOVING_AVERAGES.times(instances) + Work(adds=batch - 1, divides=1).times(2 * channels)
    return work


def _instance_norm_traffic(call: OpCall) -> Traffic:
    running = _given(call, "running_mean", "running_var")
    read = [*_given(call, "input", "weight", "bias"), *running]
    return moved(read, [*call.outputs, *running] if call.args["use_input_stats"] else call.outputs)


def _instance_norm_access(call: OpCall, output: int) -> AccessMap:
    rank = len(call.args["input"].shape)
    whole = call.args["use_input_stats"]
    return {"input": tuple(statistic(d, output) if whole and d > 1 else Affine(d) for d in range(rank))}


def _instance_norm_temporaries(args: Arguments) -> list[TensorSpec]:
    """A batch norm over batch * channels: affine parameters repeated, and statistics kept where they are taken."""
    x = args["input"]
    instances = (x.shape[0] * x.shape[1],)
    repeated = [args[name] for name in ("weight", "bias", "running_mean", "running_var") if args[name] is not None]
    saved = 2 if args["use_input_stats"] else 0
    return [*contiguous("input")(args), *[TensorSpec(instances, x.dtype)] * (len(repeated) + saved)]


def sample_rule(
    *targets: str,
    outputs: Callable[[Arguments], Outputs],
    work: Callable[[OpCall], Work],
    access: Callable[[OpCall, int], AccessMap],
    source: str,
    examples: tuple[Example, ...],
    traffic: Callable[[OpCall], Traffic] = _main_traffic,
    temporaries: Callable[[Arguments], Iterable[TensorSpec]] = no_temporaries,
) -> Rule:
    """The rule of a norm over the elements of each sample."""
    return Rule(
        targets=targets, kind=always("norm"), outputs=outputs, work=work, traffic=traffic, access=access,
        temporaries=temporaries, fusible=False, source=source, free_because=None, examples=examples,
    )  # fmt: skip


_X, _C = TensorSpec((2, 4, 5, 6)), TensorSpec((4,))
_LAST = TensorSpec((6,))

register(
    _batch_norm_rule(
        "aten.native_batch_norm.default",
        examples=(
            example(_X, _C, _C, _C, _C, False, 0.1, 1e-5), example(_X, None, None, _C, _C, False, 0.1, 1e-5),
            example(_X, _C, _C, _C, _C, True, 0.1, 1e-5), example(_X, None, None, None, None, True, 0.1, 1e-5),
        ),
    ),
    _batch_norm_rule(
        "aten._native_batch_norm_legit.default",
        examples=(example(_X, _C, _C, _C, _C, False, 0.1, 1e-5), example(_X, _C, _C, _C, _C, True, 0.1, 1e-5)),
    ),
    _batch_norm_rule(
        "aten._native_batch_norm_legit.no_stats", examples=(example(_X, _C, _C, True, 0.1, 1e-5),),
    ),
    _batch_norm_rule(
        "aten._native_batch_norm_legit_no_training.default", examples=(example(_X, _C, _C, _C, _C, 0.1, 1e-5),),
    ),
    sample_rule(
        "aten.native_layer_norm.default", outputs=_layer_norm, work=_layer_norm_work, access=over_trailing,
        temporaries=contiguous("input"),
        source="Ba, Kiros & Hinton, Layer Normalization, arXiv:1607.06450",
        examples=(example(_X, [6], _LAST, _LAST, 1e-5), example(_X, [5, 6], None, None, 1e-5)),
    ),
    sample_rule(
        "aten.native_group_norm.default", outputs=_group_norm, work=_group_norm_work, access=_group_norm_access,
        temporaries=in_memory_format("input"),
        source="Wu & He, Group Normalization, arXiv:1803.08494",
        examples=(example(_X, _C, _C, 2, 4, 30, 2, 1e-5), example(_X, None, None, 2, 4, 30, 4, 1e-5)),
    ),
    sample_rule(
        "aten.instance_norm.default", outputs=_instance_norm, work=_instance_norm_work,
        access=_instance_norm_access, traffic=_instance_norm_traffic, temporaries=_instance_norm_temporaries,
        source="Ulyanov, Vedaldi & Lempitsky, Instance Normalization, arXiv:1607.08022",
        examples=(
            example(_X, _C, _C, None, None, True, 0.1, 1e-5, False),
            example(_X, None, None, _C, _C, True, 0.1, 1e-5, False),
            example(_X, None, None, _C, _C, False, 0.1, 1e-5, False),
        ),
    ),
)  # fmt: skip


def _core_arguments_of_group_norm(args: Arguments) -> Arguments | None:
    x: TensorSpec = args["input"]
    if not x.is_contiguous and not is_channels_last(x):
        return None  # torch makes it contiguous first
    return {
        "input": x,
        "weight": args["weight"],
        "bias": args["bias"],
        "N": x.shape[0],
        "C": x.shape[1],
        "HxW": prod(x.shape[2:]),
        "group": args["num_groups"],
        "eps": args["eps"],
    }


register_composites(
    Composite(
        targets=("aten.batch_norm.default",), core="aten.native_batch_norm.default", arguments=without("cudnn_enabled"),
        examples=(
            example(_X, _C, _C, _C, _C, False, 0.1, 1e-5, False), example(_X, _C, _C, _C, _C, True, 0.1, 1e-5, False),
        ),
    ),
    Composite(
        targets=("aten.layer_norm.default",), core="aten.native_layer_norm.default", arguments=without("cudnn_enable"),
        examples=(example(_X, [6], _LAST, _LAST),),
    ),
    Composite(
        targets=("aten.group_norm.default",),
        core="aten.native_group_norm.default",
        arguments=_core_arguments_of_group_norm,
        examples=(example(_X, 2, _C, _C), example(_X, 4)),
    ),
)  # fmt: skip
