"""Every other tool's number for a model, from one more trace of it, and why it differs. One file a tool.

>>> import costmodel
>>> model = costmodel.models.resnet18()
>>> recount = costmodel.profile(model, (1, 3, 224, 224)).counted_as("FlopCounterMode")
>>> recount.total, recount.unit
(3628146688, 'FLOPs')
"""

from __future__ import annotations

import copyreg
from collections.abc import Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from costmodel.arguments import short
from costmodel.conventions.calflops import CALFLOPS
from costmodel.conventions.deepspeed import DEEPSPEED
from costmodel.conventions.flop_counter import FLOP_COUNTER
from costmodel.conventions.fvcore import FVCORE
from costmodel.conventions.ptflops import PTFLOPS
from costmodel.conventions.ptflops_aten import PTFLOPS_ATEN
from costmodel.conventions.recount import Recount, recount
from costmodel.conventions.thop import THOP
from costmodel.conventions.tool import Tool, ToolFailsError
from costmodel.conventions.torchinfo import TORCHINFO
from costmodel.conventions.torchprofile import TORCHPROFILE
from costmodel.conventions.ultralytics_thop import ULTRALYTICS_THOP
from costmodel.errors import CostModelError, ForwardError, InputError
from costmodel.origin import OWN, Origin
from costmodel.pricing import Pricing

if TYPE_CHECKING:
    from costmodel.reading import Reading

__all__ = ["TOOLS", "Readings", "Recount", "Tool", "tool_named"]

_ALL = (
    FVCORE, FLOP_COUNTER, PTFLOPS, PTFLOPS_ATEN, THOP, ULTRALYTICS_THOP, TORCHINFO, TORCHPROFILE, CALFLOPS, DEEPSPEED,
)  # fmt: skip

TOOLS: Mapping[str, Tool] = MappingProxyType({tool.name: tool for tool in _ALL})
"""The tools whose conventions are known, by name, each with the version whose source was read."""


def tool_named(name: str) -> Tool:
    """The tool of this name. Raises ``InputError`` for that of none."""
    found = TOOLS.get(name) if isinstance(name, str) else None
    if found is None:
        lower = {known.lower(): known for known in TOOLS}
        close = get_close_matches(str(name).lower(), lower, n=1)
        meant = f"; did you mean {lower[close[0]]!r}?" if close else ""
        raise InputError(f"{short(name)} is no tool whose convention is known; there are {', '.join(TOOLS)}{meant}")
    return found


copyreg.pickle(Tool, lambda tool: (tool_named, (tool.name,)))  # its functions have no names to be pickled by

_FUNCTIONS = tuple(dict.fromkeys(name for tool in _ALL for name in tool.functions))
"""The Python functions that any of them counts."""


class Readings:
    """What other tools look at in a model: read when it is first asked for, once for each mode."""

    def __init__(self, name: str, origin: Origin | None, mode: str, macs: int) -> None:
        self._name, self._origin, self._mode, self._macs = name, origin, mode, macs
        self._known: dict[Any, Reading] = {}

    def counted_as(self, name: str) -> Recount:
        """What a tool prints.

        Raises ``InputError`` for the name of no tool, ``ToolFailsError`` where the tool fails on the model, and
        ``CostModelError`` where the model is gone.
        """
        tool = tool_named(name)
        try:
            return recount(tool, self.read_by(tool), self._name, self._mode, self._macs)
        except ToolFailsError as error:
            raise ToolFailsError(f"{name} {tool.version} fails: {error}") from error

    def read(self, what: str) -> Reading:
        """The execution in the profile's mode; ``what`` of it is asked for, an error says."""
        return self._read(self._mode, what)

    def read_by(self, tool: Tool) -> Reading:
        """What a tool looks at in this model. Raises ``ToolFailsError`` where the forward fails as the tool runs it."""
        mode, what = tool.mode or self._mode, f"what {tool.name} counts"
        reading = self._read(mode, what)
        if not tool.reads_graph and not reading.differentiates:
            return reading
        try:
            return self._read(mode, what, tool)
        except ForwardError as error:
            where = "torch's tracer fails" if tool.reads_graph else "the forward fails as it is run"
            raise ToolFailsError(f"{where}: {error}") from error

    def _read(self, mode: str, what: str, tool: Tool | None = None) -> Reading:
        key = mode, None if tool is None else tool.reads_graph or tool.around
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = _read(self._origin, mode, what, tool)
            if key == (self._mode, None):
                self._require_unchanged(known)
        return known

    def _require_unchanged(self, reading: Reading) -> None:
        now = sum(op.work.macs for op in Pricing(reading.graph).ops)
        if now != self._macs:
            raise CostModelError(
                f"{self._name} has {now:,} MACs now, and had {self._macs:,} in its profile: profile it again"
            )


def _read(origin: Origin | None, mode: str, what: str, tool: Tool | None) -> Reading:
    if origin is None:
        raise CostModelError(f"{what} is read off the model, which a saved profile does not have: profile it again")

    def read(model: Any) -> Reading:
        options: dict[str, Any] = {**origin.options, "mode": mode}
        if tool is not None and tool.reads_graph:
            from costmodel.trace.jit_graph import read_graph

            return read_graph(model, origin.inputs, **options)
        from costmodel.trace.reading import read

        return read(model, origin.inputs, functions=_FUNCTIONS, around="" if tool is None else tool.around, **options)

    if origin.spec is not None:
        from costmodel.loading import apply

        return apply(read, origin.spec, weights=origin.options["execution"] == "real")
    model = origin.model()
    if model is None:
        raise CostModelError(
            f"{what} is read off the model, which a profile does not keep alive, and which is gone: hold it in a "
            f"variable while you ask"
        )
    if origin.inputs is OWN:
        raise CostModelError(
            f"{what} is read off the model once more, and a profile does not keep inputs that are objects of your own: "
            f"give shapes or tensors"
        )
    return read(model)
