"""The command `celldyn landscape`: learn a landscape of cell states, and ask it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from celldyn.cli_landscape_asking import add_fates, add_perturbed, add_screen, add_streamlines
from celldyn.cli_parts import add_output, say
from celldyn.cli_tree import add_tree_arguments, apply_tree, was_given
from celldyn.errors import ConfigError, DataError, FileFormatError
from celldyn.jobs import run

if TYPE_CHECKING:
    from anndata import AnnData

    from celldyn.landscape import LSD, LSDConfig

STOPPED = 1
"""Exit code where training came to no good end; what it came to before is written."""

_SHOWN = ("loss", "reconstruction", "kl_z", "kl_B", "kl_library", "W2", "V")


def add_landscape(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the program's."""
    what = "learn which way cells go as a potential landscape, and ask it for fates"
    parser = commands.add_parser(
        "landscape", help=what, description=f"{what.capitalize()}.",
    )  # fmt: skip
    parts = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_fit(parts)
    add_fates(parts)
    add_perturbed(parts)
    add_screen(parts)
    add_streamlines(parts)
    show = parts.add_parser("show", help="tell of the landscape that a file holds")
    show.add_argument("file", type=Path, help="what celldyn landscape fit wrote")
    show.set_defaults(command=_show)


def _add_fit(parts: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    from celldyn.landscape import LSDConfig
    from celldyn.landscape.config import Preset

    what = "learn a landscape of cells and their pseudotime"
    parser = parts.add_parser("fit", help=what, description=what.capitalize() + ".")
    parser.set_defaults(command=_fit)
    parser.add_argument(
        "file", type=Path, help="log-normalised X, layer raw, neighbours; or counts and --prepare"
    )
    parser.add_argument("--table", help="which table of a SpatialData")
    _add_way(parser)
    _add_preparing(parser)
    parser.add_argument(
        "--preset",
        choices=get_args(Preset),
        default="recommended",
        help="parameters to begin with: recommended; seed, the defaults that are named below; or "
        "reference, as sclsd has them [default: recommended]",
    )
    parser.add_argument(
        "--config", type=Path, help="JSON of an LSDConfig to begin with; options come on top"
    )
    parser.add_argument("--model", type=Path, help="also write the model alone: .safetensors")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, mps [default: auto]")
    add_output(parser)
    add_tree_arguments(parser, LSDConfig)


def _add_way(parser: argparse.ArgumentParser) -> None:
    way = parser.add_argument_group("which way cells go").add_mutually_exclusive_group()
    way.add_argument("--root", metavar="CELL", action="append", help="an early cell; or several")
    way.add_argument(
        "--root-cluster", metavar="COLUMN=VALUE", help="the cluster in which it all begins"
    )
    way.add_argument("--pseudotime", metavar="COLUMN", help="a column of obs that grows")
    way.add_argument("--transition", metavar="KEY", help="chances of steps, in obsp")
    way.add_argument(
        "--resume", action="store_true", help="go on with the landscape that the file holds"
    )
    parser.add_argument(
        "--phylogeny", metavar="COLUMN:A>B,C;B>D",
        help="clusters of a column, and which comes of which: walks go nowhere else",
    )  # fmt: skip


def _add_preparing(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--layer", help="layer of raw counts [default: raw]")
    parser.add_argument(
        "--prepare", action="store_true",
        help="make what is needed of raw counts first: logarithms, variable genes, neighbours",
    )  # fmt: skip
    parser.add_argument(
        "--n-top-genes", type=int, default=2000, metavar="N",
        help="variable genes that --prepare keeps; 0 is all [default: 2000]",
    )  # fmt: skip
    parser.add_argument(
        "--keep-genes", nargs="+", default=[], metavar="GENE",
        help="genes that --prepare keeps in any case, to perturb them later",
    )  # fmt: skip


def _fit(given: argparse.Namespace) -> int:
    from celldyn.data import read, write
    from celldyn.data.writing import check_target
    from celldyn.landscape.results import write_result

    check_target(given.output)
    if given.model is not None and given.model.suffix != ".safetensors":
        raise FileFormatError(
            f"{given.model.name} is no name of a model", "end it in .safetensors"
        )
    config = _config(given)
    adata = read(given.file, table=given.table)
    if given.prepare:
        adata = _prepared(adata, given)
    lsd = _resumed(adata, given) if given.resume else _begun(adata, config, given)
    stopped = _trained(lsd, given)
    result = run(lsd.result_job(), bar=not given.quiet)
    write_result(adata, result)
    written = write(adata, given.output)  # first the files: printing may fail
    if given.model is not None:
        lsd.save(given.model)
    _report(lsd)
    say(f"Written: {written}")
    return STOPPED if stopped else 0


def _trained(lsd: LSD, given: argparse.Namespace) -> bool:
    """Train, and return whether it ended before its time with something to keep."""
    before = lsd.epoch
    try:
        lsd.train(bar=not given.quiet)
    except DataError as error:
        if lsd.epoch == before:
            raise
        sys.stderr.write(f"celldyn: {error}\n")
        return True
    return False


def _config(given: argparse.Namespace) -> LSDConfig:
    from celldyn.data.words import reason
    from celldyn.landscape import LSDConfig

    config = LSDConfig.preset(given.preset)
    if given.config is not None:
        try:
            text = given.config.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise FileFormatError(
                f"{given.config} cannot be read ({reason(error)})", "check the path"
            ) from error
        config = LSDConfig.from_json(text)
    apply_tree(config, given)
    return config


def _prepared(adata: AnnData, given: argparse.Namespace) -> AnnData:
    from celldyn.landscape import prepare_job

    job = prepare_job(
        adata, layer=given.layer, n_top_genes=given.n_top_genes or None, genes=given.keep_genes
    )
    prepared = run(job, bar=not given.quiet)
    for note in prepared.notes:
        say(f"Note: {note}")
    given.layer = None
    return prepared.adata


def _resumed(adata: AnnData, given: argparse.Namespace) -> LSD:
    from celldyn.landscape import LSD

    if given.phylogeny is not None or given.prepare:
        raise ConfigError(
            "a landscape that goes on has its way and its genes already",
            "leave out --phylogeny and --prepare",
        )
    lsd = LSD.from_adata(adata, given.device, layer=given.layer or "raw")
    if lsd.walks is None:
        raise ConfigError(
            "the landscape of the file has no walks of these cells", "fit it without --resume"
        )
    model = lsd.cfg.model.model_copy(deep=True)
    apply_tree(lsd.cfg, given)
    if lsd.cfg.model != model:
        raise ConfigError(
            "a landscape that goes on stays the model that it is",
            "leave out options of the model",
        )
    return lsd


def _begun(adata: AnnData, config: LSDConfig, given: argparse.Namespace) -> LSD:
    from celldyn import keys
    from celldyn.landscape import LSD, pseudotime_from_root_job

    time_key, transition = given.pseudotime, None
    if given.transition is not None:
        transition = _matrix(adata, given.transition)
    elif time_key is None:
        root, column = _root(given)
        time_key = keys.DPT.name
        job = pseudotime_from_root_job(adata, root, cluster_key=column)
        adata.obs[time_key] = run(job, bar=not given.quiet)
    lsd = LSD(adata, config, given.device, layer=given.layer or "raw")
    if given.phylogeny is not None:
        column, children = _phylogeny(given.phylogeny)
        lsd.set_phylogeny(children, column)
    if transition is None:
        lsd.set_prior_transition(prior_time_key=time_key)
    else:
        lsd.set_prior_transition(transition)
    if (
        given.preset == "recommended"
        and given.config is None
        and not was_given(given, "walks.path_len")
    ):
        lsd.cfg.walks.path_len = lsd.suggested_path_len or lsd.cfg.walks.path_len
    run(lsd.prepare_walks_job(), bar=not given.quiet)
    return lsd


def _matrix(adata: AnnData, key: str) -> Any:  # noqa: ANN401
    from celldyn.data.words import listed
    from celldyn.errors import MissingKeyError

    if key not in adata.obsp:
        raise MissingKeyError(f"obsp has no {key!r}", f"it has {listed(adata.obsp)}")
    return adata.obsp[key]


def _root(given: argparse.Namespace) -> tuple[list[str] | str, str | None]:
    """Return the root, and the column that it is a cluster of."""
    if given.root is not None:
        return given.root, None
    if given.root_cluster is None:
        raise ConfigError(
            "nothing says which way cells go",
            "give --root, --root-cluster, --pseudotime or --transition",
        )
    column, sign, value = given.root_cluster.partition("=")
    if not sign:
        raise ConfigError(
            f"{given.root_cluster!r} names no cluster", "write --root-cluster column=value"
        )
    return value, column


def _phylogeny(text: str) -> tuple[str, dict[str, list[str]]]:
    """Read "column:A>B,C;B>D" as a column and the children of its clusters."""
    column, sign, rest = text.partition(":")
    children: dict[str, list[str]] = {}
    for part in filter(None, (piece.strip() for piece in rest.split(";"))):
        parent, arrow, names = part.partition(">")
        found = [name.strip() for name in names.split(",") if name.strip()]
        if not arrow or not found:
            sign = ""
            break
        children.setdefault(parent.strip(), []).extend(found)
    if not sign or not children:
        raise ConfigError(
            f"{text!r} is no phylogeny", "write --phylogeny 'column:A>B,C;B>D' for A to B and C"
        )
    return column.strip(), children


def _report(lsd: LSD) -> None:
    last = lsd.history.iloc[-1]
    terms = ", ".join(f"{name} {last[name]:.4f}" for name in _SHOWN if name in last)
    say(f"{lsd.epoch} epochs, in nats per count: {terms}")
    if "held_out_loss" in last:
        say(f"Held-out counts: {last['held_out_loss']:.4f}")
    for note in lsd.notes:
        say(f"Note: {note}")


def _show(given: argparse.Namespace) -> None:
    from celldyn.data import read
    from celldyn.landscape.results import summary

    say(summary(read(given.file)))
