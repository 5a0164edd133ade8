"""Autocast on meta tensors against real autocast on the CPU: the same ops, dtypes, casts and lifetimes."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

import costmodel
from costmodel.graph import Graph
from costmodel.trace import trace
from costmodel.trace.autocast import _FLOAT32_BY_DTYPE, _LOWER, _RECURRENT, _WIDEST, DEVICES, Policy, policies


def both(model: nn.Module, shape: Any, **options: Any) -> tuple[Graph, Graph]:
    """The same forward traced on meta tensors and with real ones, where torch's own autocast acts."""
    graphs = []
    for execution in ("meta", "real"):
        if options:
            with torch.autocast("cpu", **options):
                graphs.append(trace(model, shape, execution=execution))  # type: ignore[arg-type]  # one of the two
        else:
            graphs.append(trace(model, shape, execution=execution))  # type: ignore[arg-type]
    return graphs[0], graphs[1]


def ops(graph: Graph) -> list[tuple[str, list[str], list[str]]]:
    """Every op with what it read and made."""
    return [(c.op, [str(t) for _, t in c.tensors()], [str(t) for t in c.outputs]) for c in graph.ops]


def lifetimes(graph: Graph) -> list[tuple[int, int, int | None]]:
    """Every storage's bytes, birth and end."""
    return sorted((s.nbytes, s.allocated_at, -1 if s.freed_after is None else s.freed_after) for s in graph.storages)


class Inside(nn.Module):
    """Autocast turned on by the model itself, twice in a row, with a part where it is off, and a concatenation."""

    def __init__(self) -> None:
        super().__init__()
        self.shared, self.weight = nn.Linear(4, 4), nn.Parameter(torch.ones(4, 4))

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu"):
            x = self.shared(x)
        with torch.autocast("cpu"):
            x = self.shared(x)
            with torch.autocast("cpu", enabled=False):
                x = x.float() @ self.weight
            x = torch.cat([self.shared(x), self.weight])
        return self.shared(x.float())


class Functional(nn.Module):
    """Attention and a pooling of the float32 list, with no weight at all."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu"):
            scores = (x @ x.transpose(-1, -2)).softmax(-1)
            pooled = functional.avg_pool3d((scores @ x)[None, None], 1)[0, 0]
            return functional.scaled_dot_product_attention(x, x, x) + pooled


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "shufflenet_v2", "googlenet"])
def test_a_network_under_autocast_runs_as_real_autocast_runs_it(name: str) -> None:
    """Ops, shapes, dtypes, casts, and when every cast tensor is freed, are those of a real forward."""
    meta, real = both(costmodel.models.build(name).eval(), (1, 3, 96, 96), dtype=torch.bfloat16)
    assert (meta.execution, real.execution) == ("meta", "real")
    assert ops(meta) == ops(real)
    assert lifetimes(meta) == lifetimes(real)
    assert any(call.op == "aten._to_copy.default" for call in meta.ops)


@pytest.mark.parametrize("model", [Inside(), Functional()], ids=["weights", "functions"])
def test_autocast_that_the_model_turns_on(model: nn.Module) -> None:
    """Blocks inside the forward, nested and one after the other, act as they really do."""
    meta, real = both(model, (2, 4) if isinstance(model, Inside) else (2, 3, 4))
    assert ops(meta) == ops(real)
    assert lifetimes(meta) == lifetimes(real)


@pytest.mark.parametrize(("cache_enabled", "casts"), [(True, 2), (False, 4)])
def test_the_cache_of_weights(cache_enabled: bool, casts: int) -> None:
    """A weight and its bias are cast once a block, or at each use where the cache is off."""
    shared = nn.Linear(4, 4)
    model = nn.Sequential(shared, nn.ReLU(), shared)
    meta, real = both(model, (2, 4), dtype=torch.bfloat16, cache_enabled=cache_enabled)
    assert ops(meta) == ops(real)
    cast = [c for c in meta.ops if c.op == "aten._to_copy.default" and c.args["self"].role == "parameter"]
    assert len(cast) == casts


def test_a_model_on_the_meta_device_has_its_weights_cast_too() -> None:
    """Where torch's own autocast does nothing even to the weights, the casts are the same, the cache included."""
    shared = nn.Linear(4, 4)
    real = nn.Sequential(shared, nn.LayerNorm(4), shared)
    with torch.device("meta"):
        other = nn.Linear(4, 4)
        meta = nn.Sequential(other, nn.LayerNorm(4), other)
    with torch.autocast("cpu"):
        assert ops(trace(meta, (2, 4))) == ops(trace(real, (2, 4), execution="real"))


def test_bytes_under_autocast() -> None:
    """Casts are traffic, and what they make moves two bytes an element."""
    model = nn.Linear(4, 8, bias=False)
    with torch.autocast("cpu"):
        p = costmodel.profile(model, (3, 4))
    casts = (32 + 12) * (4 + 2)
    assert p.memory_access_bytes == casts + 2 * (12 + 32 + 24)


def test_a_trace_leaves_autocast_as_it_was() -> None:
    """Real forwards before and after a trace in the same block are right: no cast made on meta is kept for them."""
    model, x = nn.Linear(4, 4), torch.randn(2, 4)
    with torch.no_grad(), torch.autocast("cpu"):
        before = model(x)
        costmodel.profile(model, (2, 4))
        assert torch.is_autocast_enabled("cpu")
        assert torch.equal(model(x), before)
    assert not torch.is_autocast_enabled("cpu")


def test_without_autocast_nothing_is_cast() -> None:
    """Neither outside a block, nor inside one that turns it off."""
    plain = ops(trace(nn.Linear(4, 4), (2, 4)))
    with torch.autocast("cpu", enabled=False):
        assert ops(trace(nn.Linear(4, 4), (2, 4))) == plain
    assert [op for op, _, _ in plain] == ["aten.linear.default"]


@pytest.mark.parametrize("device", DEVICES)
def test_every_listed_op_has_an_autocast_kernel(device: str) -> None:
    """The lists name ops that this torch has an autocast kernel for, on the CPU or on CUDA."""
    here = {op.removeprefix("aten.").removesuffix(".default") for op in policies(device)}
    assert here >= _WIDEST[device] | _FLOAT32_BY_DTYPE[device]
    everywhere = {op.removeprefix("aten.").removesuffix(".default") for d in DEVICES for op in policies(d)}
    assert everywhere >= _LOWER


def cast_by_torch(op: str, dtype: torch.dtype) -> list[torch.dtype]:
    """The dtypes that an op of tensors alone is given under real autocast on the CPU; none where it takes more."""
    namespace, name, overload = op.split(".")
    function = getattr(getattr(getattr(torch.ops, namespace), name), overload)
    needed = [a for a in function._schema.arguments if not a.has_default_value()]
    if any(str(a.type) != "Tensor" for a in needed):
        return []
    seen: list[torch.dtype] = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func is function:
                seen.extend(a.dtype for a in args if isinstance(a, Tensor))
            return func(*args, **(kwargs or {}))

    given = [torch.rand(3, 3, dtype=dtype) for _ in needed]
    # Shapes that do not suit the op are no matter, nor is a deprecation: what it was given is seen before that is said.
    with (
        suppress(RuntimeError, IndexError, NotImplementedError, UserWarning),
        torch.no_grad(),
        torch._C._AutoDispatchBelowAutograd(),
        torch.autocast("cpu"),
        Watch(),
    ):
        function(*given)
    return seen


def test_each_policy_is_torchs_own() -> None:
    """Every op of tensors alone is given, by real autocast on the CPU, the dtype that its policy says."""
    checked = []
    for op, policy in policies("cpu").items():
        if op.removeprefix("aten.").removesuffix(".default") in _RECURRENT:
            continue  # without a kernel of autocast's; their products have one, and states stay as they are
        lower = policy is Policy.LOWER
        seen = cast_by_torch(op, torch.float32 if lower else torch.bfloat16)
        assert set(seen) <= {torch.bfloat16 if lower else torch.float32}, op
        checked += [op] * bool(seen)
    assert len(checked) > 25
    assert {"aten.mm.default", "aten.linear.default", "aten.prelu.default", "aten.mse_loss.default"} <= set(checked)
