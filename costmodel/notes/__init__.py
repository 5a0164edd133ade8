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

from collections.abc import Iterable
from difflib import get_close_matches
from functools import cache
from importlib import import_module

from costmodel import late
from costmodel.errors import InputError, require_torch
from costmodel.notes.claim import VERDICTS, Claim, Finding, Note, Result, Verdict

__all__ = ["VERDICTS", "Claim", "Finding", "Note", "Result", "Verdict", "all_claims", "results"]

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


def results(ids: Iterable[str] | None = None) -> tuple[Result, ...]:
    """Computes the claims with these ids, or all. Raises ``InputError`` for an id that no claim has."""
    claims = {claim.id: claim for claim in all_claims()}
    chosen = tuple(claims) if ids is None else tuple(ids)
    for name in chosen:
        if name not in claims:
            close = get_close_matches(name, claims, n=3)
            hint = f"did you mean {' or '.join(close)}?" if close else "they run from 000-1 to 004-57"
            raise InputError(f"no claim is called {name!r}; {hint}")
    # Networks and traces are kept for other claims: passes of the collector through them take a fifth of the time.
    with late.uncollected():
        return tuple(Result(claim=claims[name], finding=_compute(name)) for name in chosen)


@cache
def _compute(name: str) -> Finding:
    return next(claim for claim in all_claims() if claim.id == name).compute()
