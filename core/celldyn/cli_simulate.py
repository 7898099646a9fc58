"""The command `celldyn simulate`: a tissue from a YAML file or a preset, checked and written."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from celldyn.cli_arguments import add_config_arguments, given_parameters
from celldyn.cli_parts import add_output, say
from celldyn.errors import ConfigError
from celldyn.jobs import run

if TYPE_CHECKING:
    from celldyn.simulate import Simulation, SimulationConfig

FAILED = 1
"""Exit code where --check finds a promise that is not met."""


def add_simulate(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the program's."""
    from celldyn.simulate import SimulationConfig

    what = "make a tissue whose every truth is known"
    parser = commands.add_parser(
        "simulate",
        help=what,
        description=f"{what.capitalize()}. Tables of parameters (morphologies, structures, "
        "targets, technical noise, ...) have their place in the YAML file.",
    )
    parser.set_defaults(command=simulate)
    parser.add_argument("config", type=Path, nargs="?", help="YAML file of the parameters")
    parser.add_argument("--preset", metavar="NAME", help="a ready-made tissue, in place of a file")
    parser.add_argument("--list-presets", action="store_true", help="list them, and stop")
    parser.add_argument(
        "--estimate", action="store_true", help="say what it will come to, and stop"
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="print what was asked beside what was met; exit code 1 if something was not",
    )
    parser.add_argument(
        "--threads", type=_positive, metavar="N", help="threads to use [default: every core]"
    )
    add_output(
        parser,
        "where to: .h5ad (the table), .zarr (SpatialData), or a folder of tables",
        required=False,
    )
    add_config_arguments(parser, SimulationConfig)


def simulate(given: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    if given.list_presets:
        return _list_presets()
    config = _config(given)
    say(config.summary())
    if given.estimate:
        from celldyn.simulate.estimate import estimate

        say(estimate(config).summary())
        return 0
    _check_output(given)
    from celldyn.simulate import simulate_job

    simulation = run(simulate_job(config, threads=given.threads), bar=not given.quiet)
    if given.output is not None:  # first the files: a check may fail, printing too
        from celldyn.simulate.output import write_simulation_job

        job = write_simulation_job(simulation, given.output, threads=given.threads)
        written = run(job, bar=not given.quiet)
        say(f"Written: {written}")
    return _check(simulation, given) if given.check else 0


def _list_presets() -> int:
    from celldyn.simulate.presets import preset_descriptions

    for name, what in preset_descriptions().items():
        say(f"{name}\t{what}")
    return 0


def _config(given: argparse.Namespace) -> SimulationConfig:
    from celldyn.simulate import SimulationConfig
    from celldyn.simulate.presets import preset

    changes = given_parameters(SimulationConfig, given)
    if (given.config is None) == (given.preset is None):
        many = (
            "both a file and a preset were" if given.config else "neither a file nor a preset was"
        )
        raise ConfigError(f"{many} given", "give a YAML file, or --preset NAME")
    if given.preset is not None:
        return preset(given.preset, **changes)
    config: SimulationConfig = SimulationConfig.from_yaml(given.config).replace(**changes)
    return config


def _check_output(given: argparse.Namespace) -> None:
    """Refuse a place that cannot be written to before the work is done."""
    if given.output is None:
        if not given.check:
            raise ConfigError("there is nothing to do", "give -o OUT, --check or --estimate")
        return
    from celldyn.simulate.output import check_output

    check_output(given.output)


def _check(simulation: Simulation, given: argparse.Namespace) -> int:
    from celldyn.simulate.acceptance import accept_job, acceptance_table

    checks = run(accept_job(simulation), bar=not given.quiet)
    say(acceptance_table(checks).to_string(index=False, float_format="{:.4g}".format))
    failed = sum(not check.passed for check in checks)
    say(f"{len(checks) - failed} of {len(checks)} checks passed.")
    return FAILED if failed else 0


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number
