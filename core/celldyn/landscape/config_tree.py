"""A part of a tree of parameters whose leaves may be set one by one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Self

from pydantic import ConfigDict, Field

from celldyn.config import Config
from celldyn.errors import ConfigError


class Branch(Config):
    """Parameters that may be set one by one; each is checked as it is set.

    Raises
    ------
    ConfigError
        One sentence that names the parameter, its bound and what was given; the config stays as
        it was.
    """

    model_config = ConfigDict(frozen=False, validate_assignment=True)

    def __setattr__(self, name: str, value: Any) -> None:  # noqa: ANN401
        now = {known: getattr(self, known) for known in type(self).model_fields}
        problem = type(self).problems({**now, name: value}).get(name)
        if problem:
            raise ConfigError(problem)
        super().__setattr__(name, value)

    def to_dict(self) -> dict[str, Any]:
        """Return names and values as plain dicts, lists, numbers, texts."""
        return self.model_dump(mode="json")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Make a config of what `to_dict` gave, or of some of it; the rest has its default."""
        return cls(**values)

    def to_json(self) -> str:
        """Return the config as JSON."""
        return json.dumps(self.to_dict())

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote.

        Raises
        ------
        ConfigError
            If it is no JSON object, or a value in it is wrong.
        """
        try:
            values = json.loads(text)
        except ValueError:
            values = None
        if not isinstance(values, dict):
            raise ConfigError(f"the text is not a {cls.__name__} in JSON", "write it with to_json")
        return cls.from_dict(values)


def branch(kind: type[Branch], help: str, *, advanced: bool = False) -> Any:  # noqa: ANN401
    """Declare a part of the tree; every tree has one of its own."""
    extra: dict[str, Any] = {"unit": "", "advanced": advanced}
    return Field(default_factory=kind, description=help, json_schema_extra=extra)
