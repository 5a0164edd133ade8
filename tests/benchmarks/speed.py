"""How fast a profile is, against fvcore, FlopCounterMode, and the floor of any dispatch-mode trace.

    python tests/benchmarks/speed.py [--rounds 15] [--batch 1] [model ...]

Every round runs each contender once, in turn, in this process; the table shows medians. The floor is the same forward
under a dispatch mode that returns prepared tensors and records nothing: no hooks, no rules, no records.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from fvcore.nn import FlopCountAnalysis
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

import costmodel
from costmodel.trace.signature import signature


class Recorded(TorchDispatchMode):
    """Keeps what every op returned; a view is made anew, for torch insists on it."""

    def __init__(self) -> None:
        super().__init__()
        self.outputs: list[Any] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run and keep."""
        result = func(*args, **(kwargs or {}))
        sig = signature(func)
        self.outputs.append(None if sig.is_view else args[0] if sig.is_inplace else result)
        return result


class Prepared(TorchDispatchMode):
    """Answers every op with the tensor that was prepared for it."""

    def __init__(self, outputs: list[Any]) -> None:
        super().__init__()
        self.outputs, self.position = outputs, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Hand out the next one."""
        result = self.outputs[self.position]
        self.position += 1
        return func(*args, **(kwargs or {})) if result is None else result


def vit_b_16() -> nn.Module:
    """A ViT-B/16 of torch's own layers (Dosovitskiy et al., arXiv:2010.11929, table 1), for want of torchvision."""

    class ViT(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches = nn.Conv2d(3, 768, 16, stride=16)
            self.token = nn.Parameter(torch.zeros(1, 1, 768))
            self.position = nn.Parameter(torch.zeros(1, 197, 768))
            layer = nn.TransformerEncoderLayer(768, 12, 3072, 0.0, "gelu", batch_first=True, norm_first=True)
            self.encoder = nn.TransformerEncoder(layer, 12, nn.LayerNorm(768), enable_nested_tensor=False)
            self.head = nn.Linear(768, 1000)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.patches(x).flatten(2).transpose(1, 2)
            x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.position
            return self.head(self.encoder(x)[:, 0])

    return ViT()


def contenders(model: nn.Module, shape: tuple[int, ...]) -> dict[str, Callable[[], Any]]:
    """What is timed, by name."""
    on_meta = torch.empty(shape, device="meta")
    with torch.device("meta"):
        twin = copy_on_meta(model)
    recorded = Recorded()
    with torch.no_grad(), recorded:
        twin(on_meta)

    def floor() -> None:
        with torch.no_grad(), Prepared(recorded.outputs):
            model(on_meta)

    x = torch.randn(shape)

    def fvcore() -> int:
        return int(FlopCountAnalysis(model, x).unsupported_ops_warnings(False).uncalled_modules_warnings(False).total())

    def flop_counter_mode() -> int:
        with FlopCounterMode(display=False) as counter:
            model(x)
        return int(counter.get_total_flops())

    return {
        "floor": floor,
        "costmodel": lambda: costmodel.profile(model, shape).macs,
        "fvcore": fvcore,
        "FlopCounterMode": flop_counter_mode,
    }


def copy_on_meta(model: nn.Module) -> nn.Module:
    """The same model on the meta device; the original stays."""
    import copy

    return copy.deepcopy(model).to("meta").eval()


def medians(runs: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Seconds, the median of interleaved rounds after one warm-up."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for round_ in range(rounds + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if round_:
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=["resnet50", "vgg16", "mobilenet_v2", "vit_b_16"])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--batch", type=int, default=1)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    table = Table(title=f"medians of {arguments.rounds} interleaved rounds, batch {arguments.batch}, "
                        f"{torch.get_num_threads()} threads, torch {torch.__version__}")  # fmt: skip
    for column in ("model", "costmodel", "floor", "/ floor", "fvcore", "times", "FlopCounterMode", "times"):
        table.add_column(column, justify="left" if column == "model" else "right")
    for name in arguments.models:
        model = (vit_b_16() if name == "vit_b_16" else getattr(costmodel.models, name)()).eval()
        took = medians(contenders(model, (arguments.batch, 3, 224, 224)), arguments.rounds)
        ours = took["costmodel"]
        table.add_row(
            name, f"{ours * 1e3:.1f} ms", f"{took['floor'] * 1e3:.1f} ms", f"{ours / took['floor']:.2f}",
            f"{took['fvcore'] * 1e3:.0f} ms", f"{took['fvcore'] / ours:.1f}",
            f"{took['FlopCounterMode'] * 1e3:.0f} ms", f"{took['FlopCounterMode'] / ours:.1f}",
        )  # fmt: skip
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
