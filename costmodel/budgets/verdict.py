"""What ``costmodel check`` says of a model: whether its figures are derived twice and agree, and keep its bounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from costmodel.budgets.bounds import Bound
from costmodel.budgets.finding import Finding, held
from costmodel.budgets.subject import Subject
from costmodel.loading import parse
from costmodel.shown import Shown
from costmodel.training import TrainingStep

if TYPE_CHECKING:
    from costmodel.cross_check import CrossCheck
    from costmodel.models.closed import ClosedFormCheck
    from costmodel.profiling import Profile


@dataclass(frozen=True, eq=False)
class Verdict(Shown):
    """A model that was checked."""

    view: ClassVar[str] = "budget"

    name: str
    profile: Profile
    step: TrainingStep | None
    """Its training step, where a bound is on a figure of one."""
    crosscheck: CrossCheck
    closed_form: ClosedFormCheck | None
    """The trace compared with the closed form of the whole network, if it is one of the library's own."""
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether both derivations agree, every op has a rule, and every bound is kept."""
        parts = [self.profile.is_exact, self.crosscheck.ok, *(finding.is_kept for finding in self.findings)]
        parts += [] if self.closed_form is None else [self.closed_form.ok]
        parts += [] if self.step is None else [self.step.is_exact, self.step.crosscheck().ok]
        return all(parts)


def verdict(subject: Subject, bounds: Sequence[Bound]) -> Verdict:
    """Checks a model, and holds it to bounds."""
    saved = subject.saved
    of_step = isinstance(saved, TrainingStep) or any(bound.quantity.of_step for bound in bounds)
    p, step = subject.profile, subject.step if of_step else None
    # The forward of a step runs under autograd, where some layers do more: the step's own cross-check knows.
    found = saved.crosscheck() if isinstance(saved, TrainingStep) else p.crosscheck()
    return Verdict(subject.name, p, step, found, _closed_form(subject), held(subject, bounds))


def _closed_form(subject: Subject) -> ClosedFormCheck | None:
    if subject.saved is not None:
        return None
    spec = parse(subject.name)
    if spec.scheme:
        return None
    from costmodel.models import check_closed_form

    return check_closed_form(subject.profile, spec.name, **(spec.kwargs or {}))
