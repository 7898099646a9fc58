"""The command `celldyn environment`: train virtual cells and ask them, with the seed's options."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from celldyn.cli_arguments import given_parameters, option
from celldyn.cli_environment_asking import add_perturb_cells, add_simulate_cells
from celldyn.cli_environment_files import (
    SeedParser,
    add_import,
    add_modalities,
    add_show,
    read_modalities,
    tell_model,
)
from celldyn.cli_environment_screen import add_screen_cells, add_stages
from celldyn.cli_parts import say
from celldyn.errors import ConfigError, UnavailableError
from celldyn.jobs import run

if TYPE_CHECKING:
    from celldyn.environment import Checkpoints, EnvironmentConfig, FittedEnvironment
    from celldyn.environment.event_log import EventLog

_FOLDS = ("Data", "Space", "Reward", "Policy", "Training")
_MOST_ROWS = 5
_STOPPED = 130


def add_environment(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the program's."""
    what = "train a virtual environment of cells, and ask what cells do in it"
    parser = commands.add_parser("environment", help=what, description=f"{what.capitalize()}.")
    parts = parser.add_subparsers(
        title="commands", required=True, metavar="COMMAND", parser_class=SeedParser
    )
    _add_train(parts)
    add_simulate_cells(parts)
    add_perturb_cells(parts)
    add_screen_cells(parts)
    add_stages(parts)
    add_import(parts)
    add_show(parts)


def _add_train(parts: Any) -> None:  # noqa: ANN401
    from celldyn.environment.config import Preset

    what = "train cells to move so that where they are tells their modalities"
    parser = parts.add_parser(
        "train", help=what, description=what.capitalize() + ".",
        usage="%(prog)s FILE [FILE ...] [options]",
    )  # fmt: skip
    parser.set_defaults(command=_train)
    add_modalities(parser)
    parser.add_argument(
        "--preset", choices=get_args(Preset),
        help="parameters to begin with; seed: those of CellTRIP's own command [default: "
        "recommended]",
    )  # fmt: skip
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, mps [default: auto]")
    parser.add_argument(
        "--address", help="a running Ray cluster, for several learners; this machine otherwise"
    )
    _add_output(parser)
    _add_parameters(parser)


def _add_output(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("files")
    group.add_argument(
        "-o", "--output", type=Path,
        help="the trained model [default: <checkpoint-dir>/<checkpoint-name>.safetensors]",
    )  # fmt: skip
    group.add_argument(
        "--checkpoint", type=Path,
        help="go on with this model, bit for bit where it can: a file, the newest of a folder, or "
        "a .weights file beside its .pre file",
    )  # fmt: skip
    group.add_argument(
        "--networks-only", action="store_true",
        help="take only the networks of --checkpoint, for other data or another course",
    )  # fmt: skip
    group.add_argument(
        "--checkpoint-dir", type=Path, default=Path("checkpoints"), metavar="FOLDER",
        help="where checkpoints go [default: ./checkpoints]",
    )  # fmt: skip
    group.add_argument(
        "--checkpoint-name", metavar="NAME", help="what they begin with [default: the time]"
    )
    group.add_argument(
        "--keep-checkpoints", type=int, metavar="N", help="only the newest stay [default: all]"
    )
    group.add_argument(
        "--logfile", metavar="FILE",
        help="log of JSON lines; cli prints it, none writes none [default: beside checkpoints]",
    )  # fmt: skip
    group.add_argument("-q", "--quiet", action="store_true", help="draw no progress bar")


def _add_parameters(parser: argparse.ArgumentParser) -> None:
    """Give a command one option for each parameter of an environment, by its folds.

    Lists are given as words, as the seed has them, or with commas.
    """
    from celldyn.environment import config as folds

    for name in _FOLDS:
        group = parser.add_argument_group(f"parameters ({name.lower()})")
        for field, held in getattr(folds, f"{name}Config").model_fields.items():
            known = option(held)
            if known is None:
                continue
            if known.get("action") == "extend":
                known |= {"nargs": "*", "type": str, "metavar": "X"}
            if field.startswith(("no_", "dont_")):
                known["action"] = "store_true"
            group.add_argument("--" + field.replace("_", "-"), dest=field, **known)


def _train(given: argparse.Namespace) -> int:
    from celldyn.environment.checkpoints import Checkpoints
    from celldyn.environment.mask_file import write_mask
    from celldyn.environment.saved import save

    name = given.checkpoint_name or f"environment_{datetime.now():%Y%m%d_%H%M%S}"
    output = given.output or given.checkpoint_dir / f"{name}.safetensors"
    _check_output(output)
    _check_here(given.checkpoint_dir, given.logfile, given.checkpoint)
    kept = Checkpoints(given.checkpoint_dir, name, given.keep_checkpoints)
    start, config = _begun(given)
    tables = read_modalities(given, backed=config.backed)
    try:
        with _log(given, name, config) as log:
            fitted = _trained(tables, config, start, given, kept, log)
    except KeyboardInterrupt:
        if not kept.written:
            raise
        newest = kept.written[-1]
        sys.stderr.write(f"celldyn: stopped; go on from {newest} with --checkpoint.\n")
        return _STOPPED
    written = save(fitted, output)
    if fitted.train_mask is not None:
        write_mask(output.with_suffix(".mask"), fitted.train_mask)
    _report(fitted)
    say(f"Written: {written}")
    return 0


def _check_output(output: Path) -> None:
    """Say before hours of training what would be wrong with the name of the model."""
    from celldyn.errors import FileFormatError

    _check_here(output)
    if output.suffix != ".safetensors":
        raise FileFormatError(f"{output.name} is no name of a model", "end it in .safetensors")
    if output.is_dir():
        raise FileFormatError(f"{output} is a folder", "give another name")


def _check_here(*places: object) -> None:
    """Say that models and logs stay on this machine, unlike data."""
    for place in places:
        if place is not None and re.match(r"\w{2,}:/", str(place)):
            raise UnavailableError(
                f"{place} is not on this machine, where models and logs are",
                "name a folder here, and copy it there afterwards",
            )


def _begun(given: argparse.Namespace) -> tuple[FittedEnvironment | None, EnvironmentConfig]:
    """Return what training goes on with, and the parameters: what is given comes on top."""
    from celldyn.environment import EnvironmentConfig
    from celldyn.environment.checkpoints import open_checkpoint, without_course

    words = given_parameters(EnvironmentConfig, _split(given))
    if given.checkpoint is None:
        return None, EnvironmentConfig.preset(given.preset or "recommended", **words)
    if given.preset is not None:
        raise ConfigError(
            "a training that goes on has its parameters already", "leave out --preset"
        )
    start = open_checkpoint(given.checkpoint, heads=int(words.get("attention_heads", 2)))
    config: EnvironmentConfig = start.config.replace(**words)
    for field in ("dim", "attention_heads", "attention_blocks", "discrete"):
        if getattr(config, field) != getattr(start.config, field):
            raise ConfigError(
                f"{field} of {given.checkpoint.name} is {getattr(start.config, field)}, and "
                f"{getattr(config, field)} was given",
                "leave it out, or begin without --checkpoint",
            )
    return without_course(start) if given.networks_only else start, config


def _split(given: argparse.Namespace) -> argparse.Namespace:
    """Return options whose lists have no commas in their words, and no word at all for none."""
    held = dict(vars(given))
    for name, value in held.items():
        if isinstance(value, list) and name not in ("files", "merge_files"):
            held[name] = [word for part in value for word in part.split(",") if word]
    return argparse.Namespace(**held)


@contextmanager
def _log(
    given: argparse.Namespace, name: str, config: EnvironmentConfig
) -> Iterator[EventLog | None]:
    from celldyn.environment.event_log import EventLog

    if given.logfile == "none":
        yield None
        return
    target = given.logfile or given.checkpoint_dir / f"{name}.log.jsonl"
    with EventLog(target, config.flush_iterations) as log:
        if given.checkpoint is not None:
            log({"Event": "Load Checkpoint", "Path": str(given.checkpoint)})
        yield log


def _trained(
    tables: Any,  # noqa: ANN401
    config: EnvironmentConfig,
    start: FittedEnvironment | None,
    given: argparse.Namespace,
    kept: Checkpoints,
    log: EventLog | None,
) -> FittedEnvironment:
    """Train on this machine in one process, or on Ray where several learners are asked for."""
    from celldyn.cluster_environment import fit_on_ray_job

    job = fit_on_ray_job(
        tables, config, start=start, checkpoint=kept, log=log, device=given.device,
        address=given.address,
    )  # fmt: skip
    return run(job, bar=not given.quiet)


def _report(fitted: FittedEnvironment) -> None:
    import pandas as pd

    tell_model(fitted)
    if not fitted.history:
        return
    table = pd.DataFrame(fitted.history)
    shown = [name for name in ("timesteps", "reward", *table.columns) if name in table]
    columns = [name for name in dict.fromkeys(shown)
               if name in ("timesteps", "reward", "speed", "explained_variance")
               or name.startswith(("reward/", "loss/pinning"))]  # fmt: skip
    say(table[columns].tail(_MOST_ROWS).to_string(index=False, float_format="{:.4g}".format))
