"""Every layer type with a closed form: which of its attributes are hyper-parameters, and what formula takes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from marshal import dumps
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeAlias

from costmodel import late
from costmodel.graph import ModuleCall, TensorSpec, tensors_in
from costmodel.layers.files import FILE_OF, FILES, OF_OTHER_MODULES
from costmodel.layers.names import ClassName
from costmodel.records import dataclass

if TYPE_CHECKING:
    from torch import nn

    from costmodel.formulas import LayerCost
    from costmodel.formulas.gradient import Gradient

Formula = Callable[["Call"], "LayerCost | None"]
"""The cost of a call; None where no formula covers its arguments."""


Called: TypeAlias = tuple[tuple[Any, ...], Mapping[str, Any] | None]
"""The arguments of a module's call, as they were passed."""


def by_name(names: Sequence[str], called: Called) -> dict[str, Any]:
    """The arguments of a call in the order of the forward's parameters, in whatever order they were passed."""
    args, kwargs = called
    given = dict(zip(names, args, strict=False)) | dict(kwargs or {})
    return {name: given[name] for name in names if name in given} | given


Also = Callable[["nn.Module"], Mapping[str, Any] | None]
"""Further hyper-parameters by name. Nothing in them may hold on to a tensor or a module."""


ParamNames = Callable[[Any], Iterable[str]]
"""Names parameters of a module."""


@dataclass(frozen=True, slots=True)
class Call:
    """What a closed form may know: hyper-parameters (``call["kernel_size"]``) and how the layer was called."""

    hyper: Mapping[str, Any]
    record: ModuleCall
    given: Mapping[str, Any]
    """The arguments by name, in the order of the forward's parameters: tensors as ``TensorSpec``."""
    within: Sequence[ModuleCall] = ()
    """Of a composite: the calls of the modules inside, in order, with the hyper-parameters of its parts."""

    def __getitem__(self, name: str) -> Any:
        return self.hyper[name]

    @property
    def inputs(self) -> list[TensorSpec]:
        """The tensors that the layer was given, in order."""
        return list(tensors_in(self.given))

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the first of them."""
        return self.inputs[0].shape

    @property
    def given_again(self) -> int:
        """Elements of tensors that were given more than once: a kernel reads each tensor once."""
        given = self.inputs
        return sum(t.size for t in given) - sum(t.size for t in {id(t): t for t in given}.values())

    @property
    def complex_valued(self) -> bool:
        """Whether the layer was given complex numbers."""
        return any("complex" in t.dtype for t in self.inputs)

    @property
    def is_in_place(self) -> bool:
        """Whether the layer wrote its output over its first input."""
        made = next(tensors_in(self.record.outputs), None)
        return made is not None and made.storage == self.inputs[0].storage

    @property
    def training(self) -> bool:
        """Whether the layer ran in training mode."""
        return self.record.training


def given_again(call: Call, cost: LayerCost, gradient: Gradient | None) -> LayerCost:
    """A layer that is given a tensor more than once: one kernel reads it once, those of a training step each."""
    from costmodel.formulas.gradient import Extra, and_more

    again = call.given_again
    trained = partial(and_more, cost.when_trained, Extra(read=again))
    return replace(cost, read=cost.read - again, gradient=gradient, when_trained=trained)


@dataclass(frozen=True, slots=True)
class Layer:
    """The closed form of a layer type."""

    hyper: tuple[str, ...]
    """Attributes that are hyper-parameters."""
    optional_params: tuple[str, ...]
    """Parameters of which only the presence counts: ``bias``, ``weight``."""
    formula: Formula
    kind: str = ""
    """The category that the layer's call is listed under, where that is not its costliest op's."""
    takes_expanded: bool = False
    """Whether the formula looks at tensors that are expanded, so that elements share memory."""
    takes_empty: bool = False
    """Whether the formula holds for a batch of nothing."""
    also: Also | None = None
    """Reads what no attribute holds as it is; ``None`` where no formula covers the module as it is configured."""
    key: str = ""
    """What the record of a call has of it: the type's name, where that is no other type's."""
    values: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None
    """Reads what stands in the values of a call's arguments, given by name, where they have some."""
    params: ParamNames | None = None
    """Names the parameters that the class registers on a module beside ``optional_params``, if it registers others."""
    is_composite: bool = False
    """Whether it is made of layers that have closed forms of their own."""
    takes: tuple[str, ...] = ("input",)
    """The parameters of the type's forward, in order."""


LAYERS: dict[ClassName, Layer] = {}
"""Every layer type with a closed form, by the name of its class."""

_NAMED: dict[str, list[ClassName]] = {}
"""The classes that go by a name, of whatever module."""

_BY_KEY: dict[str, Layer] = {}
"""The same by key."""

USER_LAYERS: dict[type[nn.Module], Callable[[Any, tuple[int, ...]], LayerCost]] = {}
"""Those that users added."""


def add(
    *names: ClassName,
    hyper: str = "",
    optional_params: str = "",
    formula: Formula,
    kind: str = "",
    takes_expanded: bool = False,
    takes_empty: bool = False,
    also: Also | None = None,
    values: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None,
    key: str = "",
    params: ParamNames | None = None,
    takes: str = "input",
) -> None:
    """Registers layer types.

    ``hyper`` and ``optional_params`` are space-separated names of attributes, ``takes`` of the forward's parameters.
    """
    words = tuple(hyper.split()), tuple(optional_params.split())
    for name in names:
        own = key or name.name
        layer = Layer(
            *words, formula, kind, takes_expanded, takes_empty, also, own, values, params, takes=tuple(takes.split())
        )
        _register(name, layer)


def add_composite(name: ClassName, *, also: Also, formula: Formula, takes: str) -> None:
    """Registers a type of modules that are derived as a whole, beside the layers that they are made of."""
    layer = Layer(
        (), (), formula, takes_expanded=True, also=also, key=name.name, is_composite=True, takes=tuple(takes.split())
    )
    _register(name, layer)


def _register(name: ClassName, layer: Layer) -> None:
    LAYERS[name] = _BY_KEY[layer.key] = layer
    _NAMED.setdefault(name.name, []).append(name)


def _import_file(name: str) -> None:
    late.provided(__name__, "import_file")(name)  # the files of layers import this one, which must not import them


def layer_of(module_type: type[nn.Module]) -> Layer | None:
    """What is registered for this very class, if anything is."""
    if module_type.__name__ in FILE_OF:
        _import_file(FILE_OF[module_type.__name__])
    if module_type.__module__.startswith("torch.ao."):
        _import_file(OF_OTHER_MODULES)
    found = (LAYERS[name] for name in _NAMED.get(module_type.__name__, ()) if name.is_class(module_type))
    return next(found, None)


def import_all() -> None:
    """Imports every file of layers."""
    for file in (*FILES, OF_OTHER_MODULES):
        _import_file(file)


Known: TypeAlias = dict[bytes, "LayerCost | None"]
"""What calls cost, by all that their closed form may know."""


def cost_of(call: ModuleCall, within: Sequence[ModuleCall] = (), known: Known | None = None) -> LayerCost | None:
    """The cost of a call in closed form, ``None`` where no formula covers it; ``within`` are the calls inside it.

    Of layers that repeat, ``known`` has the cost, which then is not computed again.
    """
    look = None if known is None else _look(call)
    if known is None or look is None:
        return _cost_of(call, within)
    if look not in known:
        known[look] = _cost_of(call, within)
    return known[look]


_OF_TENSOR = attrgetter("shape", "dtype", "strides", "role", "trainable", "zeros", "scale_bytes", "stored_bytes")


def _look(call: ModuleCall) -> bytes | None:
    """All that a closed form may know of a layer that is given tensors alone; ``None`` for any other layer."""
    if call.layer is None or call.kwargs or not all(type(given) is TensorSpec for given in call.args):
        return None
    tensors = list(tensors_in((call.args, call.outputs)))
    if any(t.sparse is not None for t in tensors):
        return None
    # Which of them are one tensor, and which share memory.
    same = [[n.index(own) for own in n] for n in ([id(t) for t in tensors], [t.storage for t in tensors])]
    known = call.layer.key, dict(call.layer.hyper), call.training, len(call.args), same
    try:
        return dumps((*known, [_OF_TENSOR(t) for t in tensors]), 2)
    except ValueError:  # of a type that only Python has
        return None


def _cost_of(call: ModuleCall, within: Sequence[ModuleCall]) -> LayerCost | None:
    if call.layer is None:
        return None
    if "cost" in call.layer.hyper:
        cost: LayerCost = call.layer.hyper["cost"]
        return cost
    if call.layer.key not in _BY_KEY:  # of a graph that another process has read
        import_all()
    layer = _BY_KEY[call.layer.key]
    tensors = list(tensors_in((call.args, call.kwargs, call.outputs)))
    if any(0 in (t.shape[1:] if layer.takes_empty else t.shape) for t in tensors):
        return None  # few formulas cover empty tensors, and those only a batch of nothing
    if not layer.takes_expanded and any(t.distinct != t.size for t in tensors):
        return None  # nor expanded ones, whose elements share memory
    given = by_name(layer.takes, (call.args, call.kwargs))
    return layer.formula(Call(call.layer.hyper, call, given, within))
