"""The command line: one file per command, which parses, asks the library and prints.

Exit status: 0 success; 1 a check failed; 2 usage or input error; 3 internal error.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from inspect import getdoc

import typer

from costmodel.cli import (
    calibrate,
    check,
    compare,
    devices,
    diff,
    explain,
    generate,
    guidelines,
    measure,
    models,
    notes,
    profile,
    published,
    reconcile,
    roofline,
    scale,
    sweep,
    train,
)
from costmodel.cli.console import discard, install_ascii_fallback, print_error
from costmodel.cli.help import Command, Group
from costmodel.errors import CostModelError
from costmodel.version import __version__

EXIT_STATUSES = (
    "Exit status: 0 success; 1 a check failed; 2 usage or input error; 3 internal error. With --traceback any error "
    "shows its traceback and exits with 1."
)

app = typer.Typer(
    name="costmodel",
    help="What a PyTorch model costs before anything runs: parameters, MACs, FLOPs, memory access, layer by layer.",
    epilog=EXIT_STATUSES,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    cls=Group,
)
for _command in (
    profile.profile, compare.compare, train.train, diff.diff, check.check, explain.explain, models.models,
    guidelines.guidelines, reconcile.reconcile, published.published, roofline.roofline, measure.measure,
    devices.devices, scale.scale, sweep.sweep, generate.generate, calibrate.calibrate, notes.notes,
):  # fmt: skip
    # Typer keeps the line breaks of a docstring, which are for another width than the terminal's.
    app.command(cls=Command, help=re.sub(r"(?<!\n)\n(?!\n)", " ", getdoc(_command) or ""))(_command)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"costmodel {__version__}")
        raise typer.Exit


@app.callback()
def options(
    traceback: bool = typer.Option(False, "--traceback", help="Show the traceback of an error."),
    version: bool = typer.Option(
        False, "--version", help="Print the version and exit.", is_eager=True, callback=_print_version
    ),
) -> None:
    """Options of all commands. ``main`` looks for --traceback itself: an error may come before any command."""
    del traceback, version


def main(arguments: Sequence[str] | None = None) -> None:
    """The console entry point."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    with_traceback = "--traceback" in given
    if sys.stdout is None:  # it was closed before this process began
        if sys.stderr is not None:
            print_error("standard output is closed: give the command one, or --save FILE and > /dev/null")
        sys.exit(2)
    install_ascii_fallback()
    wanted = [argument for argument in given if argument != "--traceback"] or ["--help"]
    try:
        if _asks_for_devices(wanted):
            wanted = ["devices"]
        status = app(wanted, prog_name="costmodel", standalone_mode=False)
    except Exception as error:
        if with_traceback:
            raise
        status, message = _status_and_message(error)
        with suppress(CostModelError):  # standard error may be what cannot be written
            print_error(message)
    sys.exit(status or 0)


def _asks_for_devices(arguments: Sequence[str]) -> bool:
    """Whether ``--device`` stands without a name: then all are listed.

    >>> _asks_for_devices(["roofline", "resnet18", "--device"]), _asks_for_devices(["train", "m", "--device", "h100"])
    (True, False)
    """
    return any(
        argument == "--device" and (i + 1 == len(arguments) or arguments[i + 1].startswith("-"))
        for i, argument in enumerate(arguments)
    )


def _status_and_message(error: Exception) -> tuple[int, str]:
    if isinstance(error, CostModelError):
        return 2, str(error)
    if isinstance(error, OSError):  # such as a help page on a full disk
        discard(sys.stdout)
        return 2, f"the system refuses: {error}"
    # A usage error. Its class is click's, or typer's copy of it: that depends on typer's version.
    if hasattr(error, "format_message"):
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "costmodel"
        return 2, f"{error.format_message().rstrip('.')} (`{command} --help` lists what there is)"
    return 3, f"{type(error).__name__}: {error}. This is a bug in costmodel; --traceback shows where"
