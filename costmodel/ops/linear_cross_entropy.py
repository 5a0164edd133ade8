"""A linear layer and its cross entropy in one op, chunk by chunk: never are all scores stored at once."""

from __future__ import annotations

from costmodel.graph import Arguments, OpCall, TensorSpec
from costmodel.ops.access import everything
from costmodel.ops.rule import Outputs, Rule, always, every_argument, example, no_temporaries, register
from costmodel.quantities import Work


def _loss_and_gradients(args: Arguments) -> Outputs:
    x, w = args["input"], args["linear_weight"]
    shapes = (
        (),
        x.shape if args["compute_input_grad"] else (0, 0),
        w.shape if args["compute_linear_weight_grad"] else (0, 0),
        w.shape[:1] if args["compute_linear_bias_grad"] else (0,),
    )
    return tuple(TensorSpec(shape, x.dtype) for shape in shapes)


def _losses(args: Arguments) -> TensorSpec:
    return TensorSpec(args["input"].shape[:1], args["input"].dtype)


def _losses_work(call: OpCall) -> Work:
    # Of each sample: its scores, the logarithm of the sum of their exponentials, less the target's score; weighted.
    samples, features = call.args["input"].shape
    classes = call.args["linear_weight"].shape[0]
    bias = classes if call.args["linear_bias"] is not None else 0
    weighted = call.args["weight"] is not None
    sample = Work(
        macs=features * classes, compares=classes - 1, adds=bias + classes + (classes - 1) + 1,
        transcendentals=classes + 1,
    )  # fmt: skip
    if _of_probabilities(call):
        # Weighted probabilities, their sum times the logarithm, less the sum of their products with the scores.
        sample += Work(multiplies=weighted * classes + classes + 1, adds=2 * (classes - 1))
    else:
        sample += Work(multiplies=1 if weighted else 0)
    return sample.times(samples)


def _of_probabilities(call: OpCall) -> bool:
    """Whether targets are probabilities of all classes, which they may be from torch 2.15 on."""
    return len(call.args["target"].shape) == 2


def _work(call: OpCall) -> Work:
    args = call.args
    samples, features = args["input"].shape
    classes = args["linear_weight"].shape[0]
    mean = args["reduction"] == "mean"
    work = _losses_work(call) + Work(adds=max(samples - 1, 0), divides=1 if mean else 0)
    if mean and args["weight"] is not None and not _of_probabilities(call):
        work += Work(adds=max(samples - 1, 0))  # of the targets' weights
    if args["compute_input_grad"] or args["compute_linear_weight_grad"]:
        # The softmax, less one at the target, into each of the two products.
        products = args["compute_input_grad"] + args["compute_linear_weight_grad"]
        work += Work(divides=samples, multiplies=samples * classes, macs=products * samples * features * classes)
        work += Work(adds=products * samples * features, multiplies=products * samples * features)
    if args["compute_linear_bias_grad"]:
        work += Work(adds=samples * classes + samples)
    return work


_X, _W, _TARGETS = TensorSpec((4, 6)), TensorSpec((5, 6)), TensorSpec((4,), "int64")
_NAME = "torch_nn._linear_cross_entropy_batch_chunked"

register(
    *(
        Rule(
            targets=(target,), kind=always("linear"), outputs=outputs, work=work, traffic=every_argument,
            access=everything, temporaries=no_temporaries, fusible=False,
            source="torch.nn.LinearCrossEntropyLoss: a linear layer, log-softmax, and the target's score",
            free_because=None, examples=(case,),
        )
        for target, outputs, work, case in (
            (f"{_NAME}.default", _loss_and_gradients, _work,
             example(_X, _W, _TARGETS, None, None, "mean", -100, 0.0, 2, "compact", "float32", False, False, False,
                     False)),
            (f"{_NAME}_no_reduction.default", _losses, _losses_work,
             example(_X, _W, _TARGETS, None, None, -100, 2, "compact", "float32")),
        )
    ),
)  # fmt: skip
