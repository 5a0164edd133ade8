"""The figures of a profile as cells of printed tables: rounded, with their units, lower bounds marked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from costmodel.measures import Measure
from costmodel.views import units

if TYPE_CHECKING:
    from costmodel.conventions.reconciliation import Reconciliation
    from costmodel.conventions.recount import Recount
    from costmodel.profiling import Profile
    from costmodel.training import TrainingStep


def inputs(p: Profile | Recount | Reconciliation) -> str:
    """What a model was given: shape and dtype of each input.

    >>> import costmodel
    >>> inputs(costmodel.profile("resnet18"))
    '1×3×224×224 float32'
    """
    return ", ".join(f"{units.shape(t.shape)} {t.dtype}" for t in p.inputs) or "nothing"


def whole_field(p: Profile) -> str | None:
    """Why a network's receptive field is the whole input, where attention makes it so, and how far it is local."""
    if p.global_attention is None:
        return None
    field = p.local_receptive_field
    size = "" if field is None else units.extent(field.size)
    before = f"; before it {size} position{'' if size == '1' else 's'}, at {field.layer}" if field else ""
    return f"the whole input, as attention joins all positions from {p.global_attention} on{before}"


def beyond_the_peak(p: Profile) -> str | None:
    """What the peak of a training-mode forward leaves out, and what has it."""
    if p.mode != "train":
        return None
    return (
        "peak memory is this forward's alone: what autograd keeps for the backward pass, gradients and optimizer state "
        "are in costmodel.training_step and `costmodel train`"
    )


def is_exact(p: Profile | TrainingStep, measure: Measure) -> bool:
    """Whether a total is more than a lower bound."""
    return p.is_exact or not measure.needs_rules


def total_cell(p: Profile, measure: Measure) -> str:
    """A model's total."""
    return units.cell(measure.name, p.total(measure.name), exact=is_exact(p, measure))


def layer_cells(p: Profile, measure: Measure) -> list[str]:
    """What each layer has."""
    return [
        units.cell(measure.name, figure, exact=layer.is_exact or not measure.needs_rules)
        for layer, figure in zip(p.pricing.layers, p.figures(measure.name), strict=True)
    ]
