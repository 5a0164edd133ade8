"""The claims of the five study notes, computed: whether each holds, how far off it is, and what is right.

A claim is a frozen record with the function that computes it: in closed form (``costmodel.formulas``, the papers'
tables) and, where a module can show it, from a trace. No figure that can be computed is typed in; what only a paper
states (an accuracy, a venue) is cited.

>>> [claim.id for claim in all_claims()][:3], len(all_claims())
(['000-1', '000-2', '000-3'], 117)
>>> (found,) = results(["004-13"])
>>> found.finding.verdict, round(found.finding.value, 2)
('fails', 2.46)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib import import_module

from costmodel import late
from costmodel.errors import InputError, require_torch
from costmodel.notes.claim import VERDICTS, Claim, Finding, Note, Result, Verdict

__all__ = ["VERDICTS", "Claim", "Finding", "Note", "Result", "Verdict", "all_claims", "claim_ids", "results"]

_FILES = (
    "note_000", "note_000_hybridsn", "note_001", "note_002", "note_003",
    "note_004_early", "note_004_inception", "note_004_residual", "note_004_mobile", "note_004_shuffle",
    "note_004_efficient",
)  # fmt: skip
"""The files of the claims, in the order of the notes; a long note has several."""


@cache
def all_claims() -> tuple[Claim, ...]:
    """Every claim, in the order of the notes."""
    require_torch("costmodel.notes")
    modules = [import_module(f"costmodel.notes.{name}") for name in _FILES]
    return tuple(claim for module in modules for claim in vars(module).values() if isinstance(claim, Claim))


def claim_ids(names: Iterable[str]) -> tuple[str, ...]:
    """The ids of claims by name: a claim's own id, or a note's number, which stands for all of its claims.

    Raises ``InputError`` for what names neither.

    >>> claim_ids(["004-13", "003"])[:3]
    ('004-13', '003-1', '003-2')
    """
    notes: dict[str, list[str]] = {}
    for claim in all_claims():
        notes.setdefault(claim.note.number, []).append(claim.id)
    named = {**notes, **{id_: [id_] for ids in notes.values() for id_ in ids}}
    found: list[str] = []
    for name in names:
        if name not in named:
            raise InputError(f"no claim or note is called {name!r}; {_nearest(name, notes)}")
        found += named[name]
    return tuple(dict.fromkeys(found))


def _nearest(name: str, notes: Mapping[str, Sequence[str]]) -> str:
    """What may have been meant: a number with its zeros, or a claim of the note that was named; else what there is."""
    head, dash, tail = name.partition("-")
    note = head.zfill(3)
    ids = notes.get(note, ())
    full = f"{note}{dash}{tail.lstrip('0')}"
    if full in (*notes, *ids):
        return f"did you mean {full}?"
    if ids:
        return f"note {note} has the claims {ids[0]} to {ids[-1]}"
    return f"notes are {', '.join(notes)}, claims run from {all_claims()[0].id} to {all_claims()[-1].id}"


def results(names: Iterable[str] | None = None) -> tuple[Result, ...]:
    """Computes the claims of these names, ids or numbers of notes, or all. Raises ``InputError`` for any other name."""
    claims = {claim.id: claim for claim in all_claims()}
    chosen = tuple(claims) if names is None else claim_ids(names)
    # Networks and traces are kept for other claims: passes of the collector through them take a fifth of the time.
    with late.uncollected():
        return tuple(Result(claim=claims[name], finding=_compute(name)) for name in chosen)


@cache
def _compute(name: str) -> Finding:
    return next(claim for claim in all_claims() if claim.id == name).compute()
