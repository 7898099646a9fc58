"""Work of libraries that cannot be stopped and hold the interpreter, in a Python of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from celldyn.errors import DataError
from celldyn.jobs import MAX_SILENCE_S, Job, Progress


def child_job(
    function: str,
    arguments: Sequence[str],
    stages: Sequence[str],
    made: Path,
    what: str,
    variables: Mapping[str, str] | None = None,
) -> Job[None]:
    """Call a function with texts in another Python; closing the job ends it at once.

    Parameters
    ----------
    function
        "module:name"; it tells its stages with `say_stages`.
    arguments
        What it is called with.
    stages
        Those that it tells, in order; progress counts them.
    made
        The file that it writes last, in a folder that may hold what it said beside it.
    what
        What a sentence calls the result.
    variables
        Of its environment, beside those of this one.

    Raises
    ------
    DataError
        If it did not write the file; says what the library said.
    """
    module, _, name = function.partition(":")
    script = f"import sys; from {module} import {name}; {name}(*sys.argv[1:])"
    said = made.with_name("said.txt")
    with said.open("wb") as out:
        child = subprocess.Popen(
            [sys.executable, "-c", script, *arguments],
            stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            env={**os.environ, **(variables or {})},
        )  # fmt: skip
    try:
        while child.poll() is None:
            yield _progress(said, stages)
            time.sleep(MAX_SILENCE_S / 2)
    finally:
        child.kill()
        child.wait()
    if not made.exists():
        last = (_lines(said) or ["it ended without a word"])[-1]
        raise DataError(f"the {what} could not be made ({last})", "look at the matrix")


def say_stages(stages: Iterable[str]) -> None:
    """Do work that names each of its stages before it does it, telling them to `child_job`."""
    for stage in stages:
        sys.stdout.write(f"{stage}\n")
        sys.stdout.flush()


def put_matrix(matrix: Any, folder: Path) -> Path:  # noqa: ANN401
    """Write a matrix, dense or sparse, for `get_matrix`."""
    from scipy import sparse

    if hasattr(matrix, "tocsr"):
        path = folder / "matrix.npz"
        sparse.save_npz(path, matrix.tocsr(), compressed=False)
    else:
        path = folder / "matrix.npy"
        np.save(path, np.asarray(matrix))
    return path


def get_matrix(path: Path) -> Any:  # noqa: ANN401
    """Read what `put_matrix` wrote."""
    from scipy import sparse

    return sparse.load_npz(path) if path.suffix == ".npz" else np.load(path)


def _progress(said: Path, stages: Sequence[str]) -> Progress:
    reached = [line for line in _lines(said) if line in stages]
    if not reached:
        return Progress("starting", 0, len(stages))
    return Progress(reached[-1], stages.index(reached[-1]), len(stages))


def _lines(said: Path) -> list[str]:
    return said.read_text(errors="replace").split("\n")[:-1]
