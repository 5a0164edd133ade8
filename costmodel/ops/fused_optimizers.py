"""``_fused_adam_`` and its like: the whole update of all parameters as one kernel, which optimizers run with ``fused``.

Each computes what the optimizer's for-loop does; a multiplication by 1 is none, here as there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from costmodel.access import AccessMap
from costmodel.graph import Arguments, OpCall, TensorSpec
from costmodel.ops.access import aligned
from costmodel.ops.foreach import largest_copy
from costmodel.ops.rule import Rule, always, example, moved, register
from costmodel.quantities import Traffic, Work

_X, _Y = TensorSpec((2, 3)), TensorSpec((4,))
_LIST = [_X, _Y]
_STEPS = [TensorSpec(()), TensorSpec(())]
_LR = TensorSpec(())


def _scaled_by(number: float) -> Work:
    return Work() if number == 1 else Work(multiplies=1)


def _gradient(args: Arguments) -> Work:
    """What is done to one element of the gradient first: its scale undone, the decay of the weights added."""
    scale = Work(divides=1) if args["grad_scale"] is not None else Work()
    decay = Work(adds=1) + _scaled_by(args["weight_decay"]) if args["weight_decay"] else Work()
    return scale + decay


def _sgd(args: Arguments) -> Work:
    momentum = Work()
    if args["momentum"]:
        if not args["is_first_step"]:  # the buffer begins as the gradient
            momentum += Work(multiplies=1, adds=1) + _scaled_by(1 - args["dampening"])
        if args["nesterov"]:
            momentum += Work(multiplies=1, adds=1)
    return _gradient(args) + momentum + Work(multiplies=1, adds=1)


def _adam_step(args: Arguments) -> Work:
    mean = Work(adds=2, multiplies=1)  # a linear interpolation
    square = Work(multiplies=2, adds=1) + _scaled_by(1 - args["beta2"])
    greatest = Work(compares=1) if args["amsgrad"] else Work()
    root = Work(transcendentals=1, divides=1, adds=1)
    return mean + square + greatest + root + Work(divides=1, multiplies=1, adds=1)


def _adam(args: Arguments) -> Work:
    return _gradient(args) + _adam_step(args)


def _adamw(args: Arguments) -> Work:
    decay = Work(multiplies=1) if args["weight_decay"] else Work()  # of the parameter itself
    return _gradient({**args, "weight_decay": 0}) + decay + _adam_step(args)


def _adagrad(args: Arguments) -> Work:
    square = Work(multiplies=1, adds=1)
    return _gradient(args) + square + Work(transcendentals=1, adds=1) + Work(divides=1, multiplies=1, adds=1)


def _access(call: OpCall, output: int) -> AccessMap:
    y = call.outputs[output]
    own = f"[{output % len(call.args['self'])}]"
    return {
        name: aligned(t, y) if t.shape == y.shape else ()
        for name, t in call.tensors()
        if name.endswith(own) or not name.endswith("]")
    }


def _fused(
    name: str,
    work: Callable[[Arguments], Work],
    state: Callable[[Arguments], list[str]],
    lists: list[list[TensorSpec]],
    **settings: float,
) -> Iterator[Rule]:
    """``work`` is that of one element; ``state``: the lists that are written besides the parameters."""

    def written(args: Arguments) -> tuple[TensorSpec, ...]:
        unscaled = ["grads"] if args["grad_scale"] is not None else []
        return tuple(t for each in ["self", *unscaled, *state(args)] for t in args[each])

    def traffic(call: OpCall) -> Traffic:
        begins = call.args.get("is_first_step", False)
        read = (t for name, t in call.tensors() if not (begins and name.startswith("momentum_buffer")))
        return moved(read, call.outputs)

    numbers = {**settings, "weight_decay": 0.5, "maximize": False}
    for overload, rate in (("default", 0.5), ("tensor_lr", _LR)):
        yield Rule(
            targets=(f"aten.{name}.{overload}",), kind=always("other"), outputs=written,
            work=lambda call: work(call.args).times(sum(t.size for t in call.args["self"])), traffic=traffic,
            access=_access, temporaries=lambda args: largest_copy(args["grads"]), fusible=False, free_because=None,
            source=f"aten/src/ATen/native: {name}, torch.optim with fused=True",
            examples=(example(*lists, lr=rate, **numbers),),
        )  # fmt: skip


_BETAS = {"beta1": 0.5, "beta2": 0.5, "eps": 0.5}


def _of_adam(args: Arguments) -> list[str]:
    return ["exp_avgs", "exp_avg_sqs", *(["max_exp_avg_sqs"] if args["amsgrad"] else [])]


register(
    *_fused(
        "_fused_sgd_", _sgd, lambda args: ["momentum_buffer_list"] if args["momentum"] else [], [_LIST] * 3,
        momentum=0.5, dampening=0.5, nesterov=False, is_first_step=False,
    ),
    *_fused("_fused_adam_", _adam, _of_adam, [_LIST] * 5 + [_STEPS], amsgrad=True, **_BETAS),
    *_fused("_fused_adamw_", _adamw, _of_adam, [_LIST] * 5 + [_STEPS], amsgrad=True, **_BETAS),
    *_fused("_fused_adagrad_", _adagrad, lambda args: ["state_sums"], [_LIST] * 3 + [_STEPS], lr_decay=0.5, eps=0.5),
)  # fmt: skip
