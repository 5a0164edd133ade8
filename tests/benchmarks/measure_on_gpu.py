"""Try ``costmodel.measure`` on a GPU, which no test has. Prints each check, and exits with 1 if one fails.

    python tests/benchmarks/measure_on_gpu.py [--device cuda] [--peaks h100]

With a GPU that costmodel knows, ``--peaks`` is not needed. It takes about a minute.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator

import torch
from torch import nn

import costmodel
from costmodel.errors import InputError
from costmodel.saved import parse

SIZE = 8192
"""Rows and columns of the large product."""


def wall_clock(model: nn.Module, shape: tuple[int, ...], device: str, runs: int = 20) -> float:
    """The least seconds of a forward by the CPU's clock, from an idle GPU to an idle GPU: events can read no more."""
    model = model.to(device).eval()
    x = torch.randn(shape, device=device)
    found = []
    with torch.inference_mode():
        for _ in range(3 + runs):
            torch.cuda.synchronize()
            start = time.perf_counter()
            model(x)
            torch.cuda.synchronize()
            found.append(time.perf_counter() - start)
    return min(found[3:])


def checks(device: str, peaks: str | None) -> Iterator[tuple[str, bool, object]]:
    """Each with what was seen."""
    for name, batch in (("resnet50", 32), ("mobilenet_v2", 1)):
        model = costmodel.load(name)
        shape = (batch, *model.example_inputs[1:])
        before = {key: value.clone() for key, value in model.state_dict().items()}
        m = costmodel.measure(model, shape, device=device, peaks=peaks)
        print(f"{m}\n")
        where = {tensor.device.type for tensor in (*model.parameters(), *model.buffers())}
        yield f"{name}: the model stays on the CPU", where == {"cpu"}, where
        same = all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
        yield f"{name}: and as it was, in training mode", same and model.training, (same, model.training)
        yield (
            f"{name}: rows are those of the profile",
            len(m.rows) == len(costmodel.profile(model, shape).layers),
            len(m.rows),
        )
        timed = [row.times for row in m.rows if row.times is not None]
        yield f"{name}: every call of a module has a time above 0", all(t.least > 0 for t in timed), m.unmatched
        seconds = wall_clock(costmodel.load(name), shape, device)
        ratio = m.total.least / seconds
        yield (
            f"{name}: events and the CPU's clock agree to a fifth, or 50 µs",
            (abs(ratio - 1) < 0.2 or abs(m.total.least - seconds) < 50e-6),
            f"{m.total.least:.6f} s and {seconds:.6f} s",
        )
        assert m.outside is not None
        yield f"{name}: layers take no longer than the forward with them", m.outside.median > 0, m.outside.median
        yield f"{name}: the GPU's clocks are read", len(m.setting.clocks) > 1, m.setting.clocks
        yield f"{name}: JSON reads back", parse(m.to_json()).to_json() == m.to_json(), ""

    big = nn.Linear(SIZE, SIZE, bias=False)
    for dtype in ("float32", "bfloat16"):
        m = costmodel.measure(big, (SIZE, SIZE), device=device, peaks=peaks, dtype=dtype)
        share = m.total.share or 0.0
        yield (
            f"a large product in {dtype} reaches between 20 and 105 % of the bound",
            0.2 < share < 1.05,
            (f"{share:.1%} of {m.peaks.title}, {m.peaks.math}"),
        )
    try:
        free = torch.cuda.mem_get_info(device)[0]
        costmodel.measure(nn.Identity(), (free // 4 + 2**28,), device=device, peaks=peaks)
        yield "what does not fit is refused", False, "it ran"
    except InputError as error:
        yield "what does not fit is refused", "GiB free" in str(error), error


def main() -> None:
    """Print each check."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--peaks", default=None, help="the device that the GPU is, where its name is not known")
    arguments = parser.parse_args()
    failed = 0
    for what, ok, seen in checks(arguments.device, arguments.peaks):
        print(f"{'✓' if ok else '✗'} {what}: {seen}", flush=True)
        failed += not ok
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
