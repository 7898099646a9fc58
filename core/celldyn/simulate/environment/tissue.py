"""A tissue that can be acted upon, beside its control."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from celldyn.errors import DataError, NotFittedError
from celldyn.jobs import Job, run
from celldyn.simulate.dynamics import Walkers, raised_fates
from celldyn.simulate.dynamics.states import fate_odds_job
from celldyn.simulate.environment.moments import (
    Action,
    Moment,
    acting_now,
    advance_job,
    first_moment_job,
)
from celldyn.simulate.environment.world import World, world_job

if TYPE_CHECKING:
    from celldyn.simulate.config import SimulationConfig
    from celldyn.simulate.simulation import Simulation

Floats: TypeAlias = NDArray[np.float64]
Arrays: TypeAlias = dict[str, Any]


class TissueEnvironment:
    """A simulated tissue to act upon, beside a control that shares all of its noise.

    A cell's state follows its stochastic differential equation, which drivers tilt; genes read
    the state; targets follow their regulators and the ligands of the cells around. A moved cell
    keeps what it is (type, domain, its coefficients) and hears other neighbours. Everything is
    expected counts: the only chance is the noise of the states, the same for control and
    perturbed, so that whatever differs is caused. Factors of 1 cause no difference in any bit.

    Parameters
    ----------
    source
        A simulation, or the config of one.
    dt
        Time of one step, in the unit of the dynamics' true time.
    """

    def __init__(self, source: Simulation | SimulationConfig, *, dt: float = 0.1) -> None:
        if not (np.isfinite(dt) and dt > 0):
            raise DataError(f"dt is {dt!r}", "give a time above 0")
        self.dt = float(dt)
        self.world: World = run(world_job(source), bar=False)
        self.seed = self.world.config.seed
        self._control: Moment | None = None
        self._perturbed: Moment | None = None

    @property
    def gene_names(self) -> list[str]:
        """Names of the columns of the expression."""
        return self.world.gene_names

    @property
    def n_cells(self) -> int:
        """How many cells there were at the start."""
        return len(self.world.tissue.xy)

    def reset(
        self, seed: int | None = None, *, start: Literal["state", "root"] = "state"
    ) -> Arrays:
        """Go back to the beginning.

        Parameters
        ----------
        seed
            Of the noise to come; by default the simulation's.
        start
            Cells begin where the simulation left them, or all at the root.

        Returns
        -------
        The state; see `state`.
        """
        return run(self.reset_job(seed, start=start), bar=False)

    def reset_job(
        self, seed: int | None = None, *, start: Literal["state", "root"] = "state"
    ) -> Job[Arrays]:
        """Do the work of `reset`."""
        self.seed = self.world.config.seed if seed is None else seed
        first = yield from first_moment_job(self.world, start)
        self._control = self._perturbed = first
        return self.state()

    def step(self, actions: Action | Sequence[Action] = ()) -> tuple[Arrays, Arrays]:
        """Act, and let one step of time pass; the control goes on untouched.

        Parameters
        ----------
        actions
            One action or several, which take place now; perturbations go on acting by themselves.

        Returns
        -------
        The state, and by how much each of its parts differs from the control.

        Raises
        ------
        DataError, MissingKeyError
            If an action does not fit the tissue; nothing has happened then.
        NotFittedError
            Before `reset`.
        """
        return run(self.step_job(actions), bar=False)

    def step_job(self, actions: Action | Sequence[Action] = ()) -> Job[tuple[Arrays, Arrays]]:
        """Do the work of `step`."""
        todo = [actions] if isinstance(actions, Action) else list(actions)
        control, perturbed = self._moments()
        shared = control is perturbed and not todo
        control = yield from advance_job(self.world, control, (), self.dt, self.seed)
        if shared:
            perturbed = control
        else:
            perturbed = yield from advance_job(self.world, perturbed, todo, self.dt, self.seed)
        self._control, self._perturbed = control, perturbed
        return self.state(), self.effect()["difference"]

    def state(self) -> Arrays:
        """Return the tissue as it is: step, time, xy, alive, z and expression."""
        return self._arrays(self._moments()[1])

    def effect(self) -> dict[str, Arrays]:
        """Return "control", "perturbed" and their "difference": dicts of arrays as `state`'s.

        The difference holds xy, z and expression; of cells taken out, minus what they would be.
        """
        control, perturbed = (self._arrays(moment) for moment in self._moments())
        gone = ~perturbed["alive"]
        difference = {name: perturbed[name] - control[name] for name in ("xy", "z", "expression")}
        difference["z"][gone] = -control["z"][gone]
        return {"control": control, "perturbed": perturbed, "difference": difference}

    def fate_shift(self) -> Floats:
        """Return the true shift of each cell's fate probabilities, (n_cells, n_fates).

        Of the states as they are now under what acts now, less those of the control; 0 in cells
        taken out.

        Raises
        ------
        DataError
            If the tissue has no dynamics.
        """
        return run(self.fate_shift_job(), bar=False)

    def fate_shift_job(self) -> Job[Floats]:
        """Do the work of `fate_shift`."""
        spec, landscape = self.world.config.dynamics, self.world.landscape
        if spec is None or landscape is None:
            raise DataError("this tissue has no dynamics", "simulate one with a dynamics")
        odds = []
        for moment in self._moments():
            raised = raised_fates(spec, acting_now(moment, self.dt), self.world.cell_names)
            steps = np.zeros(self.n_cells, dtype=np.int64)
            walkers = Walkers(moment.z, self.world.cell_ids, steps, raised)
            odds.append((yield from fate_odds_job(spec, landscape, walkers, self.seed)))
        shift: Floats = odds[1] - odds[0]
        shift[~self._moments()[1].alive] = 0.0
        return shift

    def _moments(self) -> tuple[Moment, Moment]:
        if self._control is None or self._perturbed is None:
            raise NotFittedError("the environment has no state yet", "call reset() first")
        return self._control, self._perturbed

    def _arrays(self, moment: Moment) -> Arrays:
        arrays = {
            name: getattr(moment, name).copy() for name in ("xy", "alive", "z", "expression")
        }
        return {"step": moment.step, "time": moment.step * self.dt, **arrays}
