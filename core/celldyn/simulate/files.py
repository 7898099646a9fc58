"""Parameters from files that anyone may have written: YAML into plain values, within limits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from celldyn.errors import ConfigError, FileFormatError

_DEEPEST = 32
"""Levels of nesting: a scene's structure's morphology lies six deep."""
_LARGEST = 10_000_000
"""Values, those behind an alias counted every time: drawn polygons have many corners."""
_LARGEST_FILE = 200_000_000


def read_yaml(path: Path) -> Any:  # noqa: ANN401
    """Read a YAML file of plain values; tags that would make Python objects are refused.

    Raises
    ------
    FileFormatError
        If the file is missing, no text, no YAML, or nested too deeply.
    """
    import yaml

    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise FileFormatError(
                f"{path.name} is larger than {_LARGEST_FILE:,} bytes", "give a file of parameters"
            )
        # Not by libyaml: it dies of deep nesting, where this raises.
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileFormatError:
        raise
    # A path may hold a NUL, a date a 13th month, a key may be a list, and nesting has no end.
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise _unreadable(path) from error
    except yaml.YAMLError as error:
        raise _unreadable(path) from error


def _unreadable(path: Path) -> FileFormatError:
    return FileFormatError(
        f"{path.name!r} cannot be read as YAML", "check the path and the indentation"
    )


def plain_tree(values: Mapping[Any, Any]) -> dict[str, Any]:
    """Return nested parameters with text for every name.

    Raises
    ------
    ConfigError
        If they are nested too deeply, or aliases make too many values of them.
    """
    if _size(values, 0, {}) > _LARGEST:
        raise ConfigError(
            f"the config holds more than {_LARGEST:,} values", "write out what its aliases repeat"
        )
    named: dict[str, Any] = _named(values)
    return named


def _size(value: Any, depth: int, known: dict[int, int]) -> int:  # noqa: ANN401
    """Count the values of a tree; each branch is walked once, however often it is referred to."""
    if depth > _DEEPEST:
        raise ConfigError(
            f"the config is nested more than {_DEEPEST} levels deep", "parameters are not"
        )
    if not isinstance(value, Mapping | list | tuple):
        return 1
    if id(value) not in known:
        inner = value.values() if isinstance(value, Mapping) else value
        known[id(value)] = 1 + sum(_size(item, depth + 1, known) for item in inner)
    return known[id(value)]


def _named(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, Mapping):
        return {str(name): _named(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_named(item) for item in value]
    return value
