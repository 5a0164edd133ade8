"""The parts of a spec string. Nothing is imported, and nothing in it is executed."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from costmodel.errors import LoadError

EXAMPLES = (
    "mobilenet_v2", "mobilenet_v1(width=0.5)", "torchvision:resnet50", "timm:convnext_tiny",
    "hf:bert, hf:path/to/config.json", "package.module:factory", "path/to/file.py:factory", "path/to/exported.pt2",
)  # fmt: skip
"""Spec strings, at least one for each scheme."""

SAVED = frozenset({".pt2", ".pt", ".pth", ".ts", ".torchscript", ".onnx", ".safetensors"})
"""Suffixes of files that hold a model, or are taken to."""


@dataclass(frozen=True, slots=True)
class Spec:
    """The parts of a spec string."""

    scheme: str
    """``torchvision``, ``timm``, ``hf``, ``file`` and ``module`` (of a factory), ``saved`` (a file that is the model),
    or ``""`` for the library's own networks."""
    where: str
    """The file or module of a factory, or the file that is the model; ``""`` for the other schemes."""
    name: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] | None = None


def parse(spec: str) -> Spec:
    """Parses a spec string; nothing is imported, and nothing in it is executed.

    >>> parse("torchvision:vit_b_16(image_size=384)")
    Spec(scheme='torchvision', where='', name='vit_b_16', args=(), kwargs={'image_size': 384})
    """
    head, args, kwargs = _split_call(spec.strip())
    scheme, colon, rest = head.partition(":")
    if Path(head).suffix in SAVED and scheme not in ("torchvision", "timm", "hf"):
        return Spec("saved", head, "", args, kwargs)
    if not colon:
        return Spec("", "", head, args, kwargs)
    if scheme in ("torchvision", "timm", "hf"):
        if not rest:
            raise LoadError(f"{spec!r} names no model: write {scheme}:NAME")
        return Spec(scheme, "", rest, args, kwargs)
    where, _, factory = head.rpartition(":")
    if not factory.isidentifier():
        raise LoadError(f"{spec!r}: {factory!r} is not the name of a factory. {how_to_name()}")
    return Spec("file" if where.endswith(".py") else "module", where, factory, args, kwargs)


def _split_call(spec: str) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
    if "(" not in spec:
        return spec, (), {}
    head, _, inside = spec.partition("(")
    try:
        call = ast.parse(f"_({inside}", mode="eval").body
        if not isinstance(call, ast.Call) or any(k.arg is None for k in call.keywords):
            raise ValueError("not a list of arguments")
        args = tuple(ast.literal_eval(a) for a in call.args)
        return head.strip(), args, {k.arg: ast.literal_eval(k.value) for k in call.keywords if k.arg is not None}
    except (SyntaxError, ValueError) as error:
        raise LoadError(
            f"the arguments of {spec!r} cannot be read: they are Python literals, as in mobilenet_v1(width=0.5)"
        ) from error


def hint(name: str, names: Iterable[str], prefix: str = "", suffix: str = "") -> str:
    """The names that one may have meant."""
    close = get_close_matches(name, list(names))
    return f"; did you mean {' or '.join(f'{prefix}{n}{suffix}' for n in close)}?" if close else ""


def how_to_name() -> str:
    """A sentence for errors."""
    return f"A model is named as in {'; '.join(EXAMPLES)}; `costmodel models` lists the library's own"
