"""The part of a manager that holds features at values, and measures what comes of it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from celldyn.devices import few_threads
from celldyn.environment.clamp_making import (
    Levels,
    checked_rows,
    clamp_of,
    clamp_of_perturbation,
)
from celldyn.environment.clamp_run import check_clamps
from celldyn.environment.clamping import Clamping
from celldyn.environment.clamps import Clamp
from celldyn.environment.costs import require_memory
from celldyn.environment.manager_features import Impute, Told
from celldyn.environment.manager_simulate import SimulateMixin
from celldyn.environment.perturbed_cells import PerturbedCells
from celldyn.environment.recording import Store
from celldyn.environment.telling import tell_job
from celldyn.environment.trajectories import Trajectory
from celldyn.errors import ConfigError, MissingKeyError, NotFittedError
from celldyn.jobs import Job, run, scaled
from celldyn.perturbation import Perturbation


class PerturbMixin(SimulateMixin):
    """Perturbations; see `BasicManager`."""

    @property
    def perturbations(self) -> tuple[Clamp, ...]:
        """What is held, in the order in which it was added."""
        return tuple(self._clamps)

    def add_perturbation(
        self,
        features: str | Sequence[str] | Perturbation,
        modality: int = 0,
        feature_targets: Levels = 0.0,
        clamping: Clamping = "pre",
        factor: float = 1.0,
        *,
        cells: ArrayLike | None = None,
        released_at: float | None = None,
    ) -> Clamp:
        """Hold features at values in all that is simulated from now on.

        Several can hold at once; at every step they act in the order in which they were added.

        Parameters
        ----------
        features
            A name, several, or a `celldyn.perturbation.Perturbation`, which says itself to what
            they are changed, in which cells, and until when.
        modality
            Whose they are.
        feature_targets
            Raw values, as before preprocessing but for the scaling of counts: one number, one per
            feature, (n, g) per cell and feature, or a function of the seconds since this began
            that returns one of these.
        clamping
            "pre": what cells see is drawn towards the values, as far in a second whatever the step
            is; "post": it is put there at once by the smallest change; "action": cells are pushed
            to where positions tell the values.
        factor
            How strong the push of "action" is.
        cells
            Which cells: a mask, positions or names; None for all.
        released_at
            Seconds after which they are let go, and cells are again what they were.

        Returns
        -------
        The perturbation, as `perturbations` lists it and `remove_perturbation` takes it.

        Raises
        ------
        MissingKeyError
            If there is no such feature or cell.
        DataError
            If the feature does not vary, values do not fit, or the modality is not seen by cells
            ("pre", "post") or not told by positions ("action").
        ConfigError
            If the clamping is unknown or the factor is none.
        NotFittedError
            Before `set_modalities`.
        """
        k, each = self._check_modality(modality), self.fitted.preprocessing.maps[int(modality)]
        names = self.obs_names
        if not names:
            raise NotFittedError("the manager has no cells", "call set_modalities(adatas)")
        if isinstance(features, Perturbation):
            if cells is not None or released_at is not None:
                raise ConfigError(
                    "cells and released_at were given beside a Perturbation, which says them",
                    "give them to the Perturbation",
                )
            observed = self._observed(k)
            made = clamp_of_perturbation(
                features, each, k, observed, clamping, obs_names=names, factor=factor
            )
        else:
            made = clamp_of(
                features, each, k, feature_targets, clamping, n_cells=len(names), factor=factor,
                cells=checked_rows(cells, names), released_at=released_at,
            )  # fmt: skip
        check_clamps([made], self.fitted.inputs, self.fitted.targets)
        made = replace(made, began=0.0 if self._state is None else self._state.time)
        self._clamps.append(made)
        return made

    def _observed(self, modality: int) -> Any:  # noqa: ANN401
        """Return the (n, F) features of a modality, those that cells do not see as well."""
        held = self.simulator.modalities.get(modality)
        if held is not None:
            return held
        table = self.adatas[modality]
        if table is None:
            raise NotFittedError(
                f"modality {modality} is not there, so nothing of it can be multiplied",
                "set it to a value, or give the modality",
            )
        (values,) = self.fitted.preprocessing.transform([table], [modality])
        import torch

        return torch.from_numpy(values)

    def remove_perturbation(self, perturbation: Clamp) -> None:
        """Take one perturbation off; what it changed of what cells see is taken back."""
        if not any(each.same(perturbation) for each in self._clamps):
            raise MissingKeyError("that perturbation does not hold", "look at perturbations")
        self._clamps = [each for each in self._clamps if not each.same(perturbation)]
        if self._state is not None:
            held = tuple(one for one in self._state.held if not one.clamp.same(perturbation))
            self._state = replace(self._state, held=held)

    def clear_perturbations(self) -> None:
        """Take all perturbations off; cells see again what they are, wherever they are now."""
        self._clamps = []
        if self._state is not None:
            self._state = replace(self._state, held=())

    def simulate_perturbation(
        self,
        time: float = 128.0,
        skip_time: float = 10.0,
        store_states: Store = "cpu",
        progress_bar: bool = True,  # noqa: FBT001, FBT002
        impute: Impute = True,  # noqa: FBT002
        impute_kwargs: Mapping[str, Any] | None = None,
        include_vel: bool = False,  # noqa: FBT001, FBT002
        *,
        stop_when_steady: bool = False,
    ) -> tuple[NDArray[np.float64], Told]:
        """Move cells from a steady state; `simulate_perturbation_job`, drained."""
        self._warn_unless_steady(stacklevel=3)
        job = self.simulate_job(
            time, skip_time, store_states, impute, impute_kwargs, include_vel,
            stop_when_steady=stop_when_steady, steady=False,
        )  # fmt: skip
        return run(job, bar=progress_bar)

    def _warn_unless_steady(self, stacklevel: int) -> None:
        if not self.is_steady:
            warnings.warn(
                "cells are in no steady state: call simulate() or load_state() first, or their "
                "way to rest is taken for an effect",
                stacklevel=stacklevel,
            )

    def simulate_perturbation_job(
        self,
        time: float = 128.0,
        skip_time: float = 10.0,
        store_states: Store = "cpu",
        impute: Impute = True,  # noqa: FBT002
        impute_kwargs: Mapping[str, Any] | None = None,
        include_vel: bool = False,  # noqa: FBT001, FBT002
        *,
        stop_when_steady: bool = False,
    ) -> Job[tuple[NDArray[np.float64], Told]]:
        """Move cells with the perturbations that hold; as `simulate_job` does.

        Warns where cells are not in a steady state, as `simulate` or `load_state` leave them: an
        effect is then mixed with their way to rest.
        """
        self._warn_unless_steady(stacklevel=2)
        return (
            yield from self.simulate_job(
                time, skip_time, store_states, impute, impute_kwargs, include_vel,
                stop_when_steady=stop_when_steady, steady=False,
            )
        )  # fmt: skip

    def perturbation_effect(
        self,
        time: float = 128.0,
        skip_time: float = 1.0,
        impute: Impute = True,  # noqa: FBT002
        *,
        progress_bar: bool = False,
    ) -> PerturbedCells:
        """Compare cells with and without perturbations; `perturbation_effect_job`, drained."""
        return run(self.perturbation_effect_job(time, skip_time, impute), bar=progress_bar)

    def perturbation_effect_job(
        self,
        time: float = 128.0,
        skip_time: float = 1.0,
        impute: Impute = True,  # noqa: FBT002
    ) -> Job[PerturbedCells]:
        """Move cells from where they are with the perturbations that hold, and without.

        Cells themselves stay where they are.

        Raises
        ------
        NotFittedError
            If no perturbation holds.
        DataError, ConfigError
            As `simulate_job` does.
        """
        if not self._clamps:
            raise NotFittedError("no perturbation holds", "call add_perturbation first")
        self._check_impute(impute, include_vel=False)
        # Both runs are kept, and modalities are told of their last frames alone.
        require_memory(self.cost(time, skip_time / 2, impute=False), self.device)
        with few_threads():
            runs: list[Trajectory] = []
            for k, clamps in enumerate((self._clamps, [])):
                work = self.simulator.run_job(
                    self.state, time=time, skip_time=skip_time, clamps=clamps,
                    stage="moving perturbed cells" if clamps else "moving cells without",
                )  # fmt: skip
                with closing(work):
                    runs.append((yield from scaled(work, 0.45 * k, 1.0, units=0.45)))
            changes = yield from self._changes_job(runs[0], runs[1], impute)
        return self._perturbed(runs[0], runs[1], changes)

    def _changes_job(
        self, perturbed: Trajectory, control: Trajectory, impute: Impute
    ) -> Job[dict[int, NDArray[np.float32]]]:
        chosen = () if impute is False else self.fitted.targets if impute is True else (impute,)
        changes = {}
        for at, k in enumerate(chosen):
            both = np.stack([perturbed.positions[-1], control.positions[-1]])
            work = tell_job(self.fitted, both, k, counts=self._counts, device=self.device)
            units = 0.1 / len(chosen)
            told = yield from scaled(work, 0.9 + units * at, 1.0, units=units)
            changes[k] = told[0] - told[1]
        return changes

    def _perturbed(
        self, perturbed: Trajectory, control: Trajectory, changes: dict[int, NDArray[np.float32]]
    ) -> PerturbedCells:
        maps = self.fitted.preprocessing.maps
        return PerturbedCells(
            said=tuple(str(each) for each in self._clamps), obs_names=self.obs_names,
            times=perturbed.times, positions=perturbed.positions, control=control.positions,
            changes=changes, feature_names={k: maps[k].names for k in changes},
            report=perturbed.report, control_report=control.report,
            settings={
                "time": float(perturbed.report.time), "seed": self.seed,
                "device": str(self.device), "steady": self.is_steady,
            },
        )  # fmt: skip
