"""A parameter is declared once, and a wrong one is refused in a sentence."""

from __future__ import annotations

from typing import Literal

import pytest
from pydantic import ValidationError, field_validator, model_validator

from celldyn.config import Config, param
from celldyn.errors import ConfigError


class Trial(Config):
    n: int = param(..., "How many.", unit="cells", ge=1)
    radius: float = param(10.0, "How far.", unit="µm", gt=0, le=500)
    kind: Literal["lasso", "ard"] = param("lasso", "Which.")
    names: list[str] = param([], "Who.", min_length=0)
    weights: dict[str, float] = param({}, "How much.", advanced=True)
    title: str = param("x", "What.", min_length=1)
    even: int = param(0, "An even number.", ge=0)

    @field_validator("even")
    @classmethod
    def _is_even(cls, value: int) -> int:
        if value % 2:
            raise ValueError("it must be even; take the next one.")
        return value

    @model_validator(mode="after")
    def _fits(self) -> Trial:
        if self.n > 100 * self.radius:
            raise ConfigError("n does not fit into radius", "raise radius")
        return self


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({}, "n is required."),
        ({"n": 0}, "n must be greater than or equal to 1 (given: 0)."),
        ({"n": 1, "radius": 0}, "radius must be greater than 0 (given: 0)."),
        ({"n": 1, "radius": 501.0}, "radius must be less than or equal to 500 (given: 501.0)."),
        ({"n": 1, "radius": float("nan")}, "radius must be a finite number (given: nan)."),
        ({"n": 1, "kind": "ridge"}, "kind must be 'lasso' or 'ard' (given: 'ridge')."),
        ({"n": 1, "names": "Astro"}, "names must be a valid list (given: 'Astro')."),
        ({"n": 1, "title": ""}, "title must have at least 1 character (given: '')."),
        ({"n": 1, "even": 3}, "even: it must be even; take the next one."),
        ({"n": 5000}, "Trial: n does not fit into radius; raise radius."),
        (
            {"n": "many"},
            "n must be a valid integer, unable to parse string as an integer (given: 'many').",
        ),
        (
            {"n": 1, "radus": 3},
            "radus is not a parameter of Trial "
            "(it has n, radius, kind, names, weights, title, even).",
        ),
        (
            {"radius": -1},
            "n is required; radius must be greater than 0 (given: -1).",
        ),
    ],
    ids=lambda value: next(iter(value), "empty") if isinstance(value, dict) else "",
)
def test_a_wrong_value_is_refused_in_one_sentence(values, sentence):
    with pytest.raises(ConfigError) as caught:
        Trial(**values)
    assert str(caught.value) == sentence
    assert caught.value.__cause__ is None
    assert not isinstance(caught.value, ValidationError)


def test_a_list_is_not_shared_between_configs():
    first, second = Trial(n=1), Trial(n=1)
    first.names.append("Astro")
    first.weights["Astro"] = 1.0
    assert second.names == []
    assert second.weights == {}
    assert Trial(n=1).names == []


def test_a_config_is_frozen_and_replace_validates_again():
    config = Trial(n=1, names=["a"])
    with pytest.raises(ValidationError):
        config.n = 2
    changed = config.replace(n=2)
    assert (changed.n, changed.names, config.n) == (2, ["a"], 1)
    with pytest.raises(ConfigError, match="n must be greater"):
        config.replace(n=-1)


def test_what_was_declared_can_be_read_back():
    field = Trial.model_fields["radius"]
    assert field.description == "How far."
    assert field.json_schema_extra == {"unit": "µm", "advanced": False}
    assert Trial.model_fields["weights"].json_schema_extra["advanced"] is True
    assert Trial.model_fields["n"].is_required()


def test_problems_are_told_by_parameter():
    assert Trial.problems({"n": 1}) == {}
    assert Trial.problems({"radius": -1, "speed": 3}) == {
        "n": "n is required",
        "radius": "radius must be greater than 0 (given: -1)",
        "speed": "speed is not a parameter of Trial "
        "(it has n, radius, kind, names, weights, title, even)",
    }
    assert Trial.problems({"n": 5000}) == {"": "Trial: n does not fit into radius; raise radius"}


def test_a_default_is_checked_like_a_value():
    class Wrong(Config):
        n: int = param(0, "How many.", ge=1)

    with pytest.raises(ConfigError, match=r"n must be greater than or equal to 1 \(given: 0\)"):
        Wrong()
