"""A command's options, made from a config that is a tree: one for every leaf."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from celldyn.cli_arguments import option, plain_value

_DEST = "tree:"


@dataclass(frozen=True, slots=True)
class _Leaf:
    branches: tuple[str, ...]
    name: str
    field: FieldInfo

    @property
    def path(self) -> str:
        return ".".join((*self.branches, self.name))


def add_tree_arguments(parser: argparse.ArgumentParser, tree: type[BaseModel]) -> None:
    """Give a command one option for each leaf of a tree of parameters.

    An option has the leaf's name, after its branch's where two leaves have the same:
    `--z-dim`, `--kl-schedule-max-epoch`.

    Parameters
    ----------
    parser
        The command.
    tree
        Whose parameters; its branches are configs, too.
    """
    leaves = list(_leaves(tree, ()))
    often = Counter(leaf.name for leaf in leaves)
    groups: dict[str, Any] = {}
    for leaf in leaves:
        known = option(leaf.field)
        if known is None:
            continue
        top = leaf.branches[0] if leaf.branches else tree.__name__
        if top not in groups:
            groups[top] = parser.add_argument_group(f"parameters ({top})")
        words = leaf.name if often[leaf.name] == 1 else f"{leaf.branches[-1]}_{leaf.name}"
        flag = "--" + words.replace("_", "-")
        groups[top].add_argument(flag, dest=_DEST + leaf.path, **known)


def apply_tree(tree: BaseModel, arguments: argparse.Namespace) -> None:
    """Set the leaves that were given on the command line; each is checked as it is set."""
    held = vars(arguments)
    for leaf in _leaves(type(tree), ()):
        if _DEST + leaf.path not in held:
            continue
        branch = tree
        for name in leaf.branches:
            branch = getattr(branch, name)
        setattr(branch, leaf.name, plain_value(leaf.field, held[_DEST + leaf.path]))


def was_given(arguments: argparse.Namespace, path: str) -> bool:
    """Whether a leaf, named by its path as in "walks.path_len", was given on the command line."""
    return _DEST + path in vars(arguments)


def _leaves(tree: type[BaseModel], branches: tuple[str, ...]) -> Iterator[_Leaf]:
    for name, field in tree.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _leaves(kind, (*branches, name))
        else:
            yield _Leaf(branches, name, field)
