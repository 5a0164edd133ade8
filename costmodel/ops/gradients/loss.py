"""Gradients of losses: the derivative of each term, times what arrives, over n where the loss is a mean."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from costmodel.graph import Arguments, OpCall, TensorSpec
from costmodel.ops import layout
from costmodel.ops.access import everything
from costmodel.ops.loss import MEAN, NONE, SUM, ctc_lengths, depends_on_lengths
from costmodel.ops.rule import Example, Rule, always, every_argument, example, moved, no_temporaries, register
from costmodel.ops.temporaries import contiguous
from costmodel.quantities import Traffic, Work

_X = TensorSpec((2, 3, 4))
_ONE = TensorSpec(())
_LOGITS, _CLASSES, _WEIGHT = TensorSpec((4, 5)), TensorSpec((4,), "int64"), TensorSpec((5,))


def _terms(args: Arguments) -> TensorSpec:
    return layout.elementwise({name: args[name] for name in ("self", "target")})


def _in_rows(args: Arguments) -> TensorSpec:
    terms = _terms(args)
    return TensorSpec(terms.shape, terms.dtype)


def _like_self(args: Arguments) -> TensorSpec:
    x = args["self"]
    return TensorSpec(x.shape, x.dtype)


def _weighted(args: Arguments) -> Work:
    return Work() if args.get("weight") is None else Work(multiplies=1)


def _pointwise(
    name: str,
    term: Callable[[Arguments], Work],
    source: str,
    *arguments: object,
    weight: bool = False,
    outputs: Callable[[Arguments], TensorSpec] = _in_rows,
    temporaries: Callable[[Arguments], Iterable[TensorSpec]] = no_temporaries,
) -> Rule:
    def work(call: OpCall) -> Work:
        # The factor g / n is one for all.
        once = Work(divides=1 if call.args["reduction"] == MEAN else 0)
        return term(call.args).times(call.outputs[0].size) + once

    given = (None,) if weight else ()
    return Rule(
        targets=(f"aten.{name}_backward.default",), kind=always("other"), outputs=outputs, work=work,
        traffic=every_argument, access=everything, temporaries=temporaries, fusible=False, source=source,
        free_because=None,
        examples=(example(_ONE, _X, _X, *given, MEAN, *arguments), example(_X, _X, _X, *given, NONE, *arguments),
                  example(_ONE, _X, _X, *given, SUM, *arguments)),
    )  # fmt: skip


def _smooth_l1(args: Arguments) -> Work:
    # -g, g, or g d / beta between -beta and beta, of d = x - t.
    return Work(adds=1, compares=2, multiplies=1, divides=1 if args["beta"] else 0)


def _cross_entropy(args: Arguments) -> Work:
    # g (x - t) over x (1 - x), which is eps at least.
    return Work(adds=2, multiplies=2, compares=1, divides=1) + _weighted(args)


def _nll_work(call: OpCall) -> Work:
    # -w g at the target, over the sum of the weights in a mean.
    args = call.args
    target = Work(divides=1 if args["reduction"] == MEAN else 0) + _weighted(args)
    return target.times(args["target"].size)


def _nll_traffic(call: OpCall) -> Traffic:
    # Of the scores, only their shape is used.
    names = ("grad_output", "target", "weight", *(["total_weight"] if call.args["reduction"] == MEAN else []))
    return moved([t for name in names if (t := call.args[name]) is not None], call.outputs)


def _margin_work(call: OpCall) -> Work:
    # z = margin - x_target + x for each other class; g, or 2 g z, where it is positive, and the target has their sum.
    args, (samples, classes) = call.args, _samples(call.args["self"])
    other = Work(adds=2 + 1, compares=1, multiplies=2 * (args["p"] - 1)) + _weighted(args)
    return other.times(samples * max(classes - 1, 0)) + Work(multiplies=args["self"].size)


def _multilabel_work(call: OpCall) -> Work:
    # z = 1 - x_label + x_other for each pair: most where half of the classes are labels.
    samples, classes = _samples(call.args["self"])
    pairs = classes // 2 * (classes - classes // 2)
    return Work(adds=2 + 2, compares=1).times(pairs * samples) + Work(multiplies=call.args["self"].size)


def _samples(x: TensorSpec) -> tuple[int, int]:
    classes = x.shape[-1] if x.shape else 1
    return x.size // classes if classes else 0, classes


_STATE = Work(compares=2, adds=3 + 2 + 1 + 1, transcendentals=4)
"""A state's probability from the three after it, as in the forward."""
_COLLECTED = Work(adds=1 + 3 + 1, compares=1, transcendentals=3)
"""Joined with the forward's, and added by logarithms to the others of its label."""
_CLASS = Work(transcendentals=2, adds=3, multiplies=1)
"""(exp(p) - exp(collected + loss - p)) g"""


def _ctc_states(args: Mapping[str, Any]) -> dict[str, int]:
    """Steps in all, states in all of them, and in all but the first."""
    steps, labels = ctc_lengths(args)
    states = [(t, 2 * n + 1) for t, n in zip(steps, labels, strict=True)]
    joins = sum(max(t - 1, 0) * s for t, s in states)
    return {"steps": sum(steps), "states": sum(t * s for t, s in states), "joins": joins}


def _ctc_work(call: OpCall) -> Work:
    if depends_on_lengths(call):
        return Work()
    found, classes = call.args.get("observed") or _ctc_states(call.args), call.args["log_probs"].shape[2]
    return _STATE.times(found["joins"]) + _COLLECTED.times(found["states"]) + _CLASS.times(found["steps"] * classes)


def _ctc(args: Arguments) -> TensorSpec:
    return TensorSpec(args["log_probs"].shape, args["log_probs"].dtype)


def _by_class(
    name: str,
    work: Callable[[OpCall], Work],
    source: str,
    *examples: Example,
    traffic: Callable[[OpCall], Traffic] = every_argument,
    temporaries: Callable[[Arguments], Iterable[TensorSpec]] = no_temporaries,
) -> Rule:
    return Rule(
        targets=(f"aten.{name}_backward.default",), kind=always("other"), outputs=_like_self, work=work,
        traffic=traffic, access=everything, temporaries=temporaries, fusible=False, source=source,
        free_because=None, examples=examples,
    )  # fmt: skip


_OF_EACH = TensorSpec((4,))
_MAPS, _CLASS_MAP = TensorSpec((2, 5, 3, 4)), TensorSpec((2, 3, 4), "int64")

register(
    _pointwise("mse_loss", lambda args: Work(adds=1, multiplies=2), "torch.nn.MSELoss: 2 (x - t) g"),
    _pointwise("smooth_l1_loss", _smooth_l1, "torch.nn.SmoothL1Loss, all cases", 1.0),
    _pointwise("huber_loss", lambda args: Work(adds=1, compares=2, multiplies=1), "torch.nn.HuberLoss, all cases", 1.0),
    _pointwise(
        "soft_margin_loss", lambda args: Work(multiplies=3, transcendentals=1, adds=1, divides=1),
        "torch.nn.SoftMarginLoss: -t z g / (1 + z), z = exp(-t x)", outputs=_terms,
        temporaries=lambda args: [_terms(args)] * 2,
    ),
    _pointwise("binary_cross_entropy", _cross_entropy, "torch.nn.BCELoss: g (x - t) / (x (1 - x))", weight=True,
               outputs=_terms),
    _by_class(
        "nll_loss", _nll_work, "torch.nn.NLLLoss: -w g at the target, else 0",
        example(_ONE, _LOGITS, _CLASSES, None, MEAN, -100, _ONE),
        example(_OF_EACH, _LOGITS, _CLASSES, _WEIGHT, NONE, -100, _ONE), traffic=_nll_traffic,
    ),
    _by_class(
        "nll_loss2d", _nll_work, "torch.nn.NLLLoss: -w g at the target, else 0",
        example(_ONE, _MAPS, _CLASS_MAP, _WEIGHT, MEAN, -100, _ONE), traffic=_nll_traffic,
    ),
    _by_class(
        "multi_margin_loss", _margin_work, "torch.nn.MultiMarginLoss", example(_ONE, _LOGITS, _CLASSES, 1, 1),
        example(_OF_EACH, _LOGITS, _CLASSES, 2, 1, _WEIGHT, NONE), temporaries=contiguous("self"),
    ),
    _by_class(
        "multilabel_margin_loss", _multilabel_work,
        "torch.nn.MultiLabelMarginLoss, with as many labels as give the most pairs",
        example(_ONE, _LOGITS, TensorSpec((4, 5), "int64"), MEAN, _LOGITS),
        temporaries=contiguous("self", "target", "is_target"),
    ),
    *(
        Rule(
            targets=(target,), kind=always("other"), outputs=_ctc, work=_ctc_work, traffic=every_argument,
            access=everything, temporaries=no_temporaries, fusible=False,
            source="Graves et al., Connectionist Temporal Classification (ICML 2006), equations 10, 15 and 16, by "
            "logarithms",
            free_because=None, bound_because=depends_on_lengths, observe=observe, examples=(case,),
        )
        for target, observe, case in (
            ("aten._ctc_loss_backward.default", None,
             example(TensorSpec((2,)), TensorSpec((6, 2, 5)), TensorSpec((2, 3), "int64"), [6, 5], [3, 2],
                     TensorSpec((2,)), TensorSpec((2, 6, 7)), 4)),
            ("aten._ctc_loss_backward.Tensor", _ctc_states,
             example(TensorSpec((2,)), TensorSpec((6, 2, 5)), TensorSpec((2, 0), "int64"), TensorSpec((2,), "int64"),
                     TensorSpec((2,), "int64"), TensorSpec((2,)), TensorSpec((2, 6, 1)), 0)),
        )
    ),
)  # fmt: skip
