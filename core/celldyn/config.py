"""A parameter is declared once: the base of every system's config, and its field."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from celldyn.errors import ConfigError


def param(
    default: Any,  # noqa: ANN401
    help: str,
    *,
    unit: str = "",
    advanced: bool = False,
    **bounds: Any,  # noqa: ANN401
) -> Any:  # noqa: ANN401
    """Declare one parameter of a config.

    Parameters
    ----------
    default
        Its default; `...` for none.
    help
        One line, shown as tooltip, in `--help` and on the reference page.
    unit
        "µm", "cells", "s"; empty for a pure number or a name.
    advanced
        Whether the form folds it away.
    **bounds
        pydantic's own: `gt`, `ge`, `lt`, `le`, `min_length`, ...
    """
    extra: dict[str, Any] = {"unit": unit, "advanced": advanced}
    if isinstance(default, list | dict):
        return Field(
            default_factory=default.copy, description=help, json_schema_extra=extra, **bounds
        )
    return Field(default, description=help, json_schema_extra=extra, **bounds)


class Config(BaseModel):
    """Frozen, validated parameters of one system; unknown names are refused.

    Raises
    ------
    ConfigError
        One sentence that names each wrong parameter, its bound and what was given.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False
    )

    def __init__(self, **values: Any) -> None:  # noqa: ANN401
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise ConfigError(_sentence(error, type(self))) from None

    @classmethod
    def problems(cls, values: Mapping[str, Any]) -> dict[str, str]:
        """Say what is wrong with these values, by parameter; empty if nothing is.

        What concerns several parameters at once stands under the empty name.
        """
        try:
            BaseModel.__init__(cls.__new__(cls), **values)
        except ValidationError as error:
            named: dict[str, str] = {}
            for item in error.errors():
                name = str(item["loc"][0]) if item["loc"] else ""
                clause = _clause(item, cls)
                named[name] = f"{named[name]}; {clause}" if name in named else clause
            return named
        return {}

    def replace(self, **changes: Any) -> Any:  # noqa: ANN401
        """Return a copy with some parameters changed, validated again."""
        return type(self)(**{**self.model_dump(), **changes})


_SHORT = reprlib.Repr()
"""Names what was given, however long it is, within a sentence."""
_SHORT.maxstring = _SHORT.maxother = 120
_SHORT.maxlong = 60


def _sentence(error: ValidationError, config: type[BaseModel]) -> str:
    return "; ".join(_clause(item, config) for item in error.errors())


def _clause(item: Mapping[str, Any], config: type[BaseModel]) -> str:
    name = ".".join(str(part) for part in item["loc"]) or config.__name__
    if item["type"] == "extra_forbidden":
        known = ", ".join(config.model_fields)
        return f"{name} is not a parameter of {config.__name__} (it has {known})"
    if item["type"] == "missing":
        return f"{name} is required"
    if item["type"] == "value_error":
        return f"{name}: {item['ctx']['error']}".rstrip(".")
    message = re.sub(r"^\w+ should ", "must ", str(item["msg"]))
    message = message[0].lower() + message[1:]
    return f"{name} {message} (given: {_SHORT.repr(item['input'])})"
