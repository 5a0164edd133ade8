"""What a user waits for in a new process: a tool's import and its first answer, for each network and each tool.

    python tests/benchmarks/first_answer.py [--runs 7] [--spawn] [--tools costmodel thop ...] [network ...]

torch is imported and the model is built before the clock starts. Each time is of a process of its own: a fork of this
one, which has imported no tool, or, with ``--spawn``, an interpreter started anew (ten times as long). The tools take
turns, so that what else the machine does slows all alike; the first turn writes bytecode and is left out. Medians go
into reports/measured/speed.json. Needs torchvision; tools that are not installed are left out:
pip install ultralytics-thop torchinfo fvcore ptflops
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import subprocess
import sys
import warnings
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from time import perf_counter
from typing import Any

NETWORKS = (
    "mobilenet_v2", "mobilenet_v3_small", "shufflenet_v2_x1_0", "resnet50", "efficientnet_b0", "densenet121",
    "vit_b_16", "swin_t",
)  # fmt: skip
SHAPE = (1, 3, 224, 224)


def _costmodel(model: Any, x: Any) -> int:
    import costmodel

    return costmodel.profile(model, SHAPE).macs


def _costmodel_table(model: Any, x: Any) -> None:
    import costmodel

    print(costmodel.profile(model, SHAPE))


def _thop(model: Any, x: Any) -> int:
    from thop import profile

    return int(profile(model, (x,), verbose=False)[0])


def _torchinfo(model: Any, x: Any) -> int:
    from torchinfo import summary

    return summary(model, input_size=SHAPE, verbose=0).total_mult_adds


def _torchinfo_table(model: Any, x: Any) -> None:
    from torchinfo import summary

    summary(model, input_size=SHAPE, verbose=1)


def _fvcore(model: Any, x: Any) -> int:
    from fvcore.nn import FlopCountAnalysis

    return int(FlopCountAnalysis(model, x).total())


def _fvcore_table(model: Any, x: Any) -> None:
    from fvcore.nn import FlopCountAnalysis, flop_count_table

    print(flop_count_table(FlopCountAnalysis(model, x)))


def _flop_counter(model: Any, x: Any) -> int:
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        model(x)
    return int(counter.get_total_flops())


def _flop_counter_table(model: Any, x: Any) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=True):
        model(x)


def _ptflops(model: Any, x: Any) -> int:
    from ptflops import get_model_complexity_info

    return int(get_model_complexity_info(model, SHAPE[1:], as_strings=False, print_per_layer_stat=False)[0])


def _ptflops_table(model: Any, x: Any) -> None:
    from ptflops import get_model_complexity_info

    get_model_complexity_info(model, SHAPE[1:], print_per_layer_stat=True)


ANSWERS: dict[str, dict[str, Callable[[Any, Any], Any]]] = {
    "costmodel": {"total": _costmodel, "table": _costmodel_table},
    "thop": {"total": _thop},
    "torchinfo": {"total": _torchinfo, "table": _torchinfo_table},
    "fvcore": {"total": _fvcore, "table": _fvcore_table},
    "FlopCounterMode": {"total": _flop_counter, "table": _flop_counter_table},
    "ptflops": {"total": _ptflops, "table": _ptflops_table},
}
"""How each tool is asked for a model's total, and for its table; thop has no table."""
PACKAGES = {"costmodel": "", "thop": "ultralytics-thop", "FlopCounterMode": "torch"}
"""The distribution of a tool that has another name."""


def built(network: str) -> tuple[Any, Any]:
    """The network and an input. One thread: a fork would wait for threads that it has not."""
    import torch
    import torchvision

    torch.set_num_threads(1)
    return torchvision.models.get_model(network).eval(), torch.randn(SHAPE)


def timed(tool: str, what: str, model: Any, x: Any) -> float:
    """Seconds from before the tool's import until its answer is there."""
    import torch

    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    answer = ANSWERS[tool][what]
    start = perf_counter()
    with torch.no_grad():
        answer(model, x)
    sys.stdout.flush()
    return perf_counter() - start


def forked(tool: str, what: str, model: Any, x: Any) -> float:
    """The time of a fork of this process."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            silence = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silence, 1)
            os.write(writer, str(timed(tool, what, model, x)).encode())
            status = 0
        except Exception:
            logging.disable(logging.NOTSET)
            logging.exception("%s", tool)
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return float(said) if said else float("nan")


def spawned(tool: str, what: str, network: str) -> float:
    """The time of a new interpreter."""
    command = [sys.executable, __file__, "--cell", tool, what, network]
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(said.stderr.splitlines()[-1])


def installed(tool: str) -> str | None:
    """The version of a tool that is there."""
    if tool == "costmodel":
        return ""
    try:
        return version(PACKAGES.get(tool, tool))
    except PackageNotFoundError:
        return None


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=NETWORKS)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--spawn", action="store_true")
    parser.add_argument("--tools", nargs="+", default=list(ANSWERS))
    parser.add_argument("--cell", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.cell:
        tool, what, network = arguments.cell
        print(timed(tool, what, *built(network)), file=sys.stderr)
        return
    sys.dont_write_bytecode = False
    tools = [tool for tool in arguments.tools if installed(tool) is not None]
    cells = [(tool, what) for tool in tools for what in ANSWERS[tool]]
    print(f"{'ms':20}" + "".join(f"{tool + ' ' + what:>22}" for tool, what in cells))
    for network in arguments.networks:
        model, x = built(network)
        times: dict[tuple[str, str], list[float]] = {cell: [] for cell in cells}
        for _ in range(arguments.runs + 1):
            for tool, what in cells:
                spent = spawned(tool, what, network) if arguments.spawn else forked(tool, what, model, x)
                times[tool, what].append(1000 * spent)
        print(
            f"{network:20}"
            + "".join(f"{statistics.median(times[cell][1:]):12.1f} ({min(times[cell][1:]):7.1f})" for cell in cells),
            flush=True,
        )


if __name__ == "__main__":
    main()
