"""The command `celldyn vae`: cells into a latent space, without ambient RNA and batches."""

from __future__ import annotations

import argparse
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celldyn.cli_arguments import add_config_arguments, given_parameters
from celldyn.cli_parts import add_output, say
from celldyn.errors import ConfigError, FileFormatError, UnavailableError

if TYPE_CHECKING:
    import pandas as pd

    from celldyn.vae import VAEResult

MUDATA = ".h5mu"
"""Ending of a file with several modalities."""

_TERMS = {
    "elbo": "-ELBO",
    "reconstruction": "reconstruction",
    "kl_z": "KL z",
    "kl_library": "KL library",
}


def add_vae(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the program's."""
    from celldyn.vae.config import VAEConfig

    what = "find the latent space of cells, apart from ambient RNA and batches"
    parser = commands.add_parser("vae", help=what, description=what.capitalize() + ".")
    parser.set_defaults(command=vae)
    parser.add_argument(
        "file", type=Path, help="raw counts: .h5ad, .zarr, a 10x folder, or .h5mu of several kinds"
    )
    parser.add_argument("--table", help="which table of a SpatialData")
    parser.add_argument(
        "--backed", action="store_true", help="leave the counts on disk, and train out of core"
    )
    parser.add_argument(
        "--modalities",
        metavar="A,B",
        help="which modalities of a .h5mu, in the order of the latent space [default: all]",
    )
    parser.add_argument(
        "--layers",
        metavar="A=LAYER,B=LAYER",
        help="layer of raw counts of each modality of a .h5mu [default: that of --layer]",
    )
    add_output(parser, "the .h5ad or .zarr to write; .h5mu where one was read")
    add_config_arguments(parser, VAEConfig)


def vae(given: argparse.Namespace) -> None:
    """Run the command."""
    from celldyn.vae import fit
    from celldyn.vae.config import VAEConfig

    _check_output(given)
    config = VAEConfig(**given_parameters(VAEConfig, given))
    data = _read(given)
    result = fit(data, config, bar=not given.quiet, **_of_modalities(given))
    written = _write(data, given.output)  # first the file: printing may fail
    _report(result)
    say(f"Written: {written}")


def _check_output(given: argparse.Namespace) -> None:
    from celldyn.data.writing import check_target

    several = given.file.suffix.lower() == MUDATA
    if several and given.output.suffix.lower() != MUDATA:
        raise FileFormatError(
            f"{given.file.name} has several modalities, which {given.output.name} cannot hold",
            f"give a name that ends in {MUDATA}",
        )
    if several and given.output.is_dir():
        raise FileFormatError(f"{given.output} is a folder", "give another name")
    if several:
        return
    if given.modalities is not None or given.layers is not None:
        raise ConfigError(
            f"{given.file.name} has one modality", "leave out --modalities and --layers"
        )
    check_target(given.output)


def _of_modalities(given: argparse.Namespace) -> dict[str, Any]:
    """Return which modalities, and the layer of each, as `setup_mudata` takes them."""
    layers: dict[str, str] | None = None
    if given.layers is not None:
        layers = {}
        for part in given.layers.split(","):
            name, sign, layer = part.strip().partition("=")
            if not sign:
                raise ConfigError(
                    f"--layers has {part.strip()!r}, which names no layer",
                    "write --layers modality=layer",
                )
            layers[name] = layer
    names = None if given.modalities is None else given.modalities.split(",")
    chosen = None if names is None else [name.strip() for name in names if name.strip()]
    return {"modalities": chosen, "layers": layers}


def _read(given: argparse.Namespace) -> Any:  # noqa: ANN401
    from celldyn.data import read

    if given.file.suffix.lower() != MUDATA:
        return read(given.file, backed=given.backed, table=given.table)
    from celldyn.data.anndata_files import guarded

    if not given.file.is_file():
        raise FileFormatError(f"{given.file} is not there", "check the path")

    mudata = _mudata()

    def opened() -> Any:  # noqa: ANN401
        with mudata.set_options(pull_on_update=False):
            return mudata.read_h5mu(given.file, backed="r" if given.backed else False)

    return guarded(given.file, opened)


def _mudata() -> Any:  # noqa: ANN401
    try:
        return import_module("mudata")
    except ImportError as error:
        raise UnavailableError(
            f"{MUDATA} files need the package mudata", "pip install mudata"
        ) from error


def _write(data: Any, path: Path) -> Path:  # noqa: ANN401
    from celldyn.data import write
    from celldyn.data.words import reason
    from celldyn.persist import atomic_path

    if path.suffix.lower() != MUDATA:
        return write(data, path)
    try:
        with atomic_path(path) as draft:
            data.write(draft)
    except OSError as error:
        raise FileFormatError(
            f"{path} could not be written ({reason(error)})",
            "check that its folder can be written to and that the disk is not full",
        ) from error
    return path


def _report(result: VAEResult) -> None:
    history = result.history
    say(f"{len(history)} epochs, {result.seconds:.1f} s")
    if len(history):
        say(_losses(history).to_string(float_format="{:.2f}".format))
    if len(result.shares):
        say("Share of ambient RNA:")
        shares = result.shares[["group", "share", "low", "high"]]
        say(shares.to_string(index=False, float_format="{:.3f}".format))
    for note in result.notes:
        say(f"Note: {note}")


def _losses(history: pd.DataFrame) -> pd.DataFrame:
    """Return the terms of the last epoch, of trained and of held-out cells."""
    import pandas as pd

    last = history.ffill().iloc[-1]
    kinds = {"train": "trained, nats a cell", "validation": "held out, nats a cell"}
    return pd.DataFrame(
        {
            title: {
                shown: last[f"{term}_{kind}"]
                for term, shown in _TERMS.items()
                if f"{term}_{kind}" in last
            }
            for kind, title in kinds.items()
            if any(f"{term}_{kind}" in last for term in _TERMS)
        }
    ).reindex([shown for term, shown in _TERMS.items() if f"{term}_train" in last])
