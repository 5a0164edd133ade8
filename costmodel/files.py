"""Files that the library writes: each is the old one or the new one, whole, whatever happens in between."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path
from secrets import token_hex
from stat import S_ISREG
from typing import Any

from costmodel.errors import ConvertError


def as_path(path: Any) -> Path:
    """A path as the system takes it, ``~`` expanded. Raises ``ConvertError`` for what is none."""
    if not isinstance(path, str | os.PathLike) or not os.fspath(path):
        raise ConvertError(f"a path is a text such as 'report.html', or a pathlib.Path, not {path!r}")
    try:
        return Path(path).expanduser()
    except (RuntimeError, TypeError) as error:  # an unknown user's home; a path in bytes
        raise ConvertError(f"{path!r} is no path: {error}") from error


def is_saved(model: str) -> bool:
    """Whether the name of a model is that of a file with a saved profile, or a saved training step.

    >>> is_saved("p.json"), is_saved("hf:bert/config.json"), is_saved("resnet18")
    (True, False, False)
    """
    return model.endswith(".json") and ":" not in model


def require_place(path: Path) -> None:
    """Raises ``ConvertError`` where a file surely cannot be made, before the work that it is to hold.

    >>> require_place(Path(__file__) / "report.html")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    costmodel.errors.ConvertError: ...report.html cannot be written: ...files.py is no folder
    """
    above = next(parent for parent in as_path(path).absolute().parents if parent.exists())
    if not above.is_dir():
        raise ConvertError(f"{path} cannot be written: {above} is no folder")
    if as_path(path).is_dir():
        raise ConvertError(f"{path} cannot be written: it is a folder")
    if not os.access(above, os.W_OK):
        raise ConvertError(f"{path} cannot be written: the folder {above} is read-only. Name another one")


def write_text(path: str | Path, text: str) -> Path:
    """Writes a text as UTF-8, with a line break at its end; as ``write_bytes`` does."""
    text = text if text.endswith("\n") else f"{text}\n"
    # Half of a surrogate pair, which a module's name may hold, has no encoding.
    return write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_bytes(path: str | Path, data: bytes) -> Path:
    """Writes a file beside the old one and renames it over that; makes folders as needed.

    A symbolic link stays one, and its target is replaced. The permissions of the old file are kept. What is no regular
    file, such as a terminal or a pipe, is written directly. Raises ``ConvertError`` if the file cannot be written.
    """
    path = as_path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        target = Path(os.path.realpath(path))
        if target.exists() and not S_ISREG(target.stat().st_mode):
            target.write_bytes(data)
        else:
            _replace(target, data)
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
        reason = getattr(error, "strerror", None) or str(error)
        raise ConvertError(
            f"{path} cannot be written: {reason}. Free the disk, or name another file or folder"
        ) from error
    return path


def _replace(target: Path, data: bytes) -> None:
    old = target.exists()
    if old and not os.access(target, os.W_OK):
        raise PermissionError(None, "the file is read-only")
    new = target.with_name(f".costmodel-{token_hex(8)}.part")
    try:
        with new.open("xb") as file:
            if old:
                shutil.copymode(target, new)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())  # a disk that is full may say so only now
        new.replace(target)
    except BaseException:  # an interrupt, too, leaves nothing behind
        with suppress(OSError):
            new.unlink()
        raise
