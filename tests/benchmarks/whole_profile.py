"""What every view of a profile takes, against the trace that it is made of; and how that grows with the model.

    python -m tests.benchmarks.whole_profile [--rounds 3] [--only networks|rows|sizes] [network ...]

Seconds are of CPU time in this process, the least of several rounds, each on a new profile whose MACs have been read:
``trace`` is ``profile(model, inputs).macs``, ``slowest total`` the longest of the totals that ``Profile.total`` and
the profile's properties give. Memory is the peak of what Python and NumPy allocate, by ``tracemalloc``, in a round of
its own. The networks are torchvision's, timm's and transformers' on meta tensors, and need those packages.
"""

from __future__ import annotations

import argparse
import gc
import logging
import time
import tracemalloc
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import nn

import costmodel
from costmodel import Input, Profile
from costmodel.measures import MEASURES

IMAGE = (1, 3, 224, 224)
TOKENS = {"input_ids": Input((1, 128), torch.int64)}


def _torchvision(name: str) -> nn.Module:
    from torchvision.models import get_model

    backbone = {"weights_backbone": None} if name.startswith("maskrcnn") else {}
    model: nn.Module = get_model(name, weights=None, **backbone)
    return model


def _timm(name: str) -> nn.Module:
    import timm

    model: nn.Module = timm.create_model(name)
    return model


def _funnel() -> nn.Module:
    from transformers import FunnelConfig, FunnelModel

    return FunnelModel(FunnelConfig())


def _llama_405b() -> nn.Module:
    """Llama 3.1 405B: the figures of its config.json (arXiv:2407.21783, table 3)."""
    from transformers import LlamaConfig, LlamaModel

    return LlamaModel(
        LlamaConfig(
            hidden_size=16384, intermediate_size=53248, num_hidden_layers=126, num_attention_heads=128,
            num_key_value_heads=8, vocab_size=128256, max_position_embeddings=131072, use_cache=False,
        )
    )  # fmt: skip


def _chain(layers: int) -> nn.Sequential:
    return nn.Sequential(*[nn.Linear(4, 4) for _ in range(layers)])


class Ops(nn.Module):
    """``count`` ops outside any leaf: additions, every fourth in place."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Adds 1 again and again."""
        for i in range(self.count):
            x = x + 1 if i % 4 else x.add_(1)
        return x


Network = tuple[Callable[[], nn.Module], Any]

NETWORKS: dict[str, Network] = {
    "mobilenet_v2": (lambda: _torchvision("mobilenet_v2"), IMAGE),
    "mobilenet_v3_small": (lambda: _torchvision("mobilenet_v3_small"), IMAGE),
    "shufflenet_v2_x1_0": (lambda: _torchvision("shufflenet_v2_x1_0"), IMAGE),
    "resnet50": (lambda: _torchvision("resnet50"), IMAGE),
    "efficientnet_b0": (lambda: _torchvision("efficientnet_b0"), IMAGE),
    "densenet121": (lambda: _torchvision("densenet121"), IMAGE),
    "vit_b_16": (lambda: _torchvision("vit_b_16"), IMAGE),
    "swin_t": (lambda: _torchvision("swin_t"), IMAGE),
    "densenet201": (lambda: _timm("densenet201"), IMAGE),
    "halonet_h1": (lambda: _timm("halonet_h1"), (1, 3, 256, 256)),
    "coat_mini": (lambda: _timm("coat_mini"), IMAGE),
    "funnel": (_funnel, TOKENS),
    "maskrcnn_resnet50_fpn_v2": (lambda: _torchvision("maskrcnn_resnet50_fpn_v2"), ([Input((3, 800, 800))],)),
    "10,000 layers": (lambda: _chain(10_000), (1, 4)),
}

SIZES: dict[str, Network] = {
    "100,000 ops": (lambda: Ops(100_000), (1, 4)),
    "Llama 3.1 405B": (_llama_405b, {"input_ids": Input((1, 8192), torch.int64)}),
    "resnet50, batch 10**12": (lambda: _torchvision("resnet50"), (10**12, 3, 224, 224)),
}

VIEWS: dict[str, Callable[[Profile], Any]] = {
    ".layers": lambda p: p.layers,
    ".crosscheck()": lambda p: p.crosscheck(),
    ".peak": lambda p: p.peak,
    ".fused_memory_access": lambda p: p.fused_memory_access,
    ".guidelines()": lambda p: p.guidelines(),
    ".roofline()": lambda p: p.roofline("a100"),
    "str": str,
    "to_html": lambda p: p.to_html(),
    "to_json": lambda p: p.to_json(),
    "to_markdown": lambda p: p.to_markdown(),
}

_MEMBERS = ("fused_memory_access", "peak_memory", "activations", "nonzero_macs", "is_exact", "shared_parameters")


def totals() -> dict[str, Callable[[Profile], Any]]:
    """Every scalar that a profile has, of all measures and of its own properties."""
    of_measures = {name: lambda p, name=name: p.total(name) for name in MEASURES}
    return of_measures | {name: lambda p, name=name: getattr(p, name) for name in _MEMBERS}


def built(network: Network) -> tuple[nn.Module, Any]:
    """The model on meta tensors, unless its forward computes with values of its own, and its inputs."""
    make, inputs = network
    with torch.device("meta"):
        model = make().eval()
    if type(model).__name__ == "MaskRCNN":
        model = make().eval()
    return model, inputs


def traced(model: nn.Module, inputs: Any) -> Profile:
    """A new profile whose MACs have been read."""
    p = costmodel.profile(model, inputs)
    _ = p.macs
    return p


def seconds(run: Callable[[], Any]) -> float:
    """CPU time of one call."""
    start = time.process_time()
    run()
    return time.process_time() - start


def megabytes(run: Callable[[], Any]) -> float:
    """The peak of what one call allocates."""
    gc.collect()
    tracemalloc.start()
    run()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 1e6


def least(rounds: int, model: nn.Module, inputs: Any, views: dict[str, Callable[[Profile], Any]]) -> dict[str, float]:
    """Of the trace and of each view the least seconds of several rounds, each view on a profile of its own."""
    found: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name, view in views.items():
            start = time.process_time()
            p = traced(model, inputs)
            found.setdefault("trace", []).append(time.process_time() - start)
            found.setdefault(name, []).append(seconds(lambda view=view, p=p: view(p)))
    return {name: min(values) for name, values in found.items()}


def networks(names: list[str], rounds: int, of: dict[str, Network]) -> Iterator[Table]:
    """The seconds and the megabytes of every view of every network."""
    took, slowest_total = Table(title=f"CPU seconds, the least of {rounds}"), totals()
    held = Table(title="MB at the peak of each call")
    for table in (took, held):
        table.add_column("network", no_wrap=True)
        for column in (*(("trace", "slowest total") if table is took else ()), *VIEWS):
            table.add_column(column, justify="right")
    for name in names:
        model, inputs = built(of[name])
        traced(model, inputs)  # fills the caches of rules and dispatches
        found = least(rounds, model, inputs, VIEWS)
        totalled = least(min(rounds, 2), model, inputs, slowest_total)
        worst = max(slowest_total, key=totalled.__getitem__)
        took.add_row(name, f"{found['trace']:.3f}", f"{totalled[worst]:.3f} {worst}",
                     *(f"{found[view]:.3f} ({found[view] / found['trace']:.0f}x)" for view in VIEWS))  # fmt: skip
        sizes = []
        for view in VIEWS.values():
            p = traced(model, inputs)
            sizes.append(f"{megabytes(lambda view=view, p=p: view(p)):.0f}")
        held.add_row(name, *sizes)
    yield took
    yield held


def rows(rounds: int) -> Iterator[Table]:
    """Microseconds of each view for each layer of a chain of 100, 1,000 and 10,000."""
    lengths = (100, 1_000, 10_000)
    table = Table(title=f"CPU microseconds a layer, the least of {rounds}")
    table.add_column("view")
    for n in lengths:
        table.add_column(f"{n:,} layers", justify="right")
    table.add_column("10,000 / 100", justify="right")
    of: dict[int, dict[str, float]] = {}
    for n in lengths:
        model = _chain(n)
        traced(model, (1, 4))
        of[n] = least(rounds * (10 if n == lengths[0] else 1), model, (1, 4), VIEWS)
    for view in ("trace", *VIEWS):
        each = [of[n][view] / n * 1e6 for n in lengths]
        table.add_row(view, *(f"{one:.1f}" for one in each), f"{each[-1] / each[0]:.2f}")
    yield table


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="*", default=[])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=("networks", "rows", "sizes"))
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    console = Console(width=220)
    if arguments.only in (None, "networks"):
        for table in networks(arguments.networks or list(NETWORKS), arguments.rounds, NETWORKS):
            console.print(table)
    if arguments.only in (None, "rows"):
        for table in rows(arguments.rounds):
            console.print(table)
    if arguments.only in (None, "sizes"):
        for table in networks(list(SIZES), 1, SIZES):
            console.print(table)


if __name__ == "__main__":
    main()
