"""The names of a library's networks, which may stand for a list of values: ``@all``, ``@mobilenet*``."""

from __future__ import annotations

from fnmatch import fnmatchcase

from costmodel import models
from costmodel.errors import InputError
from costmodel.loading.building import package


def names(what: str, argument: str, pattern: str) -> list[str]:
    """The names that a pattern stands for, where an argument is the name of a network in a spec.

    >>> names("{net}", "net", "vgg1?")
    ['vgg11', 'vgg13', 'vgg16', 'vgg19']

    Raises ``InputError`` where the argument is no such name, and where no name matches.
    """
    before = what.partition(f"{{{argument}}}")[0] if f"{{{argument}}}" in what else None
    if before == "":
        known = models.list_models()
    elif before in ("timm:", "torchvision:"):
        known = package("timm" if before == "timm:" else "torchvision.models", before[:-1]).list_models()
    else:
        raise InputError(
            f"{argument}=@{pattern} is a list of networks: it goes with timm:{{{argument}}}, "
            f"torchvision:{{{argument}}} or {{{argument}}}, not with {what!r}"
        )
    found = [name for name in known if pattern == "all" or fnmatchcase(name, pattern)]
    if not found:
        raise InputError(f"{argument}=@{pattern}: no network of {before[:-1] or 'this library'} has such a name")
    return found
