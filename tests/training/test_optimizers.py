"""What a caller may name an optimizer by, and the closed form of the update of what it names."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn, optim

from costmodel import InputError
from costmodel import formulas as f
from costmodel.graph import TensorSpec
from costmodel.training.optimizers import NAMED, resolve, update_in_closed_form

KINDS = {
    "sgd": optim.SGD, "momentum": optim.SGD, "adam": optim.Adam, "adamw": optim.AdamW, "adagrad": optim.Adagrad,
    "rmsprop": optim.RMSprop,
}  # fmt: skip
PARAMETERS = [TensorSpec((8, 4)), TensorSpec((8,))]


def made(optimizer: Any) -> tuple[str, optim.Optimizer]:
    """The name, and an optimizer of a real layer's parameters."""
    name, make = resolve(optimizer)
    assert make is not None
    return name, make(nn.Linear(3, 2).parameters())


@pytest.mark.parametrize("word", NAMED)
def test_words(word: str) -> None:
    """Each is torch's optimizer with torch's own settings; momentum is 0.9."""
    name, optimizer = made(word)
    assert name == word
    assert type(optimizer) is KINDS[word]
    torchs = {"lr": 1e-3} | KINDS[word]([nn.Parameter(torch.ones(1))], lr=optimizer.defaults["lr"]).defaults
    assert optimizer.defaults == torchs | ({"momentum": 0.9} if word == "momentum" else {})


def decayed_in_part(parameters: Iterable[torch.Tensor]) -> optim.Optimizer:
    """No decay of biases."""
    listed = list(parameters)
    weights, biases = [p for p in listed if p.ndim > 1], [p for p in listed if p.ndim <= 1]
    return optim.AdamW([{"params": weights}, {"params": biases, "weight_decay": 0.0}])


@pytest.mark.parametrize(
    ("given", "name", "kind"),
    [
        (optim.NAdam, "NAdam", optim.NAdam),
        (
            partial(optim.SGD, lr=0.1, nesterov=True, momentum=0.5),
            "SGD(lr=0.1, nesterov=True, momentum=0.5)",
            optim.SGD,
        ),
        (lambda parameters: optim.Adam(parameters, lr=0.5), "optimizer", optim.Adam),
        (decayed_in_part, "decayed_in_part", optim.AdamW),
    ],
)
def test_classes_and_functions(given: Any, name: str, kind: type[optim.Optimizer]) -> None:
    """Each makes what it is for, under a name that one can read."""
    found, optimizer = made(given)
    assert (found, type(optimizer)) == (name, kind)


def test_no_optimizer() -> None:
    """No update."""
    assert resolve(None) == ("", None)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("adamW", "no optimizer goes by 'adamW', did you mean 'adamw': there are sgd, momentum, adam, adamw, adagrad"),
        ("lion", "no optimizer goes by 'lion': there are sgd"),
        (
            optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1),
            r"optimizer is an instance of SGD, .* functools\.partial\(torch\.optim\.SGD",
        ),
        (optim.LBFGS, "optimizer=LBFGS: it runs forward and backward itself"),
        (nn.Linear, "optimizer=Linear is no class of optimizers"),
        (0.1, r"optimizer=0\.1 makes no optimizer: pass one of sgd"),
        (True, "optimizer=True makes no optimizer"),
    ],
)
def test_what_makes_no_optimizer(given: Any, says: str) -> None:
    """The error says what to pass instead."""
    with pytest.raises(InputError, match=says):
        resolve(given)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (
            partial(optim.SGD, lr=-1),
            r"optimizer=SGD\(lr=-1\) cannot be made of the model's parameters: ValueError: Inv",
        ),
        (partial(optim.SGD, rate=1), r"optimizer=SGD\(rate=1\) cannot be made .* TypeError: .*rate"),
        (lambda parameters: 3, "optimizer=optimizer returned 3, and no torch.optim.Optimizer"),
    ],
)
def test_what_fails_when_it_is_made(given: Any, says: str) -> None:
    """An error of torch's, or of the caller's function, names the argument."""
    with pytest.raises(InputError, match=says):
        made(given)


@pytest.mark.parametrize("word", NAMED)
@pytest.mark.parametrize("how", ["for-loop", "foreach", "fused"])
def test_closed_forms_of_words(word: str, how: str) -> None:
    """The formula of that name, of 32 and 8 elements, in the implementation that is asked for."""
    if (word, how) == ("rmsprop", "fused"):
        return
    make = partial(NAMED[word], **({how: True} if how != "for-loop" else {}))
    expected = f.CATALOG[word](elements=(32, 8), implementation=how)
    assert update_in_closed_form(make, PARAMETERS) == expected


def test_closed_forms_of_settings() -> None:
    """Settings, groups and dtypes reach the formulas: each of them by hand."""
    given = partial(optim.Adam, betas=(0.9, 0.0), weight_decay=0.1, amsgrad=True, maximize=True)
    assert update_in_closed_form(given, PARAMETERS) == f.adam(
        elements=(32, 8), beta2=0.0, weight_decay=0.1, amsgrad=True, maximize=True
    )
    groups = update_in_closed_form(decayed_in_part, PARAMETERS)
    assert groups is not None
    assert groups.state_bytes == 2 * 4 * 40 + 2 * 4
    halves = update_in_closed_form(NAMED["adam"], [TensorSpec((8,), "float32"), TensorSpec((6,), "bfloat16")])
    assert halves is not None
    assert halves.state_bytes == 2 * 8 * 4 + 2 * 6 * 2 + 2 * 4
    moving = update_in_closed_form(partial(optim.RMSprop, alpha=0.5, centered=True, momentum=0.1), PARAMETERS)
    assert moving == f.rmsprop(elements=(32, 8), alpha=0.5, centered=True, momentum=0.1)


def test_a_gpu_updates_lists() -> None:
    """Where nothing is asked for, torch goes from tensor to tensor on a CPU, and not on a GPU."""
    assert update_in_closed_form(optim.AdamW, PARAMETERS, "cuda") == f.adamw(elements=(32, 8), implementation="foreach")
    looped = partial(optim.AdamW, foreach=False)
    assert update_in_closed_form(looped, PARAMETERS, "cuda") == f.adamw(elements=(32, 8))


class Own(optim.Adam):
    """Another step."""


@pytest.mark.parametrize(
    "make",
    [
        optim.NAdam,
        Own,
        partial(optim.Adam, lr=torch.tensor(0.1), capturable=True),
        partial(optim.Adam, differentiable=True),
    ],
)
def test_no_formula_covers_it(make: Any) -> None:
    """Other classes, and settings under which an update runs other ops."""
    assert update_in_closed_form(make, PARAMETERS) is None


@pytest.mark.parametrize("name", ["SparseAdam", "Rprop", "Adadelta", "Adamax", "NAdam", "RAdam", "ASGD", "Adafactor"])
def test_no_formula_covers_another_class(name: str) -> None:
    """Also where its groups lack a setting that those with a formula have: SparseAdam's have no decay of weights."""
    assert update_in_closed_form(getattr(optim, name), PARAMETERS) is None


def test_complex_parameters_have_no_formula() -> None:
    """They are updated as pairs of real numbers."""
    assert update_in_closed_form(NAMED["adam"], [TensorSpec((8,), "complex64")]) is None
