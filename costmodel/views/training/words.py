"""What all views of a training step say: its head, its phases, its peak, the layers that keep most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from costmodel.views import cells, palette, units
from costmodel.views.tree import Node, sums, tree_of

if TYPE_CHECKING:
    from costmodel.profiling import Profile
    from costmodel.training import TrainingStep

PHASES = ("forward", "loss", "backward", "update")


def phases(step: TrainingStep) -> list[tuple[str, Profile]]:
    """The phases of a step, in order, without those that run nothing."""
    every: list[tuple[str, Profile]] = [(name, getattr(step, name)) for name in PHASES]
    return [(name, p) for name, p in every if p.graph.ops or name in ("forward", "backward")]


def title(step: TrainingStep) -> str:
    """What kind of step it is: ``one training step with AdamW on 32 samples``."""
    how = [f"with {step.optimizer}" if step.optimizer else "without an update"]
    how += [f"on {units.plural(step.batch, 'sample')}"] if step.batch else []
    how += [f"{step.steps} times, gradients added up"] if step.steps > 1 else []
    how += [f"autocast to {step.autocast}"] if step.autocast else []
    return f"one training step {', '.join([' '.join(how[:2]), *how[2:]])}"


def inputs(step: TrainingStep) -> str:
    """What the model was given."""
    return cells.inputs(step.forward)


def ratio(step: TrainingStep) -> str:
    """The backward pass beside the forward pass, which is hardly ever twice."""
    if not step.forward.macs:
        return ""
    again = f", {units.share(step.recomputed_macs, step.backward.macs)} of them recomputed" * bool(step.recomputed_macs)
    return f"the backward pass has {step.backward.macs / step.forward.macs:.3f} times the forward's MACs{again}"


def amount(step: TrainingStep, nbytes: int) -> str:
    """Bytes, rounded; a lower bound is marked."""
    return units.si(nbytes, "B", exact=step.is_exact)


def memory(step: TrainingStep) -> list[tuple[str, int]]:
    """Each category with its bytes at the peak, the largest first; those of none are left out."""
    table = step.memory
    rows = [(str(c), int(n)) for c, n in zip(table["category"], table["bytes"], strict=True)]
    return sorted(((c, n) for c, n in rows if n), key=lambda row: -row[1])


def where(step: TrainingStep) -> str:
    """Where the peak is: phase, module and op."""
    peak = step.peak
    place = f" of {units.printable(peak.module)}" if peak.module else ""
    return f"in the {peak.phase}{place}, while {peak.op} runs" if peak.op else "where nothing runs"


def first_differs(step: TrainingStep) -> bool:
    """Whether the very first step, in which the optimizer makes its state, has another peak."""
    return bool(step.optimizer) and step.first_peak_memory != step.peak_memory


def remarks(step: TrainingStep) -> list[str]:
    """What tables of a step do not say."""
    said = [r] if (r := ratio(step)) else []
    of_inputs = f", {amount(step, step.saved_input_bytes)} of them the model's inputs" * bool(step.saved_input_bytes)
    said.append(f"autograd keeps {amount(step, step.saved_bytes)} of activations for the backward pass{of_inputs}")
    if first_differs(step):
        said.append(
            f"the very first step, in which the optimizer makes its state, peaks at "
            f"{amount(step, step.first_peak_memory)}"
        )
    return said


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of a step."""

    name: str
    type: str
    kind: str
    saved: int
    forward_macs: int
    backward_macs: int


def layers(step: TrainingStep) -> list[Layer]:
    """Every layer, in the order in which they ran."""
    columns = ("name", "type", "kind", "saved_bytes", "forward_macs", "backward_macs")
    table = step.layers
    return [Layer(*row) for row in zip(*(table[name].tolist() for name in columns), strict=True)]


def tree(step: TrainingStep) -> Node:
    """The layers as the tree of calls of the forward; and below it what of the backward pass belongs to none."""
    rows, names = layers(step), ("saved", "forward_macs", "backward_macs")
    ran = len(step.forward.pricing.layers)
    root = tree_of(step.forward, {name: [getattr(x, name) for x in rows[:ran]] for name in names}, names)
    for leaf, x in zip(root.leaves(), rows[:ran], strict=True):
        leaf.kind = x.kind
    root.children += [
        Node(x.name, x.name, x.type, x.kind, figures={name: getattr(x, name) for name in names}, is_op=True)
        for x in rows[ran:]
    ]
    root.figures = sums(root.children, names, names)
    return root


def kept_by_several(step: TrainingStep) -> list[str]:
    """That shares of what layers keep add up to more than the whole, where they do."""
    if sum(x.saved for x in layers(step)) <= step.saved_bytes:
        return []
    return ["a tensor that two layers keep counts in each: shares add up to more than 100%"]


def keepers(step: TrainingStep, top: int) -> list[Layer]:
    """The layers for which autograd keeps most, the greatest first."""
    return sorted((x for x in layers(step) if x.saved), key=lambda x: -x.saved)[:top]


def by_kind(step: TrainingStep) -> list[tuple[str, int, int, int]]:
    """Each kind of layer with the MACs of its forward and backward passes and the bytes kept, most MACs first."""
    sums: dict[str, tuple[int, int, int]] = {}
    for x in layers(step):
        forward, backward, saved = sums.get(x.kind, (0, 0, 0))
        sums[x.kind] = forward + x.forward_macs, backward + x.backward_macs, saved + x.saved
    rows = [(kind, *figures) for kind, figures in sums.items() if any(figures)]
    return sorted(rows, key=lambda row: (-row[1] - row[2], -row[3]))


def order(categories: Any) -> list[str]:
    """Categories of memory in the order of stacks."""
    known = list(categories)
    return [c for c in palette.MEMORY if c in known] + [c for c in known if c not in palette.MEMORY]


LEFT_OUT = (
    "Not in any figure: communication between devices, pipeline bubbles, kernels' workspaces, and the allocator's "
    "rounding and fragmentation."
)
"""What a step on real devices has in addition."""
