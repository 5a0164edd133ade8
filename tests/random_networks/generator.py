"""Random networks from a seed: grown step by step on a real tensor, as Python source that a person can paste."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.random_networks.anything import ANYTHING
from tests.random_networks.draft import Draft, Maker
from tests.random_networks.kernels import NoFallback
from tests.random_networks.maps import MAPS
from tests.random_networks.tokens import TOKENS

FAMILIES: dict[str, list[Maker]] = {
    "1d": MAPS + ANYTHING, "2d": 2 * MAPS + ANYTHING, "3d": MAPS + ANYTHING, "tokens": 2 * TOKENS + ANYTHING,
}  # fmt: skip
"""The steps of each kind of input."""

NAMESPACE = {"torch": torch, "nn": nn, "F": functional, "__name__": __name__}
"""What the source of a network may name."""

LARGEST = 1 << 12
"""The most elements of a tensor between two steps, so that a network runs in milliseconds."""


@dataclass(frozen=True)
class Step:
    """A few statements that rebind ``x``, and the modules that they call."""

    code: str
    modules: tuple[tuple[str, str], ...] = ()
    """Attributes of the network, with the expressions that build them."""


@dataclass(frozen=True)
class Network:
    """A model with its input, as data."""

    seed: int
    shape: tuple[int, ...]
    layout: str = ""
    """An expression of the contiguous ``x`` that has the shape to which the steps are grown."""
    dtype: str = "float32"
    mode: str = "eval"
    autocast: str = ""
    """The dtype that ``torch.autocast`` lowers to, if it is on."""
    channels_last: bool = False
    """Whether the model's weights are."""
    steps: tuple[Step, ...] = field(default=())
    returns: str = "x"

    def source(self) -> str:
        """A Python program that defines ``model`` and ``x``."""
        modules = [f"        self.{name} = {build}" for step in self.steps for name, build in step.modules]
        lines = [f"        {line}" for step in self.steps for line in step.code.splitlines()]
        to = f".to(torch.{self.dtype})" + (".to(memory_format=torch.channels_last)" if self.channels_last else "")
        return "\n".join([
            f"torch.manual_seed({self.seed})",
            "class Network(nn.Module):",
            "    def __init__(self):",
            "        super().__init__()",
            *modules,
            "    def forward(self, x):",
            *lines,
            f"        return {self.returns}",
            f"model = Network(){to}.{'train' if self.mode == 'train' else 'eval'}()",
            f"x = torch.randn{self.shape}.to(torch.{self.dtype}){self.layout}",
        ])  # fmt: skip

    def __str__(self) -> str:
        autocast = f"with torch.autocast('cpu', torch.{self.autocast}):\n    " if self.autocast else ""
        return (
            "import torch, costmodel\nfrom torch import nn\nfrom torch.nn import functional as F\n"
            f"{self.source()}\n{autocast}p = costmodel.profile(model, x, mode='{self.mode}')"
        )

    def build(self) -> tuple[nn.Module, Tensor]:
        """The model with its input: equal ones at each call."""
        names: dict[str, Any] = dict(NAMESPACE)
        exec(self.source(), names)
        return names["model"], names["x"]

    def block(self) -> AbstractContextManager[Any]:
        """The block of autocast in which the model runs."""
        return torch.autocast("cpu", getattr(torch, self.autocast)) if self.autocast else nullcontext()

    def run(self, model: nn.Module, x: Tensor) -> Any:
        """The output of a plain forward."""
        with torch.no_grad(), unfused(), self.block():
            return model(x)

    def runs(self) -> bool:
        """Whether torch runs the model, without its fallbacks for convolutions."""
        try:
            with NoFallback():
                self.run(*self.build())
        except Exception:
            return False
        return True

    def without(self, index: int) -> Network:
        """The network without one of its steps."""
        return replace(self, steps=self.steps[:index] + self.steps[index + 1 :])


@contextmanager
def unfused() -> Iterator[None]:
    """Attention runs op by op, as the trace runs it: without the fused inference path that hides its products."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def grow(seed: int) -> Network:
    """The network of a seed."""
    rng = random.Random(seed)
    family = rng.choice(list(FAMILIES))
    shape, layout = family_input(rng, family)
    network = Network(
        seed,
        shape,
        layout,
        dtype=rng.choice(["float32"] * 5 + ["float64", "bfloat16", "float16"]),
        mode=rng.choice(["eval", "eval", "train"]),
        channels_last=family == "2d" and rng.random() < 0.3,
    )
    network = _with_steps(network, rng, FAMILIES[family], rng.randint(2, 9))
    if network.dtype == "float32" and rng.random() < 0.25 and not _computes_wide(network):
        lowered = replace(network, autocast=rng.choice(["bfloat16", "float16"]))
        network = lowered if lowered.runs() else network
    for _ in range(len(network.steps)):  # what ran step by step may fail as a whole, after writing in place
        if network.runs():
            break
        network = replace(network, steps=network.steps[:-1], returns="x")
    return network


def family_input(rng: random.Random, family: str) -> tuple[tuple[int, ...], str]:
    """A shape, and what is done to a contiguous tensor of it."""
    batch = rng.choice([1, 1, 2, 2, 3, 0])
    if family == "tokens":
        return (batch, rng.randint(1, 9), rng.choice([4, 8, 12])), rng.choice([""] * 4 + [".transpose(0, 1)"])
    axes = int(family[0])
    channels, size = rng.choice([1, 2, 3, 4, 6, 8]), [rng.choice([1, 4, 5, 6, 8]) for _ in range(axes)]
    layouts = ["", "", "", ".transpose(-1, -2)" if axes > 1 else "[..., ::2]", f".expand(2, *[-1] * {axes + 1})"]
    if batch != 1:
        layouts.pop()
    if axes > 1:
        layouts += [f".contiguous(memory_format=torch.channels_last{'_3d' if axes == 3 else ''})"] * 2
    return (batch, channels, *size), rng.choice(layouts)


def _with_steps(network: Network, rng: random.Random, makers: list[Callable[..., str | None]], n: int) -> Network:
    """The network with up to ``n`` steps, those that torch refuses dropped."""
    model, x = network.build()
    values: dict[str, Any] = {**NAMESPACE, "self": model, "x": x}
    steps: list[Step] = []
    with torch.no_grad(), unfused():
        for index in range(n):
            draft = Draft(rng, index, values["x"], [name for name in values if name in _SAVED], list(model._modules))
            code = rng.choice(makers)(draft)
            if code is None:
                continue
            step = Step(code, tuple(draft.modules.items()))
            after = _tried(step, network, values)
            if after is not None:
                values = after
                steps.append(step)
    saved = [name for name in values if name in _SAVED]
    returns = rng.choice(["x", "x", "x", f"(x, {saved[0]})", f"{{'x': x, 'more': [{saved[0]}]}}"]) if saved else "x"
    return replace(network, steps=tuple(steps), returns=returns)


def _computes_wide(network: Network) -> bool:
    """Whether autocast on the CPU leaves states in single precision, which on a GPU are lowered, as in profiles."""
    return any(word in build for step in network.steps for _, build in step.modules for word in ("GRU", "proj_size"))


_SAVED = frozenset({"a", "b", "c"})
"""Names to which steps save what ``x`` is, for branches."""


def _tried(step: Step, network: Network, values: dict[str, Any]) -> dict[str, Any] | None:
    """The names after a step, or ``None`` where torch refuses it or it makes what the next cannot take."""
    model = values["self"]
    after = dict(values)
    try:
        for name, build in step.modules:
            module = eval(build, NAMESPACE).to(getattr(torch, network.dtype)).train(network.mode == "train")
            model.add_module(name, module)
        with NoFallback():
            exec(step.code, after)
    except Exception:
        after = {}
    x = after.get("x")
    if not isinstance(x, Tensor) or x.numel() > LARGEST or prod(x.stride() or (0,)) > 1 << 40:
        for name, _ in step.modules:
            model._modules.pop(name, None)
        return None
    return after
