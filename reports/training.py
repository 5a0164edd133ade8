"""What a training step of every network costs: training.md, with a figure."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import costmodel
from costmodel import models
from costmodel.comparison.steps import StepComparison
from costmodel.views import figures, units
from costmodel.views.markdown import coverage_line, table, verdict
from costmodel.views.training import comparison, words

if TYPE_CHECKING:
    from costmodel.training import TrainingStep

BATCH = 32
DRAWN = ("alexnet", "vgg16", "googlenet", "resnet50", "mobilenet_v2", "shufflenet_v2", "efficientnet_b0")
"""The networks of the figure."""

ABOUT = (
    f"One training step of each network of this library: forward, the sum of its outputs as the loss, backward, and an "
    f"update with AdamW, on {BATCH} samples of its paper's size in float32. Nothing was run: the step is traced on "
    "tensors without values. Memory is that of a step after the first, when the optimizer's state is there."
)
RATIO = (
    "The backward pass is never exactly twice the forward. It computes the gradient of each layer's input and of its "
    "weight, each as many multiply-accumulates as the forward, but for the first layer: nobody asks for the gradient "
    "of the network's input. The more of the MACs lie in the first layer, the further below 2 the ratio is."
)
MEMORY = (
    "Saved: all that autograd keeps at the end of the forward, the network's input included. The columns behind it are "
    "what memory holds at the peak, which is in the phase of the last column. By then the backward pass may have freed "
    f"a part of what was saved. {words.LEFT_OUT}"
)


@cache
def steps() -> dict[str, TrainingStep]:
    """The step of every network, by its name."""
    return {name: _step(name) for name in models.list_models()}


def _step(name: str) -> TrainingStep:
    model: Any = costmodel.load(name, weights=False)
    return costmodel.training_step(name, (BATCH, *model.example_inputs[1:]), optimizer="adamw")


def files() -> dict[str, bytes]:
    """The report's files, by their names."""
    drawn = comparison.of_comparison(StepComparison({name: steps()[name] for name in DRAWN}))
    caption, figure = drawn["memory"]
    made = {"training_figures/memory.svg": figures.svg(figure)}
    return {"training.md": _markdown(steps(), next(iter(made)), caption).encode(), **made}


def _markdown(found: dict[str, TrainingStep], picture: str, caption: str) -> str:
    costs = [
        [f"`{name}`", words.inputs(s).partition(" ")[0], units.cell("params", s.params),
         units.cell("macs", s.forward.macs, exact=s.is_exact), units.cell("macs", s.backward.macs, exact=s.is_exact),
         f"{s.backward.macs / s.forward.macs:.4f}", units.cell("flops", s.update.flops, exact=s.is_exact),
         words.amount(s, s.memory_access_bytes)]
        for name, s in found.items()
    ]  # fmt: skip
    categories = words.order(dict.fromkeys(c for s in found.values() for c, _ in words.memory(s)))
    memory = []
    for name, s in found.items():
        held = dict(words.memory(s))
        cells = [words.amount(s, held.get(category, 0)) for category in categories]
        memory.append(
            [f"`{name}`", words.amount(s, s.saved_bytes), *cells, words.amount(s, s.peak_memory), s.peak.phase]
        )
    unequal = [name for name, s in found.items() if not s.crosscheck().ok]
    head = [
        "network", "input", "params", "forward MACs", "backward MACs", "backward / forward", "update FLOPs",
        "memory access",
    ]  # fmt: skip
    checked = sum(s.crosscheck().checked for s in found.values())
    trust = [f"{units.plural(checked, 'layer')} were derived twice, forward and backward, and all agree."]
    if unequal:
        trust = [f"- `{name}`: {verdict(found[name].crosscheck())}" for name in unequal]
    trust += [f"- `{name}`: {coverage_line(s.coverage)}" for name, s in found.items() if not s.is_exact]
    return "\n\n".join([
        "# What a training step costs",
        ABOUT,
        f"![{caption}]({picture})",
        "## Computing",
        RATIO,
        table(head, costs, left=2),
        "## Memory",
        MEMORY,
        table(["network", "saved", *categories, "peak", "in the"], memory),
        "## Is it true?",
        "\n".join(trust),
    ]) + "\n"  # fmt: skip
