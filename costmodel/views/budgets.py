"""What is said of a model that is held to a budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from costmodel.views import compact, markdown, text, units
from costmodel.views.markdown import collapsed, escape
from costmodel.views.styled import Part, Text
from costmodel.views.training import words

if TYPE_CHECKING:
    from costmodel.budgets.bounds import Bound
    from costmodel.budgets.finding import Finding
    from costmodel.budgets.subject import Subject
    from costmodel.budgets.verdict import Verdict
    from costmodel.cross_check import CrossCheck
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


def as_markdown(verdicts: Mapping[str, Verdict], *, size: int = 4_000) -> str:
    """What was checked, for a pull request: in a line, what failed, and, collapsed, every bound.

    At most ``size`` characters, for a comment has a difference, too: what would be longer is left out, and it is said.
    """
    failed = [name for name, verdict in verdicts.items() if not verdict.ok]
    number = units.plural(len(verdicts), "budget")
    said = [f"### Budgets: {f'❌ {len(failed):,} of {number} not kept' if failed else f'✅ {number} kept'}"]
    said += [f"- **{escape(name)}**: {'; '.join(_wrong(verdicts[name]))}" for name in failed]
    every = [
        f"- **{escape(name)}**, {escape(verdict.name)}\n"
        + "\n".join(f"  - {escape(line(finding).plain)}" for finding in verdict.findings)
        for name, verdict in verdicts.items()
        if verdict.findings
    ]
    if every:
        said.append("\n" + collapsed("Every bound", "\n".join(every)))
    fit = [line for line, length in zip(said, accumulate(len(line) + 1 for line in said), strict=True) if length < size]
    left_out = ["", "Left out, for it is too long: the rest of this list."] if len(fit) < len(said) else []
    head, *listed = [*fit, *left_out]
    return "\n".join([head, "", *listed]).rstrip() + "\n"


def _wrong(verdict: Verdict) -> list[str]:
    """Why a model is not ok, in Markdown."""
    said = [escape(line(finding).plain.removeprefix("✗ ")) for finding in verdict.findings if not finding.is_kept]
    for checked in (verdict.profile, verdict.step):
        if checked is not None:
            check = verdict.crosscheck if checked is verdict.profile else checked.crosscheck()
            said += [markdown.verdict(check)] if check.mismatches else []
            said += [] if check.total is None or check.total.agrees else [units.of_counter(check.total)]
            said += [] if checked.is_exact else [markdown.coverage_line(checked.coverage)]
    if verdict.closed_form is not None and not verdict.closed_form.ok:
        layers = dict.fromkeys(escape(d.layer or "the model itself") for d in verdict.closed_form.differences)
        said.append(f"the closed form of the whole network disagrees: {', '.join([*layers][:5])}")
    return said


def _against(check: CrossCheck) -> dict[str, Any]:
    total = check.total
    if total is None:
        return {}
    named = {"tool": total.tool, "version": total.version, "unit": total.unit}
    return {"against": {**named, "derived": total.counted, "live": total.live, "ok": total.agrees}}


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
        **_against(verdict.crosscheck),
        **training,
    }  # fmt: skip


def fragment(v: Verdict) -> str:
    """The checks, and each figure beside its bound, those that are not kept first."""
    findings = sorted(v.findings, key=lambda finding: finding.is_kept)
    lines = [line(finding).plain for finding in findings]
    more = len(lines) - compact.ROWS
    checks = [compact.verdict(v.crosscheck, len(v.profile.pricing.layers)), *_closed(v)]
    return compact.Card(
        v.name,
        "every check is kept" if v.ok else "not every check is kept",
        verdicts=[*checks, *((said[0], said[2:]) for said in lines[: compact.ROWS])],
        remarks=[f"{units.plural(more, 'more bound')}, in .findings"] if more > 0 else [],
    ).html()


def _closed(v: Verdict) -> list[tuple[str, str]]:
    """What the closed form of the whole network says, where there is one."""
    if v.closed_form is None:
        return []
    if v.closed_form.ok:
        return [(compact.GOOD, "the closed form of the whole network agrees")]
    wrong = units.plural(len(v.closed_form.differences), "difference")
    return [(compact.BAD, f"the closed form of the whole network has {wrong}")]
