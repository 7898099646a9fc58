"""A command's options, made from a config: its parameters, their help, defaults and bounds."""

from __future__ import annotations

import argparse
import types
from collections.abc import Collection
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from celldyn.config import Config

_BOUNDS = {"gt": "> {}", "ge": "≥ {}", "lt": "< {}", "le": "≤ {}"}
_NONE = "none"


def add_config_arguments(
    parser: argparse.ArgumentParser, config: type[Config], *, skip: Collection[str] = ()
) -> None:
    """Give a command one option for each parameter of a config.

    Names get dashes for underscores; lists are given as commas or by repeating the option; "none"
    stands for None. Values are checked by the config itself, so that its sentence is what a wrong
    one gets. Parameters that hold tables are left out: they have no place on a command line.

    Parameters
    ----------
    parser
        The command.
    config
        Whose parameters.
    skip
        Parameters that the command names in its own way.
    """
    group = parser.add_argument_group(f"parameters ({config.__name__})")
    for name, field in config.model_fields.items():
        known = option(field)
        if name in skip or known is None:
            continue
        group.add_argument("--" + name.replace("_", "-"), dest=name, **known)


def option(field: FieldInfo) -> dict[str, Any] | None:
    """Return what argparse needs to know of a parameter; None for what it cannot hold."""
    kind = _kind(field)
    if kind is None:
        return None
    return {"default": argparse.SUPPRESS, "help": _help(field), **_form(field, kind)}


def _form(field: FieldInfo, kind: type) -> dict[str, Any]:
    """Return what argparse needs to know of one kind of parameter."""
    if kind is bool:
        return {"action": argparse.BooleanOptionalAction}
    if kind is list:
        return {"action": "extend", "type": _split, "metavar": "A,B"}
    choices = _choices(field)
    return {"choices": choices} if choices else {"metavar": kind.__name__.upper()}


def given_parameters(config: type[Config], arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the parameters of a config that were given on the command line."""
    held = vars(arguments)
    given = {name: held[name] for name in config.model_fields if name in held}
    return {name: plain_value(config.model_fields[name], value) for name, value in given.items()}


def plain_value(field: FieldInfo, value: Any) -> Any:  # noqa: ANN401
    """Return what was given for a parameter, None where "none" was."""
    if type(None) in _types(field) and value in (_NONE, [_NONE]):
        return None
    return value


def _types(field: FieldInfo) -> tuple[Any, ...]:
    """Return the alternatives of a parameter's type, None among them."""
    annotation = field.annotation
    is_union = get_origin(annotation) in (Union, types.UnionType)
    return get_args(annotation) if is_union else (annotation,)


def _kind(field: FieldInfo) -> type | None:
    """Return str, int, float, bool or list; None for what a command line cannot hold."""
    kinds = [kind for kind in _types(field) if kind is not type(None)]
    if len(kinds) != 1:
        return next((kind for kind in kinds if kind in (float, int, str)), None)
    kind = kinds[0]
    if get_origin(kind) is Literal:
        return str
    if get_origin(kind) in (list, tuple):
        return list if _bare(get_args(kind)[0]) in (str, int, float) else None
    return kind if kind in (str, int, float, bool) else None


def _bare(kind: Any) -> Any:  # noqa: ANN401
    """Return a type without what is annotated to it."""
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def _choices(field: FieldInfo) -> list[str]:
    return [
        str(choice)
        for kind in _types(field)
        if get_origin(kind) is Literal
        for choice in get_args(kind)
    ]


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _help(field: FieldInfo) -> str:
    """Return the parameter's one line, then its unit, bounds and default."""
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    facts = [str(extra["unit"])] if extra.get("unit") else []
    for rule in field.metadata:
        facts += [
            words.format(getattr(rule, name))
            for name, words in _BOUNDS.items()
            if getattr(rule, name, None) is not None
        ]
    if field.is_required():
        facts.append("required")
    else:
        default = field.get_default(call_default_factory=True)
        facts.append(f"default: {_words(default)}")
    return f"{field.description or ''} [{', '.join(facts)}]".replace("%", "%%")


def _words(default: Any) -> str:  # noqa: ANN401
    if default is None or default == []:
        return _NONE
    if isinstance(default, bool):
        return "yes" if default else "no"
    return ",".join(map(str, default)) if isinstance(default, list | tuple) else str(default)
