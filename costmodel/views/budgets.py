"""What is said of a model that is held to a budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from costmodel.views import text, units
from costmodel.views.styled import Part, Text
from costmodel.views.training import words

if TYPE_CHECKING:
    from costmodel.budgets.bounds import Bound
    from costmodel.budgets.finding import Finding
    from costmodel.budgets.subject import Subject
    from costmodel.budgets.verdict import Verdict
    from costmodel.measures import Number

_WORDS = {"<=": "of at most", ">=": "of at least", "<": "of less than", ">": "of more than", "==": "of exactly"}


def parts(verdict: Verdict) -> list[Part | str]:
    """Coverage and cross-checks, and a line for each bound."""
    said = [*text.verdict_parts(verdict.profile, verdict.crosscheck), *text.closed_form_parts(verdict.closed_form)]
    step = verdict.step
    if step is not None:
        said += [Text(f"{words.title(step)}:", style="dim"), *text.verdict_parts(step, step.crosscheck())]
    return [*said, *map(line, verdict.findings)]


def parts_of_file(verdicts: Mapping[str, Verdict]) -> list[Part | str]:
    """The same of each budget of a file, below its name, and a line for all."""
    said: list[Part | str] = []
    for name, verdict in verdicts.items():
        model = "" if name == verdict.name else f": {units.printable(verdict.name)}"
        said += [Text.assemble((units.printable(name), "bold"), model), *parts(verdict), ""]
    failed = [units.printable(name) for name, verdict in verdicts.items() if not verdict.ok]
    number = units.plural(len(verdicts), "budget")
    if failed:
        return [*said, Text.assemble(("✗ ", "red"), f"not kept: {', '.join(failed)} (of {number})")]
    return [*said, Text.assemble(("✓ ", "green"), f"{number} kept")]


def failure(subject: Subject, findings: Sequence[Finding]) -> list[Part | str]:
    """What an assertion says: the bounds that are not kept, and why figures are no more than bounds themselves."""
    said: list[Part | str] = [f"{units.printable(subject.name)} does not keep its budget:"]
    missed = [finding for finding in findings if not finding.is_kept]
    said += map(line, missed)
    for of_step in {finding.bound.quantity.of_step: None for finding in missed if not finding.is_exact}:
        said += text.coverage_parts(subject.step if of_step else subject.profile)
    return said


def line(finding: Finding) -> Text:
    """A figure beside its bound: ``✗ MACs: 301 MMACs of at most 200 MMACs, 50.4% over``."""
    bound, of = finding.bound, finding.bound.quantity
    where = f" {finding.where}" if finding.where else ""
    value, limit = _figure(bound, finding.value), _figure(bound, _number(bound.limit))
    if value == limit and not finding.is_kept:  # rounding hides the difference
        value, limit = _every_digit(bound, finding.value), _every_digit(bound, _number(bound.limit))
    value = value if finding.is_exact else f"{'≤' if of.falls else '≥'} {value}"
    within = f" ± {100 * float(bound.tolerance):g}%" if bound.tolerance else ""
    mark = ("✓ ", "green") if finding.is_kept else ("✗ ", "red")
    return Text.assemble(mark, f"{of.title}{where}: {value} {_WORDS[bound.operator]} {limit}{within}{_why(finding)}")


def _why(finding: Finding) -> str:
    if finding.is_kept:
        return ""
    over = Fraction(finding.value) - finding.bound.limit
    if finding.bound.holds(finding.value):
        return f", but only {'an upper' if finding.bound.quantity.falls else 'a lower'} bound of it is known"
    share = units.share(float(abs(over)), float(finding.bound.limit))
    return f", {share} {'over' if over > 0 else 'under'}" if share and over else ""


def _figure(bound: Bound, value: Number) -> str:
    of = bound.quantity
    if of.symbol == "s":
        return units.seconds(float(value))
    if bound.operator == "==" or of.unit == "samples":
        return _every_digit(bound, value)
    return units.si(value, of.symbol or f" {of.unit}")


def _every_digit(bound: Bound, value: Number) -> str:
    return f"{units.grouped(value)} {bound.quantity.unit}"


def _number(limit: Fraction) -> Number:
    return int(limit) if limit.denominator == 1 else float(limit)


def as_json(verdict: Verdict) -> dict[str, Any]:
    """The same as values of JSON. ``budgets`` has the upper bounds by quantity, ``bounds`` every one."""
    step, whole = verdict.step, verdict.closed_form
    upper = [finding for finding in verdict.findings if finding.bound.operator == "<="]
    training = {} if step is None else {"training_step": {"ok": step.crosscheck().ok, "is_exact": step.is_exact}}
    return {
        "ok": verdict.ok, "crosscheck": verdict.crosscheck.ok, "checked": verdict.crosscheck.checked,
        "is_exact": verdict.profile.is_exact,
        "budgets": {
            f.bound.quantity.name: {"limit": _number(f.bound.limit), "value": f.value, "ok": f.is_kept} for f in upper
        },
        "bounds": [
            {
                "quantity": f.bound.quantity.name, "operator": f.bound.operator, "limit": _number(f.bound.limit),
                "tolerance": float(f.bound.tolerance), "value": f.value, "is_exact": f.is_exact, "where": f.where,
                "ok": f.is_kept,
            }
            for f in verdict.findings
        ],
        "mismatches": [[c.name, c.quantity] for c in verdict.crosscheck.mismatches],
        "closed_form": None if whole is None else whole.ok,
        "differences": [] if whole is None else [[d.layer, d.quantity] for d in whole.differences],
        **training,
    }  # fmt: skip
