"""How multiply-accumulates, parameters and activations are counted: by this library, by tools, by papers. As data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from costmodel.conventions import TOOLS, Tool
from costmodel.provenance.subject import Subject

Kind: TypeAlias = Literal["library", "tool", "scaled tool", "paper"]
"""Whose way it is; ``scaled tool``: a tool's number in the other unit."""


@dataclass(frozen=True)
class Practice:
    """One way to count."""

    name: str
    what: str
    """What is counted."""
    source: str
    """Who counts so, with the version or the page that was read; empty for this library."""
    count: Callable[[Subject], int]
    """Raises ``ToolFailsError`` where a tool fails on the model."""
    kind: Kind = "library"
    of: str = ""
    """The way of which this is a variant; where it gives the same number, it is no way of its own."""


def practices(family: str) -> Iterator[Practice]:
    """All ways to count what figures of a family count: this library's first, then tools, then papers."""
    yield from _OURS[family]
    for tool in TOOLS.values():
        yield from _TOOLS[family](tool)
    yield from _PAPERS[family]


def _operations(tool: Tool) -> Iterator[Practice]:
    name = f"{tool.name} {tool.version}"

    def total(subject: Subject) -> int:
        return subject.counted_as(tool.name).total

    def doubled(subject: Subject) -> int:
        return 2 * total(subject)

    def halved(subject: Subject) -> int:
        return total(subject) // 2

    yield Practice(tool.name, f"{tool.unit} as {tool.name} counts them", name, total, "tool")
    if tool.unit == "MACs":
        yield Practice(f"twice {tool.name}", f"two for each of {tool.name}'s MACs", name, doubled, "scaled tool")
    else:
        yield Practice(f"half of {tool.name}", f"one for two of {tool.name}'s FLOPs", name, halved, "scaled tool")


def _parameters(tool: Tool) -> Iterator[Practice]:
    if tool.params is not None:
        what = f"parameters as {tool.name} counts them"
        source = f"{tool.name} {tool.version}"
        yield Practice(tool.name, what, source, lambda s: s.params_of(tool.name), "tool")


def _no_activations(_: Tool) -> Iterator[Practice]:
    yield from ()


_OURS: Mapping[str, tuple[Practice, ...]] = {
    "operations": (
        Practice(
            "MACs", "multiply-accumulates of convolutions and matrix products", "", lambda s: s.profile.macs
        ),
        Practice("2 MACs", "two FLOPs a multiply-accumulate, and nothing else", "", lambda s: 2 * s.profile.macs),
        Practice("FLOPs", "every arithmetic operation, a multiply-accumulate being two", "", lambda s: s.profile.flops),
    ),
    "params": (
        Practice("params", "elements of all parameters, shared ones once", "", lambda s: s.profile.params),
        Practice(
            "trainable params", "those that require a gradient", "",
            lambda s: s.profile.trainable_params, of="params",
        ),
        Practice(
            "active params", "those that an op of this run reads", "",
            lambda s: s.profile.active_params, of="params",
        ),
    ),
    "activations": (
        Practice(
            "activations", "output elements of convolutions and matrix products", "", lambda s: s.profile.activations
        ),
    ),
}  # fmt: skip

_TOOLS: Mapping[str, Callable[[Tool], Iterator[Practice]]] = {
    "operations": _operations, "params": _parameters, "activations": _no_activations,
}  # fmt: skip

_TIMM = "pytorch-image-models, results/benchmark-infer-*.csv"

_PAPERS: Mapping[str, tuple[Practice, ...]] = {
    "operations": (
        Practice(
            "MACs of convolutions", "no linear layer and no other product",
            "He et al., arXiv:1512.03385, section 4.1: VGG-16", Subject.macs_of_convolutions, "paper", "MACs",
        ),
        Practice(
            "MACs but for the last layer", "the last layer with weights is left out",
            "Zhang et al., arXiv:1707.01083, Table 1", Subject.macs_without_last_layer, "paper", "MACs",
        ),
        Practice(
            "fvcore, attention written out", "the two products of attention are ops of their own, which fvcore counts",
            _TIMM, Subject.fvcore_unfused, "paper", "fvcore",
        ),
    ),
    "params": (
        Practice(
            "params but for norms", "scales and shifts of normalisation are left out",
            "tensorflow/models, research/slim/nets/mobilenet/README.md",
            Subject.params_without_norms, "paper", "params",
        ),
        Practice(
            "weights", "biases, and scales and shifts of normalisation, are left out",
            "Sze et al., arXiv:1703.09039, Table II: weights", Subject.weights, "paper", "params",
        ),
        Practice(
            "params and running statistics", "running means and variances of batch norm are counted, too",
            "keras, Model.count_params", Subject.params_and_statistics, "paper", "params",
        ),
        Practice(
            "params but for the last layer", "the last layer with weights is left out",
            "Caron et al., arXiv:2104.14294, Table 1", Subject.params_without_last_layer, "paper", "params",
        ),
        Practice(
            "params but for embeddings", "tables of tokens and of positions are left out",
            "Kaplan et al., arXiv:2001.08361, section 2.1", Subject.params_without_embeddings, "paper", "params",
        ),
    ),
    "activations": (
        Practice(
            "fvcore", "output elements of the operators that ActivationCountAnalysis has a handle for",
            f"fvcore {TOOLS['fvcore'].version}", Subject.activations_of_fvcore, "tool",
        ),
        Practice(
            "fvcore, attention written out", "the two products of attention are ops of their own, which fvcore counts",
            _TIMM, Subject.activations_of_fvcore_unfused, "paper", "fvcore",
        ),
        Practice(
            "activations of convolutions", "output elements of convolutions",
            "Radosavovic et al., arXiv:2003.13678, section 4", Subject.outputs_of_convolutions, "paper", "activations",
        ),
    ),
}  # fmt: skip
