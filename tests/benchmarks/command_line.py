"""Print how long commands take that need no model, beside an import of torch: python tests/benchmarks/command_line.py.

Each is a fresh process that starts in turn with the others, so that all see the same load; the least of several, in CPU
time of the process. Bytecode is cached, as it is for an installed package, whatever the environment says.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile

ROUNDS = 7
SHARE = 0.25
"""Of the time of ``import torch``, the most that any of them may take."""

COMMANDS = {
    "--help": "Usage: costmodel",
    "profile --help": "Usage: costmodel profile",
    "models": "efficientnet_v2_l",
    "explain": "depthwise_separable",
    "explain conv": "params = c_in·c_out·kernel²/groups + c_out",
    "<TAB>": "profile",
    "profile res<TAB>": "resnet18",
    "explain con<TAB>": "conv_transpose",
}
"""What is typed, and a part of what is printed; ``<TAB>`` asks for completion."""


def environment(command: str) -> tuple[list[str], dict[str, str]]:
    """The arguments of a command, and the variables with which a shell asks for completion."""
    if not command.endswith("<TAB>"):
        first, _, rest = command.partition(" ")
        return [first, *([rest] if rest else [])], {}
    words = f"costmodel {command.removesuffix('<TAB>')}"
    index = len(words.split()) if words.endswith(" ") else len(words.split()) - 1
    return [], {"_COSTMODEL_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(index)}


def _seconds(command: list[str], environ: dict[str, str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, env=environ, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Measure and print; the first round, which compiles and fills caches, is left out."""
    run = [sys.executable, "-c", "from costmodel.cli import main; main()"]
    with tempfile.TemporaryDirectory() as cache:
        environ = {**os.environ, "PYTHONPYCACHEPREFIX": cache}
        environ.pop("PYTHONDONTWRITEBYTECODE", None)
        cases = {"import torch": ([sys.executable, "-c", "import torch"], environ)}
        for command in COMMANDS:
            arguments, more = environment(command)
            cases[f"costmodel {command}"] = ([*run, *arguments], {**environ, **more})
        rounds = [{name: _seconds(*case) for name, case in cases.items()} for _ in range(ROUNDS + 1)][1:]
    least = {name: min(times[name] for times in rounds) for name in cases}
    for name, seconds in least.items():
        print(f"{name:28}{1000 * seconds:8.0f} ms {seconds / least['import torch']:7.1%}")
    print(f"least CPU time of {ROUNDS} fresh processes; the limit is {SHARE:.0%} of torch's")


if __name__ == "__main__":
    main()
