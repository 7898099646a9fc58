"""The command `celldyn panel`: many genes of one tissue, into a store beside it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from celldyn.cli_arguments import add_config_arguments, given_parameters
from celldyn.cli_parts import add_output, say
from celldyn.errors import ConfigError
from celldyn.jobs import run

if TYPE_CHECKING:
    from celldyn.betas.panel import BetaStore, PanelConfig, PanelInputs

INTERRUPTED = 130
"""Exit code after Ctrl-C."""

_SHOWN = 20


def add_panel(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the program's."""
    from celldyn.betas.panel import PanelConfig

    what = "fit what regulates many genes, cell by cell"
    parser = commands.add_parser("panel", help=what, description=what.capitalize() + ".")
    parser.set_defaults(command=panel)
    parser.add_argument("file", type=Path, help="the tissue: .h5ad, .zarr, a 10x folder, .csv")
    parser.add_argument("--table", help="which table of a SpatialData")
    parser.add_argument(
        "--store", type=Path, help="the folder of the betas [default: OUTPUT's name.betas.zarr]"
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on with a store that a run has left unfinished"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a store that is there")
    parser.add_argument(
        "--address", help="a running Ray cluster for the workers [default: this machine]"
    )
    parser.add_argument(
        "--export", type=Path, metavar="FOLDER", help="write SpaceTravLR's betadata files, too"
    )
    add_output(parser)
    add_config_arguments(parser, PanelConfig)


def panel(given: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    from celldyn.betas.panel import PanelConfig, prepare_panel, write_panel
    from celldyn.data import read, write
    from celldyn.data.writing import check_target

    check_target(given.output)
    config = PanelConfig(**given_parameters(PanelConfig, given))
    adata = read(given.file, table=given.table)
    inputs = prepare_panel(adata, config)
    store = _store(given, inputs, config)
    for gene, reason in inputs.skipped[:_SHOWN]:
        say(f"Left out: {gene}, {reason}")
    if len(inputs.skipped) > _SHOWN:
        say(f"Left out: {len(inputs.skipped) - _SHOWN} more genes")
    for note in inputs.notes:
        say(f"Note: {note}")
    try:
        _fit(given, inputs, config, store)
    except KeyboardInterrupt:
        sys.stderr.write(
            f"celldyn: stopped; {len(store)} genes are in {store.path}, --resume goes on.\n"
        )
        return INTERRUPTED
    write_panel(adata, store, file_path=given.output)
    written = write(adata, given.output)
    table = store.gene_table()
    say(f"{len(table)} genes in {store.path}; the best predicted on held-out tissue:")
    say(table.head(_SHOWN).to_string(index=False, float_format="{:.3f}".format))
    if given.export is not None:
        from celldyn.betas.panel import export_betadata_job

        run(export_betadata_job(store, given.export), bar=not given.quiet)
        say(f"Written: {given.export}")
    say(f"Written: {written}")
    return 0


def _store(given: argparse.Namespace, inputs: PanelInputs, config: PanelConfig) -> BetaStore:
    """Begin the store, or go on with one if that is asked for."""
    from celldyn.betas.panel import BetaStore

    path = given.store or given.output.with_name(f"{given.output.stem}.betas.zarr")
    if path.exists() and not (given.resume or given.overwrite):
        raise ConfigError(
            f"{path} is there", "pass --resume to go on with it, or --overwrite to replace it"
        )
    return BetaStore.create(path, inputs, config, overwrite=given.overwrite)


def _fit(
    given: argparse.Namespace, inputs: PanelInputs, config: PanelConfig, store: BetaStore
) -> None:
    from celldyn.betas.panel import panel_job

    if config.workers == 1 and given.address is None:
        job = panel_job(inputs, config, store)
    else:
        from celldyn.cluster import fit_panel_on_ray

        job = fit_panel_on_ray(inputs, config, store, address=given.address)
    run(job, bar=not given.quiet)
