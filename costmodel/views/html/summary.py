"""The few numbers that matter, each with its unit and in plain words, and whether they are to be trusted."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from costmodel.views import units

if TYPE_CHECKING:
    from collections.abc import Sequence

    from costmodel.crosscheck import CrossCheck
    from costmodel.profile import Coverage, Profile


@dataclass(frozen=True)
class Figure:
    """One number of a summary."""

    key: str
    name: str
    short: str
    """Rounded, with its unit."""
    exact: str
    """Every digit, with its unit."""
    means: str
    """What is counted, in plain words."""
    count: int


@dataclass(frozen=True)
class Summary:
    """What the head of a report says of one model."""

    name: str
    facts: tuple[tuple[str, str], ...]
    figures: tuple[Figure, ...]
    coverage: Coverage
    check: CrossCheck
    layers: int
    share_checked: str
    """How much of the MACs lies in layers that were derived twice."""
    is_exact: bool
    receptive_field: tuple[int | None, ...]
    """Of the deepest feature map whose field is local; empty where no layer has one."""

    @property
    def by_key(self) -> dict[str, Figure]:
        """The figures by their keys."""
        return {f.key: f for f in self.figures}

    @property
    def verdict(self) -> str:
        """One word: ``agrees``, ``differs``, or ``incomplete`` where an op has no rule."""
        if not self.check.ok:
            return "differs"
        return "agrees" if self.is_exact else "incomplete"


def summary(p: Profile) -> Summary:
    """What the head of a report says of a profile."""
    check = p.crosscheck()
    twice = {c.name for c in check.comparisons}
    layers = p.pricing.layers
    macs_twice = sum(int(layer.work.macs) for layer in layers if layer.name in twice)
    read = "nothing computed" if p.execution == "meta" else "run on real tensors"
    facts = (
        ("input", ", ".join(f"{units.shape(t.shape)} {t.dtype}" for t in p.inputs)),
        ("forward", p.mode),
        ("read by", f"one forward, {read}"),
        ("layers", f"{len(layers):,}"),
    )
    return Summary(
        p.name,
        facts,
        _figures(p),
        p.coverage,
        check,
        len(layers),
        units.share(macs_twice, p.macs),
        p.is_exact,
        _field(p),
    )


def _field(p: Profile) -> tuple[int | None, ...]:
    field = p.local_receptive_field
    return () if field is None else field.size


def _where(module: str) -> str:
    return f"in {module}" if module else "outside any submodule"


def _figures(p: Profile) -> tuple[Figure, ...]:
    bounded = partial(units.si, exact=p.is_exact)
    bound = "" if p.is_exact else "at least "
    weights = sum(t.nbytes for t in p.graph.parameters().values())
    padding = units.share(p.macs_on_padding, p.macs)
    found = [
        Figure(
            "params", "Parameters", units.si(p.params), f"{p.params:,} elements",
            f"{units.si(weights, 'B')} as stored; a shared one counts once", p.params,
        ),
        Figure(
            "macs", "MACs", bounded(p.macs), f"{bound}{p.macs:,} MACs",
            "multiply-accumulates: what most papers call “FLOPs”"
            + (f"; {padding} of them on padding" if p.macs_on_padding else ""), p.macs,
        ),
        Figure(
            "flops", "FLOPs", bounded(p.flops), f"{bound}{p.flops:,} FLOPs",
            "every arithmetic operation: two a MAC, one for any other", p.flops,
        ),
        Figure(
            "memory_access", "Memory access", bounded(p.memory_access_bytes, "B"),
            f"{bound}{p.memory_access:,} elements",
            f"read and written, every op a kernel of its own; {bounded(p.fused_memory_access_bytes, 'B')} with "
            "elementwise ops fused", p.memory_access,
        ),
        Figure(
            "activations", "Activations", bounded(p.activations), f"{bound}{p.activations:,} elements",
            "output elements of convolutions and matrix products", p.activations,
        ),
        Figure(
            "peak_memory", "Peak memory", bounded(p.peak_memory, "B"), f"{bound}{p.peak_memory:,} bytes",
            f"live activations at the worst moment, {_where(p.peak.module)}; parameters apart", p.peak_memory,
        ),
    ]  # fmt: skip
    return tuple(found)


def ranges(summaries: Sequence[Summary]) -> tuple[Figure, ...]:
    """From the least to the most that some models have of each quantity."""
    found = []
    for key, one in summaries[0].by_key.items():
        ordered = sorted(summaries, key=lambda s: s.by_key[key].count)
        least, most = ordered[0].by_key[key], ordered[-1].by_key[key]
        if least.count == most.count:
            short, means = one.short, "the same in every model"
        else:
            short, means = f"{least.short} – {most.short}", f"{ordered[0].name} to {ordered[-1].name}"
            if least.count:
                means += f", {units.ratio(most.count / least.count)}"
        found.append(Figure(key, one.name, short, "", means, most.count))
    return tuple(found)
