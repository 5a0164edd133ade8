"""What a convention is made of: which ops or modules a tool counts, how much for each, and why that is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import field
from typing import Any, Literal, TypeAlias

from costmodel.errors import CostModelError
from costmodel.graph import ModuleCall, TensorSpec, tensors_in
from costmodel.reading import ReadFunction, Reading, ReadModule, ReadOp
from costmodel.records import dataclass

Unit: TypeAlias = Literal["MACs", "FLOPs"]

PER_MAC: Mapping[Unit, int] = {"MACs": 1, "FLOPs": 2}
"""What a multiply-accumulate is in each unit."""


class ToolFailsError(CostModelError):
    """The tool itself raises on this model."""

    @property
    def why(self) -> str:
        """Where it does, and why."""
        return str(self).partition(": ")[2]


@dataclass(frozen=True, slots=True, eq=False)
class Called:
    """One call of one module, as a hook sees it."""

    call: ModuleCall
    module: ReadModule

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The tensors among its positional arguments: most hooks see no others."""
        return tuple(tensors_in(self.call.args))

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The tensors that it returned."""
        return tuple(tensors_in(self.call.outputs))

    @property
    def x(self) -> tuple[int, ...]:
        """The shape of its first input."""
        if not self.inputs:
            raise ToolFailsError(f"{self.module.name} ({self.module.type}) is called without positional arguments")
        return self.inputs[0].shape

    @property
    def y(self) -> tuple[int, ...]:
        """The shape of its first output."""
        return self.outputs[0].shape

    @property
    def is_packed(self) -> bool:
        """Whether its first argument is a packed sequence: rows of all steps, and how many each step has."""
        return bool(self.call.args) and isinstance(self.call.args[0], tuple)

    @property
    def torch_type(self) -> str:
        """The name of the nearest of its classes that is torch's own: of a tool whose entries hold for subclasses."""
        return next(base for base in self.module.bases if base.startswith("torch.nn.modules.")).rpartition(".")[2]

    def has(self, name: str) -> bool:
        """Whether an attribute of this name is a tensor, which a pruned or normed one is without being a parameter."""
        return name in self.module.tensors

    def parameter(self, name: str) -> tuple[int, ...]:
        """The shape of one of its parameters. Raises ``ToolFailsError`` where it has none of that name."""
        found = self.module.parameters.get(name)
        if found is None:
            raise ToolFailsError(f"{self.module.name}: it asks for the parameter {name}, which is computed")
        return found.shape

    def __getitem__(self, name: str) -> Any:
        return self.module.attributes[name]


Counted: TypeAlias = int | tuple[int, str]
"""How much a tool counts; with a reason, where this call is counted in another way than its entry says."""


@dataclass(frozen=True, slots=True)
class OpEntry:
    """What a tool counts for an op."""

    count: Callable[[ReadOp], Counted]
    why: str
    """What is counted, and why that is not its multiply-accumulates, where it is not."""


@dataclass(frozen=True, slots=True)
class ModuleEntry:
    """What a tool counts for a call of a module."""

    count: Callable[[Called], Counted]
    why: str


@dataclass(frozen=True, slots=True)
class FunctionEntry:
    """What a tool counts for a call of a Python function."""

    count: Callable[[ReadFunction], float]
    why: str


@dataclass(frozen=True, slots=True, eq=False)
class Count:
    """One thing that a tool counts, in one execution."""

    name: str
    """The qualified name of the module in which it is."""
    type: str
    """That module's class."""
    op: str
    """The op, or the class of the module that is counted as a whole."""
    first: int
    """Index into ``Graph.ops`` of the first op that this stands for."""
    end: int
    amount: int
    """In the tool's unit."""
    why: str
    is_twice: bool = False
    """Whether the tool counts the same by another of its counts."""


@dataclass(frozen=True, kw_only=True)
class Tool:
    """A counter's convention, as data."""

    name: str
    package: str
    """What is installed to have it."""
    version: str
    """The version whose source was read."""
    unit: Unit
    calls_it: str
    """What the tool calls its number."""
    counts: Callable[[Tool, Reading], Iterator[Count]]
    """What it counts in an execution."""
    params: Callable[[Reading], int] | None
    """Its number of parameters; ``None`` where it has none."""
    not_counted: Callable[[str], str]
    """Why it does not count an op that has multiply-accumulates, by the op's name."""
    ops: Mapping[str, OpEntry] = field(default_factory=dict)
    """What it counts, by an op's name without namespace and overload."""
    modules: Mapping[str, ModuleEntry] = field(default_factory=dict)
    """What it counts, by a module's class."""
    functions: Mapping[str, FunctionEntry] = field(default_factory=dict)
    """What it counts, by the name under which a Python function is called."""
    mode: Literal["eval", ""] = ""
    """The mode in which it runs every model, if it chooses one."""
    around: str = "contextlib.nullcontext"
    """The context in which it runs the forward, which a forward that differentiates may fail in."""
    reads_graph: bool = False
    """Whether it counts ops of the graph that torch's tracer makes: ``Reading.kept``."""
    remarks: tuple[str, ...] = ()
    """On which settings, devices or versions its number depends, and where it fails."""


def calls(reading: Reading) -> Iterator[Called]:
    """Every call of a module of the tree that came to its end, in the order in which they began."""
    for call in reading.graph.calls:
        if call.owner is not None:
            yield Called(call, reading.modules[call.owner])


def module_count(called: Called, entry: ModuleEntry, times: int = 1) -> Count:
    """What an entry counts for a call, so often."""
    found = entry.count(called)
    amount, why = found if isinstance(found, tuple) else (found, entry.why)
    call = called.call
    return Count(call.name, call.type, call.type, call.first_op, call.end_op, times * amount, why)


def function_count(reading: Reading, function: ReadFunction, tool: Tool) -> tuple[float, Count]:
    """What a tool counts for a call of a Python function, exactly and with fractions cut off."""
    entry = tool.functions[function.name]
    exact = entry.count(function)
    name = function.name.rpartition(".")[2]
    return exact, Count(*place(reading, function.call), name, function.first, function.end, int(exact), entry.why)


def paths(reading: Reading) -> Counter[str]:
    """In how many ways each module is reached from the model, by its name."""
    found: Counter[str] = Counter()

    def visit(module: ReadModule) -> None:
        found[module.name] += 1
        for child in dict.fromkeys(key for _, key in module.children):
            visit(reading.modules[child])

    visit(reading.modules[""])
    return found


def all_parameters(reading: Reading) -> int:
    """Elements of the distinct parameters."""
    return sum(p.size for p in reading.modules[""].parameters.values())


def trainable_parameters(reading: Reading) -> int:
    """Elements of the distinct parameters that require a gradient."""
    return sum(p.size for p in reading.modules[""].parameters.values() if p.trainable)


def place(reading: Reading, call: int) -> tuple[str, str]:
    """The name and the class of the module that an op ran in."""
    if call < 0:
        return "", reading.graph.model
    found = reading.graph.calls[call]
    return found.name, found.type


def op_count(reading: Reading, op: ReadOp, entry: OpEntry, name: str = "") -> Count:
    """What an entry counts for an op; ``name`` is what the tool calls the op."""
    found = entry.count(op)
    amount, why = found if isinstance(found, tuple) else (found, entry.why)
    return Count(*place(reading, op.call), name or op.base, op.first, op.end, amount, why)
