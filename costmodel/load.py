"""Builds the model that a spec string names: ``mobilenet_v1(width=0.5)``, ``torchvision:resnet50``, ``my.py:factory``.

Weights are never downloaded: a network's costs do not depend on them.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from costmodel.errors import ForwardError, LoadError, NeedsValuesError
from costmodel.machine import physical_memory

if TYPE_CHECKING:
    from torch import nn

Result = TypeVar("Result")

EXAMPLES = (
    "mobilenet_v2", "mobilenet_v1(width=0.5)", "torchvision:resnet50", "timm:convnext_tiny",
    "hf:bert, hf:path/to/config.json", "package.module:factory", "path/to/file.py:factory",
)  # fmt: skip
"""Spec strings, at least one for each scheme."""


@dataclass(frozen=True, slots=True)
class Spec:
    """The parts of a spec string."""

    scheme: str
    """``torchvision``, ``timm``, ``hf``, ``file``, ``module``, or ``""`` for the library's own networks."""
    where: str
    """The file or module of a factory; ``""`` for the other schemes."""
    name: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] | None = None


def load(spec: str, *, weights: bool = True) -> nn.Module:
    """Builds the model that a spec string names, with random weights; nothing is downloaded.

    ``costmodel.profile(load(spec))`` needs no inputs where the model states its own (``example_inputs``,
    ``default_cfg``, ``config``), as the library's networks and those of torchvision, timm and transformers do.

    Args:
        spec: a name of ``costmodel.models.list_models()``; ``torchvision:NAME``; ``timm:NAME``; ``hf:`` and a model
            type, a config.json or a folder that has one; ``package.module:factory``; ``path/to/file.py:factory``.
            Arguments follow in parentheses, as Python literals. The last two import the module or the file and call
            the factory: they run that code, so name none that you do not trust. ``hf:`` runs transformers' code alone.
        weights: ``False`` builds a library's network on torch's meta device, which takes no time and no memory for
            weights: it can be profiled, and cannot be run. A model that cannot be built there has weights all the
            same, and so has one from a module or file of yours, whose code runs as it is written.

    Raises ``LoadError`` for a spec that names nothing that can be built.

    >>> load("mobilenet_v1(width=0.5)").example_inputs
    (1, 3, 224, 224)
    """
    if not isinstance(spec, str):
        raise LoadError(f"a spec is a string such as {EXAMPLES[0]!r}, not {type(spec).__name__}")
    model: nn.Module = _build(parse(spec), spec, weights=weights)
    if not _is_model(model):
        raise LoadError(
            f"{spec!r} gave {type(model).__name__}, not a torch.nn.Module: name a factory or a module class"
        )
    return model


def apply(function: Callable[[nn.Module], Result], spec: str, *, weights: bool = False) -> Result:
    """Calls a function on a spec's model: one without weights, and one with them if it fails without values."""
    model = load(spec, weights=weights)
    try:
        return function(model)
    except (NeedsValuesError, ForwardError) as error:
        tensors = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}.values()
        if not any(tensor.is_meta for tensor in tensors):
            raise
        needed, available = sum(tensor.nbytes for tensor in tensors), physical_memory()
        if needed > available:
            raise NeedsValuesError(
                f"{error}. For its values {spec} must be built with its weights, {needed / 2**30:.1f} GiB of the "
                f"{available / 2**30:.1f} GiB of memory here: give it smaller sizes as arguments"
            ) from error
    return function(load(spec))


def parse(spec: str) -> Spec:
    """Parses a spec string; nothing is imported, and nothing in it is executed.

    >>> parse("torchvision:vit_b_16(image_size=384)")
    Spec(scheme='torchvision', where='', name='vit_b_16', args=(), kwargs={'image_size': 384})
    """
    head, args, kwargs = _split_call(spec.strip())
    scheme, colon, rest = head.partition(":")
    if not colon:
        return Spec("", "", head, args, kwargs)
    if scheme in ("torchvision", "timm", "hf"):
        if not rest:
            raise LoadError(f"{spec!r} names no model: write {scheme}:NAME")
        return Spec(scheme, "", rest, args, kwargs)
    where, _, factory = head.rpartition(":")
    if not factory.isidentifier():
        raise LoadError(f"{spec!r}: {factory!r} is not the name of a factory. {_how_to_name()}")
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


Context: TypeAlias = Callable[[], AbstractContextManager[object]]
"""Makes the context that a constructor runs in. Imports run outside of it, as the tensors that they make are kept."""


def _build(spec: Spec, text: str, *, weights: bool) -> Any:
    if not weights:
        # A constructor may read a value, as NumPy and item() do. Any other error is raised again below.
        with suppress(LoadError):
            return _BUILDERS[spec.scheme](spec, text, _on_meta)
    return _BUILDERS[spec.scheme](spec, text, nullcontext)


def _on_meta() -> AbstractContextManager[object]:
    from torch import device

    return device("meta")


# -- a builder for each scheme -------------------------------------------------------------------------------------


def _own(spec: Spec, text: str, context: Context) -> Any:
    models = importlib.import_module("costmodel.models")
    names = models.list_models()
    if spec.name not in names:
        raise LoadError(f"no model is called {spec.name!r}{_hint(spec.name, names) or f'. {_how_to_name()}'}")
    return _call(getattr(models, spec.name), spec, text, context=context)


def _torchvision(spec: Spec, text: str, context: Context) -> Any:
    models = _package("torchvision.models", "torchvision")
    names = models.list_models()
    if spec.name not in names:
        raise LoadError(f"torchvision has no model {spec.name!r}{_hint(spec.name, names, 'torchvision:')}")
    _refuse_weights(spec, text)
    builder = models.get_model_builder(spec.name)
    defaults: dict[str, Any] = {
        k: None for k in ("weights", "weights_backbone") if k in inspect.signature(builder).parameters
    }
    if spec.name in ("googlenet", "inception_v3"):
        defaults["init_weights"] = False  # truncated normals take minutes, and change no cost
    model = _call(builder, spec, text, defaults, context)
    if getattr(model, "example_inputs", None) is None:
        model.example_inputs = _torchvision_inputs(models, spec.name, builder)
    return model


def _torchvision_inputs(models: Any, name: str, builder: Callable[..., Any]) -> Any:
    """The input that the model is evaluated on, from its weights' description; no weights are loaded for it."""
    family = builder.__module__.removeprefix("torchvision.models.").partition(".")[0]
    if family == "detection":
        return ([(3, 800, 800)],)  # a list of images, each (channels, height, width)
    if family == "optical_flow":
        return ((1, 3, 520, 960), (1, 3, 520, 960))  # two frames
    transforms = models.get_model_weights(name).DEFAULT.transforms
    crop = getattr(transforms, "keywords", {}).get("crop_size", 520 if family == "segmentation" else 224)
    size = tuple(crop) if isinstance(crop, (tuple, list)) else (crop, crop)
    return (1, 3, 16, *size) if family == "video" else (1, 3, *size)


def _timm(spec: Spec, text: str, context: Context) -> Any:
    timm = _package("timm", "timm")
    names = timm.list_models()
    if not timm.is_model(spec.name.split(".")[0]):
        raise LoadError(f"timm has no model {spec.name!r}{_hint(spec.name, names, 'timm:')}")
    _refuse_weights(spec, text)
    # A tag, as in name.tag, selects weights; the architecture does not depend on it.
    untagged = Spec(spec.scheme, "", spec.name, (spec.name.split(".")[0],), spec.kwargs)
    return _call(timm.create_model, untagged, text, {"pretrained": False}, context)


def _hf(spec: Spec, text: str, context: Context) -> Any:
    transformers = _package("transformers", "transformers")
    kwargs = dict(spec.kwargs or {})
    path = Path(spec.name).expanduser()
    if spec.args:
        raise LoadError(f"{text!r}: the config's own settings are given by keyword, as in hf:bert(num_hidden_layers=2)")
    if path.exists():
        source = path / "config.json" if path.is_dir() else path
        if not source.is_file():
            raise LoadError(f"{text!r}: there is no config.json in {path}")
        # Without trust_remote_code, transformers asks on the terminal whether to run the code that a config names.
        settings = {**kwargs, "local_files_only": True, "trust_remote_code": False}
        try:
            with _as_load_error(text):
                config = transformers.AutoConfig.from_pretrained(str(source), **settings)
        except LoadError as error:
            if "trust_remote_code" in str(error.__cause__):
                raise LoadError(
                    f"{text!r}: {source} names code of its own (auto_map), and hf: runs none. Build the model in a "
                    f"file of yours, with trust_remote_code=True, and name that: path/to/file.py:factory"
                ) from error
            raise
    else:
        types = list(transformers.CONFIG_MAPPING.keys())
        if spec.name not in types:
            raise LoadError(
                f"{spec.name!r} is neither a file nor a model type of transformers{_hint(spec.name, types, 'hf:')}. "
                f"Nothing is downloaded: give a folder, a config.json, or a type such as hf:bert"
            )
        with _as_load_error(text):
            config = transformers.AutoConfig.for_model(spec.name, **kwargs)
    for auto in _auto_classes(transformers, config):
        with _as_load_error(text), context():
            return auto.from_config(config)
    raise LoadError(f"{text!r}: transformers has no model for a {type(config).__name__}")


def _auto_classes(transformers: Any, config: Any) -> Iterator[Any]:
    """The classes that build a model from the config: those of the architectures that it names, then ``AutoModel``."""
    named = getattr(config, "architectures", None) or []
    for architecture in named:
        found = getattr(transformers, architecture, None)
        if found is not None:
            yield _NamedClass(found)
    for auto in (transformers.AutoModel,):
        if type(config) in auto._model_mapping:
            auto._model_mapping[type(config)]  # imports the model's file
            yield auto


@dataclass(frozen=True)
class _NamedClass:
    """A model class that the config names, with the interface of an auto class."""

    model: Any

    def from_config(self, config: Any) -> Any:
        return self.model(config)


def _file(spec: Spec, text: str, _: Context) -> Any:
    path = Path(spec.where).expanduser().resolve()
    if not path.is_file():
        raise LoadError(f"{text!r}: there is no file {path}")
    name = f"_costmodel_loaded_{path.stem}_{abs(hash(str(path))):x}"
    source = importlib.util.spec_from_file_location(name, path)
    assert source is not None
    assert source.loader is not None  # the name ends in .py
    module = importlib.util.module_from_spec(source)
    sys.modules[name] = module  # dataclasses and pickles look their module up
    with _as_load_error(text), _importable(path.parent):
        source.loader.exec_module(module)
    return _call(_attribute(module, spec, text), spec, text)


def _module(spec: Spec, text: str, _: Context) -> Any:
    with _importable(Path.cwd()):
        try:
            module = importlib.import_module(spec.where)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{spec.where}.".startswith(f"{error.name}."):
                raise LoadError(f"{text!r}: importing {spec.where} failed: {error}") from error
            close = _hint(spec.where, ("torchvision", "timm", "hf"), suffix=":") or f". {_how_to_name()}"
            raise LoadError(f"{text!r}: no module is called {spec.where!r}{close}") from error
        except Exception as error:
            raise LoadError(f"{text!r}: importing {spec.where} failed: {_summary(error)}") from error
    return _call(_attribute(module, spec, text), spec, text)


_BUILDERS: Mapping[str, Callable[[Spec, str, Context], Any]] = {
    "": _own, "torchvision": _torchvision, "timm": _timm, "hf": _hf, "file": _file, "module": _module,
}  # fmt: skip


# -- what the builders share ---------------------------------------------------------------------------------------


def _call(
    factory: Any, spec: Spec, text: str, defaults: Mapping[str, Any] | None = None, context: Context = nullcontext
) -> Any:
    if not isinstance(factory, type) and _is_model(factory):
        if spec.args or spec.kwargs:
            raise LoadError(f"{text!r}: {spec.name} is no factory, it takes no arguments")
        return factory  # the file made the model itself
    if not callable(factory):
        raise LoadError(f"{text!r}: {spec.name} is {type(factory).__name__}, neither a factory nor a torch.nn.Module")
    kwargs = {**(defaults or {}), **(spec.kwargs or {})}
    try:
        inspect.signature(factory).bind(*spec.args, **kwargs)
    except TypeError as error:
        raise LoadError(f"{text!r}: {error}; it is called as {spec.name}{inspect.signature(factory)}") from error
    except ValueError:
        pass  # a builtin without a signature
    with _as_load_error(text), context():
        return factory(*spec.args, **kwargs)


def _is_model(value: Any) -> bool:
    from torch import nn

    return isinstance(value, nn.Module)


def _attribute(module: Any, spec: Spec, text: str) -> Any:
    if not hasattr(module, spec.name):
        names = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
        raise LoadError(f"{text!r}: {spec.where} has no {spec.name!r}{_hint(spec.name, names)}")
    return getattr(module, spec.name)


def _package(module: str, package: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        if importlib.util.find_spec(package) is None:
            raise LoadError(f"{package} is not installed: pip install {package}") from error
        raise LoadError(f"{package} is installed and cannot be imported: {_summary(error)}") from error
    except Exception as error:  # torchvision beside a torch that it was not built for raises RuntimeError
        raise LoadError(f"{package} is installed and cannot be imported: {_summary(error)}") from error


def _refuse_weights(spec: Spec, text: str) -> None:
    for name in ("weights", "weights_backbone", "pretrained", "pretrained_backbone"):
        if (spec.kwargs or {}).get(name):
            raise LoadError(f"{text!r}: weights are never downloaded, and costs do not depend on them; drop {name}=")


@contextmanager
def _as_load_error(text: str) -> Iterator[None]:
    """Raises an error of the model's code as a ``LoadError`` of one line, and silences its warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except Exception as error:
            raise LoadError(f"{text!r} cannot be built: {_summary(error)}") from error


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Lets a user's file import the files beside it."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def _summary(error: BaseException) -> str:
    """The error's type and the first line of its message."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _hint(name: str, names: Iterable[str], prefix: str = "", suffix: str = "") -> str:
    """The names that one may have meant."""
    close = get_close_matches(name, list(names))
    return f"; did you mean {' or '.join(f'{prefix}{n}{suffix}' for n in close)}?" if close else ""


def _how_to_name() -> str:
    return f"A model is named as in {'; '.join(EXAMPLES)}; `costmodel models` lists the library's own"
