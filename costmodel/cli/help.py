"""How the pages of ``--help`` look: typer's own, which say what a value is and not of which Python type."""

from __future__ import annotations

from typing import Any

from typer.core import TyperArgument, TyperCommand, TyperGroup


class Command(TyperCommand):
    """A command whose help names what an option takes, ``SHAPE``, and nothing for a flag."""

    def get_params(self, ctx: Any) -> list[Any]:
        """The parameters, the option --help among them."""
        return _named(super().get_params(ctx))


class Group(TyperGroup):
    """The program itself, likewise."""

    def get_params(self, ctx: Any) -> list[Any]:
        """The parameters, the option --help among them."""
        return _named(super().get_params(ctx))


def _named(parameters: list[Any]) -> list[Any]:
    """Names what a value is, in the place of its Python type: ``N`` and not ``<int range>``, nothing for a flag.

    An empty metavar is typer's own way to say nothing of an option. Of an argument the metavar is its name in usage
    lines, so what the help writes beside it is taken away; typer before 0.27 has other words there, which stay.
    """
    for parameter in parameters:
        if isinstance(parameter, TyperArgument):
            if hasattr(parameter, "display_type_rich"):
                parameter.display_type_rich = _nothing  # type: ignore[method-assign] # there is no option for it
        elif parameter.metavar is None:
            counted = getattr(parameter, "min", None) is not None
            parameter.metavar = "" if parameter.is_flag else "N" if counted else parameter.name.upper()
    return parameters


def _nothing(ctx: Any) -> None:  # noqa: ARG001 - typer's signature
    return None
