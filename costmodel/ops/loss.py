"""Losses: one term for each element, sample or pair of classes, and their mean or sum.

Where a loss is defined by cases, all cases are counted, as kernels on vectors compute them before they select.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import prod
from typing import Any

from costmodel.access import AccessMap, Affine, All, AxisMap
from costmodel.graph import Arguments, OpCall, TensorSpec
from costmodel.ops import layout
from costmodel.ops.access import everything, pointwise
from costmodel.ops.rule import Example, Outputs, Rule, Torch, always, every_argument, example, no_temporaries, register
from costmodel.ops.temporaries import contiguous, mean_of_half
from costmodel.quantities import Work

_X = TensorSpec((2, 3, 4))
_LOGITS = TensorSpec((4, 5))
_CLASSES = TensorSpec((4,), "int64")
_MAPS = TensorSpec((2, 5, 3, 4))
_CLASS_MAP = TensorSpec((2, 3, 4), "int64")
_WEIGHT = TensorSpec((5,))

NONE, MEAN, SUM = 0, 1, 2
"""torch's numbers of reductions."""


def reduced(n: int, reduction: int) -> Work:
    """The mean or sum of n terms.

    >>> reduced(4, MEAN)
    Work(macs=0, adds=3, multiplies=0, divides=1, compares=0, transcendentals=0, macs_on_padding=0)
    """
    if reduction == NONE or n == 0:
        return Work()
    return Work(adds=n - 1, divides=1 if reduction == MEAN else 0)


def _terms(args: Arguments) -> TensorSpec:
    tensors = {name: args[name] for name in ("self", "target")}
    return layout.elementwise(tensors)


def _each_or_one(args: Arguments) -> TensorSpec:
    y = _terms(args)
    return y if args["reduction"] == NONE else TensorSpec((), y.dtype)


def _like_self(args: Arguments) -> TensorSpec:
    x = args["self"]
    if args["reduction"] != NONE:
        return TensorSpec((), x.dtype)
    return TensorSpec(x.shape, x.dtype, layout.preserved_strides(x.shape, [x]))


def _seen(call: OpCall, output: int) -> AccessMap:
    return pointwise(call, output) if call.args["reduction"] == NONE else everything(call, output)


def pointwise_loss(
    name: str,
    *,
    term: Callable[[Arguments], Work],
    source: str,
    examples: tuple[Example, ...],
    outputs: Callable[[Arguments], Outputs] = _each_or_one,
    once: Callable[[Arguments], Work] = lambda args: Work(),
    temporaries: Callable[[Arguments], Iterable[TensorSpec]] = no_temporaries,
) -> Rule:
    """The rule of a loss whose terms stand at the elements' own positions."""

    def work(call: OpCall) -> Work:
        n = _terms(call.args).size
        return term(call.args).times(n) + once(call.args) + reduced(n, call.args["reduction"])

    return Rule(
        targets=(f"aten.{name}.default",), kind=always("other"), outputs=outputs, work=work, traffic=every_argument,
        access=_seen, temporaries=_and_mean(temporaries), fusible=False, source=source, free_because=None,
        examples=examples,
    )  # fmt: skip


def _and_mean(
    temporaries: Callable[[Arguments], Iterable[TensorSpec]],
) -> Callable[[Arguments], Iterable[TensorSpec]]:
    """The mean of the terms, where it takes more than the terms did."""

    def most(args: Arguments) -> list[TensorSpec]:
        terms, before = _terms(args), list(temporaries(args))
        mean = mean_of_half(terms, TensorSpec((), terms.dtype)) if args["reduction"] == MEAN else []
        after = [*before[:1], *mean]
        return max(before, after, key=lambda tensors: sum(t.nbytes for t in tensors)) if mean else before

    return most


def _unreduced(args: Arguments) -> list[TensorSpec]:
    """Every term, where they are reduced."""
    return [] if args["reduction"] == NONE else [_terms(args)]


def _of_logits(args: Arguments) -> list[TensorSpec]:
    """The logarithms of sigmoids; the terms, where they are reduced; the logits in a row; positive weights less 1."""
    terms, positive = _terms(args), args["pos_weight"]
    copies = [terms] if not args["self"].is_contiguous else []
    return [terms, *_unreduced(args), *copies, *([] if positive is None or copies else [positive])]


def _smooth_l1(args: Arguments) -> Work:
    # |d| < beta: d * d / 2 / beta, else |d| - beta / 2, of d = x - t.
    if args["beta"] == 0:
        return Work(adds=1)
    return Work(adds=2, compares=1, multiplies=2, divides=1)


def _weighted(args: Arguments) -> Work:
    return Work() if args["weight"] is None else Work(multiplies=1)


def _cross_entropy(args: Arguments) -> Work:
    # (t - 1) max(log(1 - x), -100) - t max(log x, -100)
    return Work(transcendentals=2, compares=2, multiplies=2, adds=2) + _weighted(args)


def _cross_entropy_of_logits(args: Arguments) -> Work:
    # (1 - t) x - logsigmoid(x), which is two transcendentals and an addition; or ((w - 1) t + 1) logsigmoid(x).
    positive = Work() if args["pos_weight"] is None else Work(multiplies=2, adds=1)
    return Work(adds=3, multiplies=1, transcendentals=2) + positive + _weighted(args)


def _positive_less_one(args: Arguments) -> Work:
    return Work() if args["pos_weight"] is None else Work(adds=args["pos_weight"].size)


def _nll(args: Arguments) -> Outputs:
    x, target = args["self"], args["target"]
    shape = target.shape if args["reduction"] == NONE and len(x.shape) > 1 else ()
    return TensorSpec(shape, x.dtype), TensorSpec((), x.dtype)


def _in_rows(args: Arguments) -> Iterable[TensorSpec]:
    """Copies of scores and targets that are not contiguous, where terms are reduced."""
    return () if args["reduction"] == NONE else contiguous("self", "target")(args)


def _nll_work(call: OpCall) -> Work:
    # The score and weight of each target are looked up; a mean divides by the sum of these weights.
    n, reduction = call.args["target"].size, call.args["reduction"]
    work = reduced(n, reduction)
    if call.args["weight"] is not None:
        work = work + Work(multiplies=n, adds=max(n - 1, 0) if reduction != NONE else 0)
    return work


def _nll_access(call: OpCall, output: int) -> AccessMap:
    if call.args["reduction"] != NONE or output == 1 or len(call.args["self"].shape) == 1:
        return everything(call, output)
    rank = len(call.args["self"].shape)
    scores: tuple[AxisMap, ...] = tuple(All() if d == 1 else Affine(d - (d > 1)) for d in range(rank))
    seen = {"self": scores, "target": tuple(map(Affine, range(rank - 1)))}
    return seen if call.args["weight"] is None else {**seen, "weight": (All(),)}


def _samples(args: Arguments) -> tuple[int, int]:
    """(samples, classes) of scores that may lack the dimension of samples."""
    shape = args["self"].shape
    classes = shape[-1] if shape else 1
    return prod(shape[:-1]), classes


def _per_sample(args: Arguments) -> TensorSpec:
    x = args["self"]
    return TensorSpec(x.shape[:-1] if args["reduction"] == NONE else (), x.dtype)


def _margin_work(call: OpCall) -> Work:
    # For each class but the target's: max(0, margin - x_target + x)^p, weighted; their sum over the number of classes.
    samples, classes = _samples(call.args)
    term = Work(adds=2, compares=1, multiplies=call.args["p"] - 1) + _weighted(call.args)
    others = max(classes - 1, 0)
    sample = term.times(others) + Work(adds=max(others - 1, 0), divides=1)
    return sample.times(samples) + reduced(samples, call.args["reduction"])


def _multilabel(args: Arguments) -> Outputs:
    x = args["self"]
    return _per_sample(args), TensorSpec(x.shape, x.dtype)


def _multilabel_work(call: OpCall) -> Work:
    # max(0, 1 - x_label + x_other) for each pair: most where half of the classes are labels.
    samples, classes = _samples(call.args)
    pairs = classes // 2 * (classes - classes // 2)
    sample = Work(adds=2, compares=1).times(pairs) + Work(adds=max(pairs - 1, 0), divides=1)
    return sample.times(samples) + reduced(samples, call.args["reduction"])


def _ctc(args: Arguments) -> Outputs:
    x, labels = args["log_probs"], args["target_lengths"]
    batch = x.shape[1]
    return TensorSpec((batch,), x.dtype), TensorSpec((batch, x.shape[0], 2 * max(labels) + 1), x.dtype)


_STATE = Work(compares=2, adds=3 + 2 + 1 + 1, transcendentals=4)
"""log(exp(a - m) + exp(b - m) + exp(c - m)) + m + log p, with m the greatest of the three states before."""
_LAST = Work(compares=1, adds=2 + 1 + 1, transcendentals=3)
"""The same of the two states that a sequence may end in, without a further symbol."""


def ctc_lengths(args: Mapping[str, Any]) -> tuple[list[int], list[int]]:
    """Each sequence's steps and labels; lengths are lists, or tensors with values, of no dimension for one sequence."""
    given = args["input_lengths"], args["target_lengths"]
    steps, labels = (n.flatten().tolist() if hasattr(n, "flatten") else map(int, n) for n in given)
    return list(steps), list(labels)


def _ctc_states(args: Mapping[str, Any]) -> dict[str, int]:
    """Joins of three states, and how many sequences end in one of two."""
    steps, labels = ctc_lengths(args)
    states = sum(max(t - 1, 0) * (2 * n + 1) for t, n in zip(steps, labels, strict=True))
    return {"states": states, "labelled": sum(n > 0 for n in labels)}


def depends_on_lengths(call: OpCall) -> str | None:
    """Why the work of a call is not known, where its lengths are a tensor without values."""
    if "observed" in call.args or not isinstance(call.args["target_lengths"], TensorSpec):
        return None
    return f"how many steps and labels {call.op} goes through depends on the values of the lengths; none is counted"


def _ctc_work(call: OpCall) -> Work:
    found = (
        {"states": 0, "labelled": 0}
        if depends_on_lengths(call)
        else call.args.get("observed") or _ctc_states(call.args)
    )
    return _STATE.times(found["states"]) + _LAST.times(found["labelled"])


_EACH, _TARGETS = (example(_X, _X), example(_X, _X, NONE), example(_X, _X, SUM)), (example(_LOGITS, _CLASSES),)

register(
    pointwise_loss("mse_loss", term=lambda args: Work(adds=1, multiplies=1), source="torch.nn.MSELoss: (x - t)^2",
                   temporaries=_unreduced,
                   examples=_EACH),
    pointwise_loss("smooth_l1_loss", term=_smooth_l1, source="torch.nn.SmoothL1Loss, both cases",
                   temporaries=_unreduced,
                   examples=(*_EACH, example(_X, _X, MEAN, 0.0))),
    pointwise_loss(
        "huber_loss", term=lambda args: Work(adds=2, compares=1, multiplies=3), examples=_EACH,
        source="torch.nn.HuberLoss, both cases: d * d / 2 and delta * (|d| - delta / 2) of d = x - t",
    ),
    pointwise_loss(
        "soft_margin_loss", term=lambda args: Work(multiplies=1, transcendentals=2, adds=1), examples=_EACH,
        source="torch.nn.SoftMarginLoss: log(1 + exp(-t x))", temporaries=_unreduced,
    ),
    pointwise_loss(
        "binary_cross_entropy", term=_cross_entropy, outputs=_like_self, source="torch.nn.BCELoss",
        temporaries=_unreduced,
        examples=(example(_X, _X), example(_X, _X, _X, NONE)),
    ),
    pointwise_loss(
        "binary_cross_entropy_with_logits", term=_cross_entropy_of_logits, once=_positive_less_one,
        source="torch.nn.BCEWithLogitsLoss", temporaries=_of_logits,
        examples=(example(_X, _X), example(_X, _X, None, TensorSpec((4,)), NONE), example(_X, _X, _X, None, SUM)),
    ),
    *(
        Rule(targets=(target,), kind=always("other"), outputs=_nll, work=_nll_work, traffic=every_argument,
             access=_nll_access, temporaries=_in_rows, fusible=False,
             source="torch.nn.NLLLoss: the target's score, weighted", free_because=None, examples=examples)
        for target, examples in (
            ("aten.nll_loss_forward.default", (example(_LOGITS, _CLASSES, None, MEAN, -100),
                                               example(_LOGITS, _CLASSES, _WEIGHT, NONE, -100))),
            ("aten.nll_loss2d_forward.default", (example(_MAPS, _CLASS_MAP, None, MEAN, -100),
                                                 example(_MAPS, _CLASS_MAP, _WEIGHT, NONE, -100))),
        )
    ),
    Rule(
        targets=("aten.multi_margin_loss.default",), kind=always("other"), outputs=_per_sample, work=_margin_work,
        traffic=every_argument, access=everything, temporaries=contiguous("self"), fusible=False,
        source="torch.nn.MultiMarginLoss", free_because=None,
        examples=(*_TARGETS, example(_LOGITS, _CLASSES, 2, 1, _WEIGHT, NONE)),
    ),
    Rule(
        targets=("aten.multilabel_margin_loss_forward.default",), kind=always("other"), outputs=_multilabel,
        work=_multilabel_work, traffic=every_argument, access=everything, temporaries=contiguous("self", "target"),
        fusible=False, source="torch.nn.MultiLabelMarginLoss, with as many labels as give the most pairs",
        free_because=None,
        examples=(example(_LOGITS, TensorSpec((4, 5), "int64"), MEAN),),
    ),
    *(
        Rule(targets=(target,), kind=always("other"), outputs=outputs, work=_ctc_work, traffic=every_argument,
             access=everything, temporaries=no_temporaries, fusible=False,
             source="Graves et al., Connectionist Temporal Classification (ICML 2006), equations 6 to 8, by logarithms",
             free_because=None, examples=(case,), bound_because=depends_on_lengths, observe=observe)
        for target, outputs, observe, case in (
            ("aten._ctc_loss.default", _ctc, None,
             example(TensorSpec((6, 2, 5)), TensorSpec((2, 3), "int64"), [6, 5], [3, 2], 4)),
            # The lengths' values decide the shape of its second output, so torch runs it.
            ("aten._ctc_loss.Tensor", Torch.META, _ctc_states,
             example(TensorSpec((6, 2, 5)), TensorSpec((2, 0), "int64"), TensorSpec((2,), "int64"),
                     TensorSpec((2,), "int64"))),
        )
    ),
)  # fmt: skip
