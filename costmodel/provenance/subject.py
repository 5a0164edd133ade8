"""The model that a figure is about: its profile, and what others count in it, each asked for once."""

from __future__ import annotations

from functools import cached_property
from math import prod
from typing import TYPE_CHECKING

from costmodel.conventions import Readings
from costmodel.conventions.fvcore import FVCORE, activations
from costmodel.conventions.shapes import attention
from costmodel.conventions.tool import ToolFailsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from costmodel.conventions import Recount
    from costmodel.pricing import TracedLayer
    from costmodel.profiling import Profile
    from costmodel.reading import Reading, ReadModule, ReadOp

_EMBEDDING = "torch.nn.modules.sparse.Embedding"


class Subject:
    """A profile with what the counts of its figures need."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self._readings = Readings(profile.name, profile.origin, profile.mode, profile.macs)
        self._recounts: dict[str, Recount | ToolFailsError] = {}

    def counted_as(self, tool: str) -> Recount:
        """What a tool prints. Raises ``ToolFailsError`` where it fails on the model."""
        if tool not in self._recounts:
            try:
                self._recounts[tool] = self._readings.counted_as(tool)
            except ToolFailsError as error:
                self._recounts[tool] = error
        found = self._recounts[tool]
        if isinstance(found, ToolFailsError):
            raise found
        return found

    def fvcore_unfused(self) -> int:
        """What fvcore counts where attention is written out: its two products have a handle, the fused op none."""
        return self.counted_as("fvcore").total + sum(map(attention, self._fused_attention))

    def activations_of_fvcore(self) -> int:
        """What its ``ActivationCountAnalysis`` counts."""
        return activations(self._readings.read_by(FVCORE))

    def activations_of_fvcore_unfused(self) -> int:
        """The same where attention is written out: the scores and the output of each are counted, too."""
        scores = (prod(op.shape("query")[:-1]) * op.shape("key")[-2] for op in self._fused_attention)
        return self.activations_of_fvcore() + sum(scores) + sum(op.outputs[0].size for op in self._fused_attention)

    @cached_property
    def _fused_attention(self) -> tuple[ReadOp, ...]:
        return tuple(op for op in self.reading.ops if op.base == "scaled_dot_product_attention")

    def params_of(self, tool: str) -> int:
        """The parameters that a tool counts, of those that do."""
        found = self.counted_as(tool).params
        assert found is not None
        return found

    @cached_property
    def reading(self) -> Reading:
        """Ops as Python calls them, and classes of modules."""
        return self._readings.read("what others count")

    @cached_property
    def last_layer(self) -> TracedLayer | None:
        """The last layer with weights and multiply-accumulates, which in a classifier is the one of the classes."""
        layers = self.profile.pricing.layers
        return next((layer for layer in reversed(layers) if layer.parameters and layer.work.macs), None)

    def macs_of_convolutions(self) -> int:
        """Multiply-accumulates of convolutions, without linear layers and products."""
        return sum(op.work.macs for op in self.profile.pricing.ops if op.kind.endswith("conv"))

    def outputs_of_convolutions(self) -> int:
        """Elements of their outputs."""
        return sum(op.activations for op in self.profile.pricing.ops if op.kind.endswith("conv"))

    def macs_without_last_layer(self) -> int:
        """Multiply-accumulates but for those of the last layer with weights."""
        return self.profile.macs - (0 if self.last_layer is None else self.last_layer.work.macs)

    def params_without_last_layer(self) -> int:
        """Parameters but for those that only the last layer has."""
        return self.profile.params - sum(p.size for p in (self.last_layer.new_parameters if self.last_layer else ()))

    def params_without_norms(self) -> int:
        """Parameters but for the scales and shifts of normalisation."""
        return self._params(lambda name: name not in self._of_norms)

    def weights(self) -> int:
        """Parameters but for biases, and the scales and shifts of normalisation."""
        return self._params(lambda name: name not in self._of_norms and not _is_bias(name))

    def params_without_embeddings(self) -> int:
        """Parameters but for those of embedding tables, of tokens and of positions."""
        tables = set(self._of_modules(lambda module: _EMBEDDING in module.bases))
        return self._params(lambda name: name not in tables)

    def params_and_statistics(self) -> int:
        """Parameters, and running means and variances."""
        running = {
            b.storage: b.size for module in self.profile.graph.modules.values() if "norm" in module.type.lower()
            for b in module.buffers if b.shape  # a counter of batches is a scalar
        }  # fmt: skip
        return self.profile.params + sum(running.values())

    @cached_property
    def _of_norms(self) -> frozenset[str]:
        return frozenset(self._of_modules(lambda module: "norm" in module.type.lower() and not module.children))

    def _of_modules(self, wanted: Callable[[ReadModule], bool]) -> Iterator[str]:
        """The names of parameters in modules of a kind."""
        for module in self.reading.modules.values():
            if wanted(module):
                yield from (f"{module.name}.{name}".removeprefix(".") for name in module.parameters)

    def _params(self, wanted: Callable[[str], bool]) -> int:
        """Elements of the distinct parameters of which something holds, by name."""
        return sum(p.size for name, p in self.reading.modules[""].parameters.items() if wanted(name))


def _is_bias(name: str) -> bool:
    """Whether a parameter is a bias, by its name.

    >>> [_is_bias(name) for name in ("fc.bias", "lstm.bias_hh_l0", "attn.in_proj_bias", "relative_position_bias_table")]
    [True, True, True, False]
    """
    last = name.rpartition(".")[2]
    return last == "bias" or last.startswith("bias_") or last.endswith("_bias")
