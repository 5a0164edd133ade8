"""The command line: parse, compose, print.

Exit status: 0 done; 1 a check failed; 2 the command, a model or its input is at fault; 3 the library itself is.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from costmodel.cli import analyse, explain, judge, notes, show, zoo
from costmodel.cli.console import failed, spell
from costmodel.errors import CostModelError
from costmodel.version import __version__

EPILOG = (
    "Exit status: 0 done; 1 a check failed; 2 the command, a model or its input is at fault; 3 costmodel itself is. "
    "With --traceback an error is shown whole, and the status of any is 1, which is Python's."
)

app = typer.Typer(
    name="costmodel",
    help="What a PyTorch model costs before anything runs: parameters, MACs, FLOPs, memory access, layer by layer.",
    epilog=EPILOG,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _module in (show, judge, explain, zoo, analyse, notes):
    for _command in _module.COMMANDS:
        app.command(epilog=EPILOG)(_command)


def _tell_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"costmodel {__version__}")
        raise typer.Exit


@app.callback()
def options(
    traceback: bool = typer.Option(False, "--traceback", help="Show errors whole."),
    version: bool = typer.Option(
        False, "--version", help="Print the version and leave.", is_eager=True, callback=_tell_version
    ),
) -> None:
    """What every command takes; ``main`` looks for --traceback itself, for an error may come before any command."""
    del traceback, version


def main(arguments: Sequence[str] | None = None) -> None:
    """The console entry point."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    whole = "--traceback" in given
    spell()
    wanted = [argument for argument in given if argument != "--traceback"] or ["--help"]
    try:
        status = app(wanted, prog_name="costmodel", standalone_mode=False)
    except Exception as error:
        if whole:
            raise
        status, message = _fault(error)
        failed(message)
    sys.exit(status or 0)


def _fault(error: Exception) -> tuple[int, str]:
    """The exit status for an error, and the line that tells of it."""
    if isinstance(error, CostModelError):
        return 2, str(error)
    # A mistake in the command. Its class is click's own or typer's copy of it, by typer's version.
    if hasattr(error, "format_message"):
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "costmodel"
        return 2, f"{error.format_message().rstrip('.')} (`{command} --help` tells what there is)"
    return 3, f"{type(error).__name__}: {error}. This is a fault of costmodel; --traceback shows where it lies"
