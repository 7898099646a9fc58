"""The way from one stage to another: cells of the first rest, then see what those of the last see.

Shapes: p pseudocells, T frames, d dimensions, G_k raw features of modality k. Source: seed 004,
"Developmental stage recovery"; specs/environment.md C; the clock is `biological_clock`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from celldyn.environment.biological_clock import BiologicalClock
from celldyn.environment.steady import SteadyReport
from celldyn.environment.telling import tell_job
from celldyn.errors import DataError
from celldyn.jobs import Job, run

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

    from celldyn.environment.fitted import FittedEnvironment

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class StageRecovery:
    """Pseudocells on their way from an origin to a terminal stage.

    Parameters
    ----------
    fitted
        The environment, which tells modalities of positions.
    times
        (T,) seconds since cells began to see the terminal stage, of the frames.
    positions
        (T, p, d).
    speeds
        (T,) mean over cells and dimensions of |v|.
    clock
        Biological time of simulated time; None where no clock fits, as where cells never moved.
    origin, terminal
        {modality: (p, G_k)} paired pseudocells of both stages, raw, of the modalities given.
    cells
        Cells of both stages that pseudocells were made of: {modality: (origin, terminal)} of the
        modalities that positions tell, where they were given.
    report, rest
        How the way ended, and how cells came to rest at the origin.
    notes
        What to know.
    """

    fitted: FittedEnvironment = field(repr=False)
    times: NDArray[np.float64]
    positions: Floats
    speeds: Floats
    clock: BiologicalClock | None
    origin: Mapping[int, Floats]
    terminal: Mapping[int, Floats]
    cells: Mapping[int, tuple[Any, Any]] = field(repr=False)
    report: SteadyReport
    rest: SteadyReport
    notes: tuple[str, ...] = ()

    @property
    def n_pcells(self) -> int:
        """Number of pseudocells, p."""
        return int(self.positions.shape[1])

    @property
    def biological(self) -> NDArray[np.float64]:
        """(T,) biological times of the frames; without a clock, in proportion to seconds."""
        if self.clock is None:
            return np.asarray(self.times / self.times[-1], dtype=np.float64)
        return np.asarray(self.clock.at(self.times), dtype=np.float64)

    def frames_at(self, biological: ArrayLike) -> NDArray[np.intp]:
        """Return the frames that are nearest to biological times.

        Raises
        ------
        DataError
            If one is not from the origin up to the terminal stage.
        """
        wanted = np.atleast_1d(np.asarray(biological, np.float64))
        start, end = (0.0, 1.0) if self.clock is None else (self.clock.start, self.clock.end)
        low, high = min(start, end), max(start, end)
        if not ((wanted >= low) & (wanted <= high)).all():
            raise DataError(
                f"biological time {wanted[(wanted < low) | (wanted > high)][0]:g} is not from "
                f"{start:g} to {end:g}",
                "ask for times between both stages",
            )
        distance = np.abs(self.biological[:, None] - wanted)
        return np.asarray(distance.argmin(axis=0), np.intp)

    def at_job(self, biological: ArrayLike) -> Job[dict[int, Floats]]:
        """Tell modalities at biological times: {modality: (times, p, G_k)}."""
        frames = self.frames_at(biological)
        found = {}
        for k in self.fitted.targets:
            device = self.fitted.device
            found[k] = yield from tell_job(self.fitted, self.positions[frames], k, device=device)
        return found

    def at(self, biological: ArrayLike) -> dict[int, Floats]:
        """Return what `at_job` does."""
        return run(self.at_job(biological), bar=False)

    def to_adatas(self, biological: ArrayLike | int = 6) -> dict[int, AnnData]:
        """Return cells at biological times as tables, one per modality that positions tell.

        Parameters
        ----------
        biological
            Times; or how many, evenly from the origin to the terminal stage.

        Returns
        -------
        {modality: AnnData} of as many cells as times and pseudocells: obs has pseudocell,
        biological_time and time (s); obsm["X_environment"] where they are in the space.
        """
        import pandas as pd
        from anndata import AnnData

        from celldyn import keys

        wanted = self._spread(biological) if np.ndim(biological) == 0 else np.asarray(biological)
        frames, p = self.frames_at(wanted), self.n_pcells
        names = [f"pseudocell{i}-{j}" for j in range(len(frames)) for i in range(p)]
        columns = {
            "pseudocell": np.tile(np.arange(p), len(frames)),
            "biological_time": np.repeat(np.asarray(wanted, np.float64), p),
            "time": np.repeat(self.times[frames], p),
        }
        tables = {}
        for k, told in self.at(wanted).items():
            obs = pd.DataFrame(columns, index=names)
            var = pd.DataFrame(index=list(self.fitted.preprocessing.maps[k].names))
            tables[k] = AnnData(told.reshape(-1, told.shape[-1]), obs=obs, var=var)
            flat = self.positions[frames].reshape(-1, self.positions.shape[-1])
            tables[k].obsm[keys.ENVIRONMENT.name] = np.array(flat)
        return tables

    def _spread(self, n: ArrayLike) -> NDArray[np.float64]:
        start, end = (0.0, 1.0) if self.clock is None else (self.clock.start, self.clock.end)
        return np.linspace(start, end, int(np.asarray(n)))

    def compare_job(
        self, truth: ArrayLike, biological: float, modality: int | None = None, *, seed: int = 0
    ) -> Job[pd.DataFrame]:
        """Compare a recovered stage with cells that were measured, beside straight ways.

        Parameters
        ----------
        truth
            (n, G) cells of that stage, raw, of the modality.
        biological
            Its biological time.
        modality
            Which; None: the first that positions tell.

        Returns
        -------
        Methods by "emd", "e_distance" and "mmd"; see `stage_report_job`.

        Raises
        ------
        DataError
            If the modality was not given for both stages.
        """
        from celldyn.environment.score_tables import stage_report_job

        k = self.fitted.targets[0] if modality is None else modality
        if k not in self.cells or k not in self.fitted.targets:
            raise DataError(
                f"modality {k} of both stages is not there, so nothing can be compared",
                "give it for both stages, or choose a modality that positions tell",
            )
        told = yield from self.at_job(biological)
        start, end = (0.0, 1.0) if self.clock is None else (self.clock.start, self.clock.end)
        fraction = (biological - start) / (end - start)
        prepare = self.fitted.preprocessing.maps[k]

        def same(raw: ArrayLike) -> NDArray[np.float64]:
            # Counts are brought to the size in which positions tell them.
            values = np.array(_dense(raw), np.float64)
            return np.asarray(prepare.inverse(prepare.forward(values)), np.float64)

        origin, terminal = (same(cells) for cells in self.cells[k])
        paired = same(self.origin[k]), same(self.terminal[k])
        return (
            yield from stage_report_job(
                {"environment": told[k][0]}, same(truth), origin, terminal, fraction,
                paired=paired, seed=seed,
            )
        )  # fmt: skip

    def __str__(self) -> str:
        clock = "no clock fits" if self.clock is None else (
            f"{self.clock.covered:.0%} of the way covered"
        )  # fmt: skip
        return f"{self.n_pcells:,} pseudocells over {self.times[-1]:g} s; {clock}"


def _dense(table: Any) -> NDArray[np.float64]:  # noqa: ANN401
    matrix = table.X if hasattr(table, "obs_names") else table
    return np.asarray(matrix.toarray() if hasattr(matrix, "toarray") else matrix, np.float64)
