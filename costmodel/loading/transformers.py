"""Models of transformers, by a configuration or a model type; nothing is downloaded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from costmodel.errors import LoadError
from costmodel.files import as_path
from costmodel.inputs import dtype_of
from costmodel.loading.building import Context, as_load_error, package
from costmodel.loading.safetensors import Checkpoint, checkpoint, in_dtypes
from costmodel.loading.spec import Spec, hint


def from_transformers(spec: Spec, text: str, context: Context) -> Any:
    """``hf:`` and a model type, a config.json, or a folder that has one; in the dtype of the weights in the folder."""
    transformers = package("transformers", "transformers")
    kwargs = dict(spec.kwargs or {})
    path = as_path(spec.name)
    if spec.args:
        raise LoadError(f"{text!r}: the config's own settings are given by keyword, as in hf:bert(num_hidden_layers=2)")
    stored: Checkpoint | None = None
    if path.exists():
        config = _config_in_file(transformers, path, kwargs, text)
        stored = checkpoint(path, text) if path.is_dir() else None
    else:
        types = list(transformers.CONFIG_MAPPING.keys())
        if spec.name not in types:
            raise LoadError(
                f"{spec.name!r} is neither a file nor a model type of transformers{hint(spec.name, types, 'hf:')}. "
                f"Nothing is downloaded: give a folder, a config.json, or a type such as hf:bert"
            )
        with as_load_error(text):
            config = transformers.AutoConfig.for_model(spec.name, **kwargs)
    with as_load_error(text):
        model_class = _model_class(transformers, config)
    if model_class is None:
        raise LoadError(f"{text!r}: transformers has no model for a {type(config).__name__}")
    with as_load_error(text), context(), _default_dtype(_dtype_of(config)):
        model = model_class(config)
    return model if stored is None else in_dtypes(model, stored)


_WITH_HEAD = ("AutoModelForCausalLM", "AutoModelForSeq2SeqLM", "AutoModelForSpeechSeq2Seq")


def with_head(model: Any, text: str, context: Context) -> Any:
    """The model of the same configuration that makes tokens; the model itself, where it does or there is none."""
    transformers = package("transformers", "transformers")
    if not isinstance(model, transformers.PreTrainedModel) or model.can_generate():
        return model
    for name in _WITH_HEAD:
        found = getattr(transformers, name)
        if type(model.config) in found._model_mapping:
            with as_load_error(text):
                found._model_mapping[type(model.config)]  # imports the model's file
            with as_load_error(text), context(), _default_dtype(_dtype_of(model.config)):
                return found.from_config(model.config)
    return model


def _config_in_file(transformers: Any, path: Path, kwargs: dict[str, Any], text: str) -> Any:
    source = path / "config.json" if path.is_dir() else path
    if not source.is_file():
        raise LoadError(f"{text!r}: there is no config.json in {path}")
    # Without trust_remote_code, transformers asks on the terminal whether to run the code that a config names.
    settings = {**kwargs, "local_files_only": True, "trust_remote_code": False}
    try:
        with as_load_error(text):
            return transformers.AutoConfig.from_pretrained(str(source), **settings)
    except LoadError as error:
        if "trust_remote_code" in str(error.__cause__):
            raise LoadError(
                f"{text!r}: {source} names code of its own (auto_map), and hf: runs none. Build the model in a file of "
                f"yours, with trust_remote_code=True, and name that: path/to/file.py:factory"
            ) from error
        raise


def _dtype_of(config: Any) -> Any:
    """The dtype that the configuration states for its parameters, or None: transformers 4 calls it torch_dtype."""
    named = vars(config).get("dtype") or vars(config).get("torch_dtype")
    return None if named in (None, "auto") else dtype_of(named)


@contextmanager
def _default_dtype(dtype: Any) -> Iterator[None]:
    """Layers that are made in here have this dtype, as transformers itself does it."""
    import torch

    before = torch.get_default_dtype()
    if dtype is not None:
        torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _model_class(transformers: Any, config: Any) -> Callable[[Any], Any] | None:
    """What builds a model from the config: the first architecture that it names, or that of ``AutoModel``."""
    for architecture in getattr(config, "architectures", None) or []:
        found: Callable[[Any], Any] | None = getattr(transformers, architecture, None)
        if found is not None:
            return found
    if type(config) in transformers.AutoModel._model_mapping:
        transformers.AutoModel._model_mapping[type(config)]  # imports the model's file
        return transformers.AutoModel.from_config  # type: ignore[no-any-return]  # it has no types
    return None
