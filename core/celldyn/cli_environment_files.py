"""What the environment's commands read: modalities, models, and options with either dash."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celldyn.cli_parts import say
from celldyn.errors import ConfigError, FileFormatError

if TYPE_CHECKING:
    from anndata import AnnData

    from celldyn.environment import FittedEnvironment

PART = "::"
"""Stands between a file and the part of it that is a modality."""


class SeedParser(argparse.ArgumentParser):
    """A parser that takes `--target_modalities` for `--target-modalities`, as the seed writes."""

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None  # noqa: ANN401
    ) -> tuple[argparse.Namespace, list[str]]:  # fmt: skip
        """Parse; see `argparse.ArgumentParser.parse_known_args`."""
        given = None if args is None else [_dashed(word) for word in args]
        found, rest = super().parse_known_args(given, namespace)
        return found, rest


def _dashed(word: str) -> str:
    option = re.match(r"--[A-Za-z][\w-]*", word)
    if option is None:
        return word
    return option[0].replace("_", "-") + word[option.end() :]


def add_modalities(parser: argparse.ArgumentParser, *, nargs: str = "*") -> None:
    """Give a command the files of its modalities."""
    parser.add_argument(
        "files", nargs=nargs, metavar="FILE",
        help="a modality: .h5ad, .zarr, ...; a part of one as in my.h5ad::obsm/spatial or "
        "my.h5ad::layers/counts; or a .h5mu of several",
    )  # fmt: skip
    parser.add_argument(
        "--merge-files", nargs="+", action="append", default=[], metavar="FILE",
        help="files whose cells, one file after the other, make one more modality",
    )  # fmt: skip


def read_modalities(given: argparse.Namespace, *, backed: bool = False) -> list[AnnData]:
    """Return the modalities of a command, in the order in which they were given."""
    if not given.files and not given.merge_files:
        raise ConfigError("no modality was given", "name a file for each")
    read: dict[str, list[AnnData]] = {}
    found = [table for name in given.files for table in _read(name, read, backed=backed)]
    return found + [_merged(names, read, backed=backed) for names in given.merge_files]


def _read(name: str, read: dict[str, list[AnnData]], *, backed: bool) -> list[AnnData]:
    """Return the modalities of one name; a file of several parts is read once."""
    from celldyn.environment import as_modality, read_adatas

    path, _, part = name.partition(PART)
    if path not in read:
        read[path] = read_adatas(path, backed=backed)
    tables = read[path]
    if not part:
        return tables
    if len(tables) != 1:
        raise FileFormatError(
            f"{Path(path).name} has several modalities, of which {part} may be a part",
            "name the file alone",
        )
    return [as_modality(tables[0], part)]


def _merged(names: Sequence[str], read: dict[str, list[AnnData]], *, backed: bool) -> AnnData:
    """Return one modality of the cells of several files, of the features that all have."""
    from celldyn.environment import merge_adatas

    tables = [table for name in names for table in _read(name, read, backed=backed)]
    return merge_adatas(tables, names if len(tables) == len(names) else None)


def add_model(parser: argparse.ArgumentParser) -> None:
    """Give a command the environment that it asks."""
    parser.add_argument(
        "model", type=Path,
        help="what celldyn environment train or import wrote, or a data set that holds it; or a "
        ".weights file of CellTRIP",
    )  # fmt: skip
    _add_reference(parser)


def _add_reference(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("files of CellTRIP")
    group.add_argument("--pre", type=Path, help="the .pre file of a .weights file")
    group.add_argument("--mask", type=Path, help="the .mask file: which cells were trained on")
    group.add_argument(
        "--attention-heads", type=int, default=2, metavar="N",
        help="heads of its attention, which its files do not say [default: 2]",
    )  # fmt: skip
    group.add_argument(
        "--spatial", nargs="+", type=int, metavar="K",
        help="its modalities that are coordinates, counted from 0",
    )  # fmt: skip


def open_model(given: argparse.Namespace) -> FittedEnvironment:
    """Return the environment that a command names: of a model's file, or of a data set's."""
    if given.model.suffix in (".h5ad", ".zarr"):
        from celldyn.data import read
        from celldyn.environment.results import read_model

        return read_model(read(given.model))
    from celldyn.environment.opening import open_policy

    return open_policy(
        given.model, given.pre, given.mask, heads=given.attention_heads,
        spatial=given.spatial or (),
    )  # fmt: skip


def add_import(parts: Any) -> None:  # noqa: ANN401
    """Add the command `import`."""
    what = "make a model of ours of CellTRIP's files; nothing in them is run"
    parser = parts.add_parser("import", help=what, description=what.capitalize() + ".")
    parser.set_defaults(command=_import)
    parser.add_argument("model", type=Path, help="the .weights file")
    _add_reference(parser)
    parser.add_argument("-o", "--output", type=Path, required=True, help="the .safetensors")


def _import(given: argparse.Namespace) -> None:
    from celldyn.environment.saved import save

    fitted = open_model(given)
    written = save(fitted, given.output)
    tell_model(fitted)
    say(f"Written: {written}")


def add_show(parts: Any) -> None:  # noqa: ANN401
    """Add the command `show`."""
    parser = parts.add_parser("show", help="tell of a trained environment")
    parser.set_defaults(command=_show)
    add_model(parser)


def _show(given: argparse.Namespace) -> None:
    tell_model(open_model(given))
    if given.model.suffix in (".h5ad", ".zarr"):
        from celldyn.data import read
        from celldyn.environment.results import summary

        say(summary(read(given.model)))


def tell_model(fitted: FittedEnvironment) -> None:
    """Print what an environment is, and its notes."""
    from celldyn.data.words import counted

    said = str(fitted)
    say(f"{said[0].upper()}{said[1:]}.")
    config, sizes = fitted.config, fitted.preprocessing.n_features
    heads, blocks = config.attention_heads, config.attention_blocks
    say(f"Attention: {counted(heads, 'head')}, {counted(blocks, 'block')}")
    for k, size in enumerate(sizes):
        uses = [word for word, held in (("seen", fitted.inputs), ("told", fitted.targets),
                                        ("coordinates", fitted.spatial)) if k in held]  # fmt: skip
        raw = counted(fitted.preprocessing.maps[k].n_raw, "feature")
        say(f"Modality {k}: {raw} as {size:,} ({', '.join(uses) or 'not used'})")
    for note in fitted.notes:
        say(f"Note: {note}")
