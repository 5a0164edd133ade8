"""Models that lie in a file with their code: exported programs and TorchScript. Other files say what they lack."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

from costmodel.errors import LoadError
from costmodel.files import as_path
from costmodel.loading.building import Context, as_load_error
from costmodel.loading.spec import Spec

_OTHERS = {
    ".onnx": "costmodel reads PyTorch models, and no package that turns ONNX into one is kept up. Convert it once, for "
    "instance with onnx2torch.convert, in a file of yours, and name that: path/to/file.py:factory",
    ".safetensors": "it holds tensors, and no code that says what runs. Name the folder that has the model's "
    "config.json, too, as hf:FOLDER, or a factory: path/to/file.py:factory",
}


def from_saved(spec: Spec, text: str, _: Context) -> Any:
    """The model in a file; an exported program knows its inputs."""
    path = as_path(spec.where)
    if not path.is_file():
        raise LoadError(f"{text!r}: there is no file {path.resolve()}")
    if spec.args or spec.kwargs:
        raise LoadError(f"{text!r}: a saved model takes no arguments")
    if path.suffix in _OTHERS:
        raise LoadError(f"{text!r}: {_OTHERS[path.suffix]}")
    return _exported(path, text) if path.suffix == ".pt2" else _scripted(path, text)


def _exported(path: Path, text: str) -> Any:
    import torch

    from costmodel.trace.target import target_of

    with as_load_error(text):
        return target_of(torch.export.load(path)).module


def _scripted(path: Path, text: str) -> Any:
    """A TorchScript archive. Nothing is unpickled: that of another file could run any code."""
    import torch

    if not _is_archive_of_torchscript(path):
        raise LoadError(
            f"{text!r} is no TorchScript archive (torch.jit.save makes one). A file of torch.save holds a state_dict, "
            f"which has no code, or a pickle, which may run any: load it in a file of yours, and name that: "
            f"path/to/file.py:factory"
        )
    with as_load_error(text):
        return torch.jit.load(path, map_location="cpu")


def _is_archive_of_torchscript(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except (zipfile.BadZipFile, OSError):
        return False
