"""The losses of ``torch.nn``: the hyper-parameters of each, and the formula that takes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from costmodel import formulas as f
from costmodel.formulas import LayerCost
from costmodel.graph import TensorSpec
from costmodel.layers.names import ClassName, nn
from costmodel.layers.registry import Also, Call, Formula, add

if TYPE_CHECKING:
    from torch.nn import Module


def _add(*names: ClassName, formula: Formula, takes: str = "input target", **options: Any) -> None:
    """Registers losses, whose formulas are of real numbers."""
    add(*names, formula=lambda call: None if call.complex_valued else formula(call), takes=takes, **options)


def _weights(*names: str) -> Also:
    """Reads the shapes of optional buffers off a loss; ``None`` where elements of one share memory."""

    def read(module: Module) -> Mapping[str, Any] | None:
        found = {name: getattr(module, name) for name in names}
        given = [weight for weight in found.values() if weight is not None]
        if any(n > 1 and stride == 0 for w in given for n, stride in zip(w.shape, w.stride(), strict=True)):
            return None
        return {name: None if weight is None else tuple(weight.shape) for name, weight in found.items()}

    return read


def _pair(formula: Callable[[Call, tuple[int, ...], tuple[int, ...]], LayerCost]) -> Formula:
    """Of a prediction and a target; where they are one tensor, a kernel that takes both reads it once."""

    def cost_of(call: Call) -> LayerCost | None:
        x, t = call.inputs
        cost = formula(call, x.shape, t.shape)
        if not call.given_again:
            return cost
        # Of one tensor twice the backward pass is traced only.
        return replace(cost, read=cost.read - call.given_again, gradient=None)

    return cost_of


def _apart(formula: Formula) -> Formula:
    """Where tensors that are given twice are not told from each other."""
    return lambda call: None if call.given_again else formula(call)


def _elementwise(name: str) -> Formula:
    return _pair(lambda call, x, t: f.elementwise_loss(name=name, shape=x, target=t, reduction=call["reduction"]))


add(
    nn.L1Loss,
    hyper="reduction",
    takes="input target",
    formula=_pair(
        lambda call, x, t: f.elementwise_loss(
            name="l1", shape=x, target=t, reduction=call["reduction"], complex_valued=call.complex_valued
        )
    ),
)
_add(nn.MSELoss, hyper="reduction", formula=_elementwise("mse"))
_add(nn.HuberLoss, hyper="reduction delta", formula=_elementwise("huber"))
_add(nn.SoftMarginLoss, hyper="reduction", formula=_elementwise("soft_margin"))
_add(nn.HingeEmbeddingLoss, hyper="reduction margin", formula=_apart(_elementwise("hinge_embedding")))
_add(
    nn.SmoothL1Loss,
    hyper="reduction beta",
    formula=_pair(
        lambda call, x, t: f.elementwise_loss(
            # Without a quadratic part it is the absolute difference.
            name="l1" if call["beta"] == 0 else "smooth_l1", shape=x, target=t, reduction=call["reduction"]
        )
    ),
)  # fmt: skip
_add(
    nn.KLDivLoss,
    hyper="reduction log_target",
    formula=_pair(
        lambda call, x, t: f.elementwise_loss(
            name="kl_div_log_target" if call["log_target"] else "kl_div", shape=x, target=t,
            reduction=call["reduction"],
        )
    ),
)  # fmt: skip
_add(
    nn.BCELoss,
    hyper="reduction",
    also=_weights("weight"),
    formula=_pair(
        lambda call, x, _: f.binary_cross_entropy(shape=x, weight=call["weight"], reduction=call["reduction"])
    ),
)
_add(
    nn.BCEWithLogitsLoss,
    hyper="reduction",
    also=_weights("weight", "pos_weight"),
    formula=_pair(
        lambda call, x, _: f.binary_cross_entropy(
            shape=x, logits=True, weight=call["weight"], pos_weight=call["pos_weight"], reduction=call["reduction"]
        )
    ),
)
_add(
    nn.PoissonNLLLoss,
    hyper="reduction log_input full",
    takes="log_input target",
    formula=_apart(
        _pair(
            lambda call, x, t: f.poisson_nll_loss(
                shape=x, target=t, log_input=call["log_input"], full=call["full"], reduction=call["reduction"]
            )
        )
    ),
)


def _gaussian(call: Call) -> LayerCost | None:
    x, t, var = call.given.values()
    is_number = not isinstance(var, TensorSpec)
    if is_number and call.complex_valued:
        return None  # of such a variance torch makes a complex tensor, which it then refuses to compare
    shape = x.shape if is_number else (*var.shape, 1) if var.shape == x.shape[:-1] != x.shape else var.shape
    return f.gaussian_nll_loss(
        shape=x.shape, target=t.shape, var=shape, var_is_number=is_number, full=call["full"],
        reduction=call["reduction"], complex_valued=call.complex_valued,
    )  # fmt: skip


add(nn.GaussianNLLLoss, hyper="reduction full", formula=_apart(_gaussian), takes="input target var")


# -- classes -----------------------------------------------------------------------------------------------------------


def _scores(x: TensorSpec) -> dict[str, Any]:
    """The arguments for scores (classes), or (batch, classes, *size)."""
    if len(x.shape) == 1:
        return {"classes": x.shape[0]}
    return {"classes": x.shape[1], "batch": x.shape[0], "size": x.shape[2:]}


def _is_flattened(call: Call) -> bool:
    """Whether torch looks at the positions as one row, for which it copies what is not contiguous."""
    return len(call.shape) == 3 or len(call.shape) > 4


def _nll(call: Call) -> LayerCost | None:
    x, t = call.inputs
    if _is_flattened(call) and not (x.is_contiguous and t.is_contiguous):
        return None
    return f.nll_loss(**_scores(x), weight=call["weight"] is not None, reduction=call["reduction"])


def _cross_entropy(call: Call) -> LayerCost | None:
    x, t = call.inputs
    probabilities = t.shape == x.shape
    if _is_flattened(call) and not (x.is_contiguous and t.is_contiguous):
        return None
    return f.cross_entropy(
        **_scores(x), probabilities=probabilities, weight=call["weight"] is not None,
        label_smoothing=call["label_smoothing"], reduction=call["reduction"],
    )  # fmt: skip


_add(nn.NLLLoss, hyper="reduction ignore_index", also=_weights("weight"), formula=_nll)
_add(
    nn.CrossEntropyLoss, hyper="reduction ignore_index label_smoothing", also=_weights("weight"),
    formula=_cross_entropy,
)  # fmt: skip


def _of_rows(formula: Callable[[Call, int, tuple[int, ...]], LayerCost]) -> Formula:
    """Of scores (classes), or (batch, classes)."""
    return _apart(lambda call: formula(call, call.shape[-1], call.shape[:-1]))


_add(
    nn.MultiMarginLoss,
    hyper="reduction p",
    also=_weights("weight"),
    formula=_of_rows(
        lambda call, classes, batch: f.multi_margin_loss(
            classes=classes, batch=batch, p=call["p"], weight=call["weight"] is not None, reduction=call["reduction"]
        )
    ),
)
_add(
    nn.MultiLabelMarginLoss,
    hyper="reduction",
    formula=_of_rows(
        lambda call, classes, batch: f.multilabel_margin_loss(
            classes=classes, batch=batch, reduction=call["reduction"]
        )
    ),
)  # fmt: skip
_add(
    nn.MultiLabelSoftMarginLoss,
    hyper="reduction",
    also=_weights("weight"),
    formula=_of_rows(
        lambda call, classes, batch: f.multilabel_soft_margin_loss(
            classes=classes, batch=batch, weight=call["weight"] is not None, reduction=call["reduction"]
        )
    ),
)


# -- pairs and triplets ------------------------------------------------------------------------------------------------


def _margin_ranking(call: Call) -> LayerCost | None:
    x, y, t = call.inputs
    return f.margin_ranking_loss(shape=x.shape, other=y.shape, target=t.shape, reduction=call["reduction"])


def _same_vectors(call: Call, number: int) -> bool:
    """Whether the first tensors are vectors or rows of vectors, all of one shape."""
    shapes = {t.shape for t in call.inputs[:number]}
    return len(shapes) == 1 and len(call.shape) > 0


def _cosine(call: Call) -> LayerCost | None:
    if not _same_vectors(call, 2) or call.inputs[2].shape != call.shape[:-1]:
        return None
    return f.cosine_embedding_loss(features=call.shape[-1], rows=call.shape[:-1], reduction=call["reduction"])


def _triplet(call: Call) -> LayerCost | None:
    if not _same_vectors(call, 3) or call["p"] <= 0:
        return None
    return f.triplet_margin_loss(
        features=call.shape[-1], rows=call.shape[:-1], p=call["p"], swap=call["swap"], reduction=call["reduction"]
    )


def _pairwise(module: Any) -> Mapping[str, Any] | None:
    """The norm that the distance is; ``None`` where it is another function."""
    distance = module.distance_function
    plain = nn.PairwiseDistance.is_class(type(distance)) and not distance.keepdim
    return {"p": distance.norm} if plain else None


_PAIR, _TRIPLET = "input1 input2 target", "anchor positive negative"
_add(nn.MarginRankingLoss, hyper="reduction margin", formula=_apart(_margin_ranking), takes=_PAIR)
_add(nn.CosineEmbeddingLoss, hyper="reduction margin", formula=_apart(_cosine), takes=_PAIR)
_add(nn.TripletMarginLoss, hyper="reduction p swap", formula=_apart(_triplet), takes=_TRIPLET)
_add(nn.TripletMarginWithDistanceLoss, hyper="reduction swap", also=_pairwise, formula=_apart(_triplet), takes=_TRIPLET)


# -- one op, or values -------------------------------------------------------------------------------------------------


def _lengths(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """How long each sequence and its target are; ``None`` where a tensor has no values."""
    return {"steps": _numbers(given["input_lengths"]), "labels": _numbers(given["target_lengths"])}


def _numbers(given: Any) -> tuple[int, ...] | None:
    import torch

    from costmodel.torch_private import without_modes

    if isinstance(given, torch.Tensor):
        if type(given) is not torch.Tensor or given.is_meta:
            return None
        with without_modes():
            given = given.flatten().tolist()
    return tuple(map(int, given))


def _ctc(call: Call) -> LayerCost | None:
    x, targets, _, labels = call.given.values()
    if call["steps"] is None or call["labels"] is None:
        return None
    return f.ctc_loss(
        classes=x.shape[-1], steps=x.shape[0], input_lengths=call["steps"], target_lengths=call["labels"],
        padded_to=targets.shape[1] if len(targets.shape) == 2 else None, batched=len(x.shape) == 3,
        lengths_in_tensors=isinstance(labels, TensorSpec), zero_infinity=call["zero_infinity"],
        reduction=call["reduction"],
    )  # fmt: skip


_add(
    nn.CTCLoss, hyper="reduction zero_infinity", values=_lengths, formula=_ctc,
    takes="log_probs targets input_lengths target_lengths",
)  # fmt: skip


def _linear(module: Any) -> Mapping[str, Any] | None:
    """What the formula asks of the linear layer inside, and whether chunks are wanted."""
    from costmodel.torch_private import chunks_probabilities, registered_on

    weights, linear = _weights("weight")(module), module.linear
    if weights is None or not nn.Linear.is_class(type(linear)):
        return None
    if registered_on(linear)[0].keys() != {"weight", "bias"}:
        return None
    chunked = module.options is not None
    return {
        **weights,
        "bias": linear.bias is not None,
        "chunked": chunked,
        "chunked_probabilities": chunked and chunks_probabilities(),
    }


def _linear_cross_entropy(call: Call) -> LayerCost | None:
    x, t = call.inputs
    batch, size = x.shape[:-1], tuple(call["out_features"])
    probabilities = t.shape == (*batch, call["num_classes"], *size)
    wanted = call["chunked_probabilities" if probabilities else "chunked"]
    return f.linear_cross_entropy(
        in_features=x.shape[-1], classes=call["num_classes"], batch=batch, size=size, bias=call["bias"],
        probabilities=probabilities, weight=call["weight"] is not None, label_smoothing=call["label_smoothing"],
        chunked=wanted and not size and call["label_smoothing"] == 0, reduction=call["reduction"],
    )  # fmt: skip


_add(
    nn.LinearCrossEntropyLoss,  # from torch 2.13 on
    hyper="num_classes out_features reduction label_smoothing", also=_linear, formula=_linear_cross_entropy,
    kind="linear",
)  # fmt: skip
