"""``published``: whose count the figures are that a paper or a model card prints of a model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from costmodel.conventions.tool import ToolFailsError
from costmodel.errors import InputError
from costmodel.profiling import Profile, profile
from costmodel.provenance.figure import FAMILIES, Figure, read
from costmodel.provenance.practice import Practice, practices
from costmodel.provenance.result import Finding, Provenance, Reckoning
from costmodel.provenance.subject import Subject
from costmodel.views.units import shape

if TYPE_CHECKING:
    from torch import nn

    from costmodel.trace import Mode


def published(
    model: nn.Module | Profile | str,
    inputs: Any = None,
    *,
    macs: str | int | Sequence[str | int] = (),
    flops: str | int | Sequence[str | int] = (),
    params: str | int | Sequence[str | int] = (),
    activations: str | int | Sequence[str | int] = (),
    mode: Mode = "eval",
    dtype: Any = None,
) -> Provenance:
    """Which convention makes a figure that a paper or a model card prints, and what the others say instead.

    This library's counts, those of every tool in ``costmodel.TOOLS`` and what papers leave out or count in addition are
    held against each figure. A count makes a figure if it is printed so in as many digits, rounded or truncated; a
    figure with every digit is made by that number alone.

    Args:
        model: as for ``costmodel.profile``; or a profile whose model still lives.
        inputs: as for ``costmodel.profile``.
        macs: a figure as it is printed, or several: ``"4.1G"``, ``"569M mult-adds"``, ``"25.6 million"``,
            ``"25,557,032"``. Zeros at the end of a number without a prefix (``4100000000``) are no digits of it.
        flops: what the source calls FLOPs. All conventions are tried for either word: most FLOPs that are printed are
            multiply-accumulates.
        params: parameters.
        activations: elements of activations, not bytes.
        mode: as for ``costmodel.profile``.
        dtype: as for ``costmodel.profile``.

    Raises:
        InputError: there is no figure, or one that cannot be read.
        CostModelError: as ``costmodel.profile`` does; or the model of a profile is gone.

    >>> p = published("resnet50", flops="4.1G", params="25.6M")
    >>> p.ok, p.findings[0].nearest.convention, p.findings[0].nearest.match
    (True, 'MACs', 'rounded')
    """
    given = {"macs": macs, "flops": flops, "params": params, "activations": activations}
    figures = [read(text, name) for name, texts in given.items() for text in _several(texts)]
    if not figures:
        raise InputError(f"there is no figure to look for: give one of {', '.join(f'{name}=' for name in FAMILIES)}")
    p = model if isinstance(model, Profile) else profile(model, inputs, mode=mode, dtype=dtype)
    subject = Subject(p)
    findings = tuple(_finding(figure, subject) for figure in figures)
    return Provenance(p.name, ", ".join(shape(spec.shape) for spec in p.inputs), p.is_exact, findings)


def _several(texts: Any) -> Sequence[Any]:
    return texts if isinstance(texts, (list, tuple)) else [texts]


_WAYS = ("exact", "rounded", "truncated")
"""From the strictest way to make a figure; after these comes rounding to fewer digits than are printed."""


def _finding(figure: Figure, subject: Subject) -> Finding:
    reckonings = list(_reckonings(figure, subject))
    made = [r for r in reckonings if r.match]
    made.sort(key=lambda r: _WAYS.index(r.match) if r.match in _WAYS else len(_WAYS))
    others = [r for r in reckonings if not r.match and r.difference is not None]
    others.sort(key=lambda r: abs(r.difference or 0))
    return Finding(figure, (*made, *others, *(r for r in reckonings if r.difference is None)))


def _reckonings(figure: Figure, subject: Subject) -> Iterator[Reckoning]:
    counts: dict[str, int | None] = {"": None}
    for practice in practices(figure.family):
        found = _reckoning(figure, practice, subject)
        counts[practice.name] = found.count
        if found.count is None or found.count != counts[practice.of]:
            yield found


def _reckoning(figure: Figure, practice: Practice, subject: Subject) -> Reckoning:
    try:
        count = practice.count(subject)
    except ToolFailsError as error:
        return Reckoning(practice.name, f"it fails: {error.why}", practice.source, None, "", "", None, practice.kind)
    difference = float(count / figure.value - 1)
    return Reckoning(
        practice.name, practice.what, practice.source, count, figure.as_printed(count), figure.match(count), difference,
        practice.kind,
    )  # fmt: skip
