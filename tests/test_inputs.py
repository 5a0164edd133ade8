from __future__ import annotations

import pickle
from collections import OrderedDict, namedtuple
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import costmodel
from costmodel import Input, InputError, call

EXECUTIONS = pytest.mark.parametrize("execution", ["meta", "real"])

# -- a shape and a dtype ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "dtype"),
    [
        ("int64", torch.int64),
        ("torch.int64", torch.int64),
        ("half", torch.float16),
        ("bf16", torch.bfloat16),
        ("fp16", torch.float16),
        ("torch.bfloat16", torch.bfloat16),
        (torch.FloatTensor, torch.float32),
        (torch.cuda.HalfTensor, torch.float16),
        (np.float64, torch.float64),
        (np.dtype("uint8"), torch.uint8),
        (torch.complex64, torch.complex64),
    ],
)
def test_a_dtype_has_many_spellings(given: Any, dtype: torch.dtype) -> None:
    """Torch's dtypes, their names with and without the prefix, tensor types of old, and NumPy's dtypes."""
    assert Input((1, 8), given) == Input((1, 8), dtype)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("flaot32", "did you mean 'float32'"),
        ("nn", "such as torch.int64"),
        (None, "not None"),
        (torch.nn, "not <module"),
        (np.dtype("O"), "not dtype"),
        (3, "not 3"),
    ],
)
def test_what_is_no_dtype(given: Any, says: str) -> None:
    """What is no dtype is named, with the nearest that is one."""
    with pytest.raises(InputError, match=says):
        Input((1, 8), given)


class Scaled(nn.Module):
    """Takes a tensor and a number, as diffusion models take the time."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor, t: Any = 1.0, *, twice: bool = False) -> torch.Tensor:
        """Once or twice."""
        return self.linear(x) * t + (self.linear(x) if twice else 0)


@EXECUTIONS
@pytest.mark.parametrize("scale", [Input(()), torch.tensor(2.0), np.array(2.0, np.float32), 2.0])
def test_inputs_of_no_dimension(scale: Any, execution: Any) -> None:
    """A scale, a time step or a temperature is a tensor of no dimension, or a number."""
    p = costmodel.profile(Scaled(), (Input((2, 4)), scale), execution=execution)
    assert p.macs == 2 * 4 * 3
    assert [t.shape for t in p.inputs] == [(2, 4)] + [()] * (not isinstance(scale, float))


# -- positional and keyword arguments together ----------------------------------------------------------------------


@EXECUTIONS
@pytest.mark.parametrize(
    "inputs",
    [
        call((2, 4), 2.0, twice=True),
        call(x=(2, 4), twice=True),
        (((2, 4),), {"twice": True}),
        ([(2, 4), 2.0], {"twice": True}),
    ],
)
def test_positional_and_keyword_inputs_together(inputs: Any, execution: Any) -> None:
    """A call has both; a pair of a tuple and a dict of keywords that the forward takes is one."""
    assert costmodel.profile(Scaled(), inputs, execution=execution).macs == 2 * 2 * 4 * 3


def test_a_tuple_and_a_dict_may_be_two_inputs() -> None:
    """A dict whose keys are no keywords of the forward is the second input."""

    class Takes(nn.Module):
        def forward(self, pair: Any, named: Any) -> torch.Tensor:
            return pair[0] @ named["w"]

    assert costmodel.profile(Takes(), (((2, 3),), {"w": (3, 4)})).macs == 2 * 3 * 4


def test_a_call_is_frozen_and_says_what_it_is() -> None:
    """It can be printed, compared and pickled, and not be changed."""
    given = call((2, 4), flag=True, ids=Input((1, 8), "int64"))
    assert repr(given) == "call((2, 4), flag=True, ids=Input(shape=(1, 8), dtype=torch.int64))"
    assert given == call((2, 4), flag=True, ids=Input((1, 8), torch.int64)) != call((2, 4))
    assert pickle.loads(pickle.dumps(given)) == given
    with pytest.raises(AttributeError):
        given.args = ()  # type: ignore[misc]
    with pytest.raises(TypeError):
        given.kwargs["flag"] = False  # type: ignore[index]


def test_a_call_goes_wherever_inputs_go() -> None:
    """Profiles, comparisons and cross-checks, a third opinion included, take it."""
    given = call((2, 4), t=2.0)
    assert costmodel.crosscheck(Scaled(), given, against="fvcore").ok
    assert costmodel.compare({"one": Scaled(), "other": Scaled()}, given).table["macs"].tolist() == [24, 24]
    model = Scaled()
    model.example_inputs = given  # type: ignore[assignment]
    assert costmodel.profile(model).macs == 24


# -- objects of one's own -------------------------------------------------------------------------------------------


@dataclass
class Batch:
    """A batch with a tensor, and sizes that are no shapes."""

    x: Any
    size: tuple[int, int] = (2, 3)
    more: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class FrozenBatch:
    """A batch that refuses changes."""

    x: torch.Tensor
    size: tuple[int, int] = (2, 3)


class Data:
    """An object that has its tensors in an object, and finds attributes there, as PyG's do."""

    def __init__(self, **tensors: torch.Tensor) -> None:
        self.__dict__["_store"] = OrderedDict(tensors)

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["_store"][name]
        except KeyError:
            raise AttributeError(name) from None

    def __setattr__(self, name: str, value: Any) -> None:
        self._store[name] = value

    @property
    def size(self) -> tuple[int, ...]:
        """As the batch's."""
        return tuple(self.x.shape)


class Slotted:
    """An object without a dictionary."""

    __slots__ = ("size", "x")

    def __init__(self, x: torch.Tensor) -> None:
        self.x, self.size = x, (2, 3)


Pair = namedtuple("Pair", ["x", "size"])

HOLDERS = [
    lambda x: Batch(x),
    lambda x: FrozenBatch(x),
    lambda x: Data(x=x),
    lambda x: Slotted(x),
    lambda x: Pair(x, None),
]


class Takes(nn.Module):
    """Takes an object, and changes it where that can be changed."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 4)
        self.fails = False

    def forward(self, batch: Any) -> torch.Tensor:
        """Of its tensor."""
        assert batch.size is None or tuple(batch.size) == (2, 3)
        y = self.linear(batch.x)
        if isinstance(batch, (Batch, Data, Slotted)):
            batch.x = y
        if isinstance(batch, Batch):
            batch.more["seen"] = y
        if self.fails:
            raise ArithmeticError("no")
        result: torch.Tensor = y
        return result


@EXECUTIONS
@pytest.mark.parametrize("hold", HOLDERS)
@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("fails", [False, True])
def test_one_object_is_an_input_and_stays_as_it_was(hold: Any, nested: bool, fails: bool, execution: Any) -> None:
    """Dataclasses, graphs, objects with slots and namedtuples; what the forward writes, it writes into a copy."""
    x = torch.randn(2, 3)
    given, model, before = hold(x), Takes(), x.clone()
    model.fails = fails
    for _ in range(2):
        if fails:
            with pytest.raises(costmodel.ForwardError, match="ArithmeticError"):
                costmodel.profile(model, (given,) if nested else given, execution=execution)
            continue
        p = costmodel.profile(model, (given,) if nested else given, execution=execution)
        assert p.macs == 2 * 3 * 4
        assert [(t.shape, t.role) for t in p.inputs] == [((2, 3), "input")]
    assert given.x is x
    assert torch.equal(x, before)
    assert getattr(given, "more", {}) == {}


def test_shapes_in_a_dataclass_are_its_own() -> None:
    """Only an Input is made a tensor inside an object of the user's; in a namedtuple, as in a tuple, shapes are."""
    assert costmodel.profile(Takes(), Batch(Input((2, 3)))).macs == 24
    assert costmodel.profile(Takes(), (Pair((2, 3), None),)).macs == 24


def test_a_tensor_that_is_given_twice_is_one() -> None:
    """It is one input, in memory too, wherever it is held."""

    class Sum(nn.Module):
        def forward(self, batch: Batch, x: torch.Tensor) -> torch.Tensor:
            assert batch.x is x
            return batch.x + x

    x = torch.zeros(8, 8)
    p = costmodel.profile(Sum(), (Batch(x), x))
    assert p.peak_memory == 2 * 8 * 8 * 4


def test_an_object_that_is_given_twice_is_one() -> None:
    """The model may look whether two of its arguments are the same."""

    class Same(nn.Module):
        def forward(self, one: Batch, other: Batch) -> torch.Tensor:
            assert one is other
            result: torch.Tensor = one.x + other.x
            return result

    batch = Batch(torch.zeros(2, 3))
    assert costmodel.profile(Same(), (batch, batch)).flops == 6


class Uncopied:
    """An object that refuses to be copied."""

    size = None

    def __init__(self, x: torch.Tensor) -> None:
        self.x = x

    def __deepcopy__(self, memo: Any) -> Any:
        raise TypeError("one of a kind")


def test_what_cannot_be_copied_is_passed_as_it_is() -> None:
    """The model takes the object itself."""
    assert costmodel.profile(Takes(), Uncopied(torch.randn(2, 3))).macs == 24


@pytest.mark.parametrize("nonsense", ["(1, 3)", 3, {1: (2, 3)}, object(), Input, {2, 3}, lambda: None])
def test_what_is_no_input_is_refused(nonsense: Any) -> None:
    """The error names what was given and what is taken."""
    with pytest.raises(InputError, match="inputs"):
        costmodel.profile(Takes(), nonsense)


# -- arrays -----------------------------------------------------------------------------------------------------------


@EXECUTIONS
@pytest.mark.parametrize(
    "array",
    [
        np.zeros((2, 3), np.float32),
        np.zeros((3, 2), np.float32).T,
        np.zeros((2, 3), np.float32)[::-1],
        np.zeros((2, 3), ">f4"),
        np.broadcast_to(np.float32(0), (2, 3)),
    ],
)
def test_arrays_are_tensors(array: Any, execution: Any) -> None:
    """An array counts as a tensor of its shape and dtype, in any layout and byte order."""
    before = array.copy()
    p = costmodel.profile(nn.Linear(3, 4), array, execution=execution)
    assert p.macs == 24
    assert [(t.shape, t.dtype) for t in p.inputs] == [((2, 3), "float32")]
    assert (array == before).all()


def test_an_array_that_is_no_tensor() -> None:
    """Objects and texts are refused."""
    with pytest.raises(InputError, match="dtype object"):
        costmodel.profile(nn.Linear(3, 4), np.array([object()]))
