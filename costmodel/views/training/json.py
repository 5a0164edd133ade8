"""A training step as JSON. Beside its figures the file carries what ran, from which ``costmodel.saved`` makes it again.

``training.schema.json``, beside ``profile.schema.json``, describes the format.
"""

from __future__ import annotations

from dataclasses import astuple
from typing import TYPE_CHECKING, Any

from costmodel.measures import STEP_MEASURES
from costmodel.views import json as writer
from costmodel.views.training import words
from costmodel.views.training.answers import written

if TYPE_CHECKING:
    from costmodel.profiling import Profile
    from costmodel.step_record import StepRecord
    from costmodel.training import TrainingStep

TOTALS = (
    "params", "trainable_params", "buffers", "macs", "flops", "memory_access", "memory_access_bytes", "recomputed_macs",
    "saved_bytes", "saved_input_bytes", "peak_memory", "first_peak_memory",
)  # fmt: skip
"""The totals of a step, by the names of its attributes."""

_OF_A_PHASE = ("macs", "flops", "memory_access", "memory_access_bytes")

INDICES = ("gradients", "state", "accumulations", "recomputed")
"""The fields of a record that are sets of indices, of storages or of ops."""

SETTINGS = ("optimizer", "loss", "autocast", "steps", "set_to_none", "device", "update")
"""The fields of a record that say how the step was made."""


def step(s: TrainingStep) -> str:
    """The step, one line per part."""
    return writer.by_lines(document(s))


def document(s: TrainingStep) -> dict[str, Any]:
    """The step as plain lists and dicts."""
    asked = written(s)
    return {
        "format": "costmodel-training-step",
        "version": writer.VERSION,
        "name": s.name,
        "model": s.record.graph.model,
        "execution": s.execution,
        "is_exact": s.is_exact,
        **{name: getattr(s.record, name) for name in SETTINGS},
        "batch": s.batch,
        "inputs": writer.inputs(s.forward),
        "measures": writer.explained(STEP_MEASURES.values()),
        "totals": {name: getattr(s, name) for name in TOTALS},
        "phases": {name: _phase(p) for name, p in words.phases(s)},
        "memory": dict(words.memory(s)),
        "peak": {name: getattr(s.peak, name) for name in ("index", "phase", "op", "module")},
        "layers": writer.records(s.layers),
        **({"answers": asked} if asked else {}),
        "coverage": writer.coverage(s),
        "crosscheck": writer.verdict(s.crosscheck()),
        "step": _record(s.record),
        "graph": writer.GraphWriter().graph(s.record.graph),
    }


def _phase(p: Profile) -> dict[str, int]:
    return {name: getattr(p, name) for name in _OF_A_PHASE}


def _record(record: StepRecord) -> dict[str, Any]:
    return {
        "phases": [list(phase) for phase in record.phases],
        "saved": [list(astuple(kept)) for kept in record.saved],
        **{name: sorted(getattr(record, name)) for name in INDICES},
        "original": [list(pair) for pair in sorted(record.original.items())],
    }
