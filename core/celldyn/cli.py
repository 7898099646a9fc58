"""The command `celldyn`: the same core that the plugin drives, without a window."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from celldyn import __version__
from celldyn.cli_arguments import add_config_arguments, given_parameters
from celldyn.cli_environment import add_environment
from celldyn.cli_landscape import add_landscape
from celldyn.cli_panel import add_panel
from celldyn.cli_parts import add_output, say
from celldyn.cli_perturb import add_perturb
from celldyn.cli_simulate import add_simulate
from celldyn.cli_vae import add_vae
from celldyn.errors import CelldynError

if TYPE_CHECKING:
    from anndata import AnnData

    from celldyn.betas import BetasConfig, BetasResult

DEMO_SAMPLE, DEMO_GENE = "two_niches", "Target1"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    arguments
        What follows `celldyn` on the command line; None takes it from there.

    Returns
    -------
    0 if all went well, 1 if a check that was asked for failed, 2 if something has to be mended
    (one sentence on standard error says what), 130 if it was interrupted.
    """
    given = _parser().parse_args(arguments)
    try:
        return int(given.command(given) or 0)
    except CelldynError as error:
        sys.stderr.write(f"celldyn: {error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("celldyn: stopped; nothing was written.\n")
        return 130
    except BrokenPipeError:  # whoever read what is printed has read enough
        sys.stderr.close()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="celldyn", description="What cells do next.")
    parser.add_argument("--version", action="version", version=f"celldyn {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_betas(commands)
    add_panel(commands)
    add_perturb(commands)
    add_simulate(commands)
    add_vae(commands)
    add_landscape(commands)
    add_environment(commands)
    demo = commands.add_parser("demo", help="fit a sample tissue whose truth is known")
    demo.set_defaults(command=_demo)
    add_output(demo)
    samples = commands.add_parser("samples", help="list the sample tissues")
    samples.set_defaults(command=_samples)
    return parser


def _add_betas(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    from celldyn.betas import BetasConfig

    what = "fit what regulates a gene, cell by cell"
    parser = commands.add_parser("betas", help=what, description=what.capitalize() + ".")
    parser.set_defaults(command=_betas)
    parser.add_argument("file", type=Path, help="the tissue: .h5ad, .zarr, a 10x folder, .csv")
    parser.add_argument(
        "--target-gene",
        dest="genes",
        nargs="+",
        action="extend",
        required=True,
        metavar="GENE",
        help="gene whose expression is modelled; several are fitted one after the other",
    )
    parser.add_argument("--table", help="which table of a SpatialData")
    add_output(parser)
    add_config_arguments(parser, BetasConfig, skip=("target_gene",))


def _betas(given: argparse.Namespace) -> None:
    from celldyn.betas import BetasConfig
    from celldyn.data import read
    from celldyn.data.writing import check_target

    check_target(given.output)  # an hour of fitting later would be late to say so
    parameters = given_parameters(BetasConfig, given)
    configs = [BetasConfig(target_gene=gene, **parameters) for gene in given.genes]
    _fit(read(given.file, table=given.table), configs, given)


def _demo(given: argparse.Namespace) -> None:
    from celldyn.betas import BetasConfig
    from celldyn.data import samples
    from celldyn.data.writing import check_target

    check_target(given.output)
    config = BetasConfig(
        target_gene=DEMO_GENE,
        cluster_annot="cell_type",
        colinks_path=str(samples.path("grn.csv")),
        lr=str(samples.path("ligand_receptor.csv")),
    )
    _fit(samples.load(DEMO_SAMPLE), [config], given)


def _fit(adata: AnnData, configs: Sequence[BetasConfig], given: argparse.Namespace) -> None:
    from celldyn.betas import find_modulators, fit
    from celldyn.data import write

    for config in configs:
        find_modulators(adata, config)  # a wrong gene is told before the first is fitted
    results = [fit(adata, config, bar=not given.quiet) for config in configs]
    written = write(adata, given.output)  # first the file: printing may fail
    for result in results:
        _report(result)
    say(f"Written: {written}")


def _report(result: BetasResult) -> None:
    scores = result.score_table().drop(columns="seed_r2")
    scores = scores if scores["section"].any() else scores.drop(columns="section")
    say(f"{result.gene}: {len(result.modulators)} modulators, {result.seconds:.1f} s")
    say(scores.to_string(index=False, float_format="{:.3f}".format))
    for note in result.notes:
        say(f"Note: {note}")


def _samples(given: argparse.Namespace) -> None:
    from celldyn.data import samples

    for name in samples.names():
        say(f"{name}\t{samples.path(name)}")


if __name__ == "__main__":
    sys.exit(main())
