"""The part of a manager that tells modalities from positions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from celldyn.environment.manager_states import StatesMixin
from celldyn.environment.telling import aligned, tell_job
from celldyn.errors import ConfigError, NotFittedError
from celldyn.jobs import Job, run

Floats = NDArray[np.float32]
Impute: TypeAlias = bool | int
"""True: all modalities that positions tell; False: positions; a number: one modality."""
Told: TypeAlias = Floats | list[Floats]


class FeaturesMixin(StatesMixin):
    """Positions as modalities; see `BasicManager`."""

    def environment_to_features(
        self,
        pos: ArrayLike,
        modality: int | Literal["all"] = "all",
        target_state: Any = None,  # noqa: ANN401
        inverse_preprocess: bool = True,  # noqa: FBT001, FBT002
        chunk_size: int = 2000,
    ) -> Told:
        """Return what positions tell; `environment_to_features_job`, drained."""
        job = self.environment_to_features_job(
            pos, modality, target_state, inverse_preprocess, chunk_size
        )
        return run(job, bar=False)

    def environment_to_features_job(
        self,
        pos: ArrayLike,
        modality: int | Literal["all"] = "all",
        target_state: Any = None,  # noqa: ANN401
        inverse_preprocess: bool = True,  # noqa: FBT001, FBT002
        chunk_size: int = 2000,
    ) -> Job[Told]:
        """Return what positions tell.

        Parameters
        ----------
        pos
            (..., n, d) positions, or (..., n, 2 d) with velocities, of `get_state` or `simulate`.
        modality
            Number of a modality, or "all" that positions tell.
        target_state
            Known coordinates that told ones are turned and shifted onto: {modality: (n, G)}, or
            (n, G) where a single modality is told. Only cells that were trained on count, where
            the environment knows them, so that no held-out cell lends its place; sections that
            training kept apart are turned each by itself, and those without training cells stay.
            None: what is told stays as it is.
        inverse_preprocess
            Whether raw features are told, not preprocessed ones.
        chunk_size
            Cells that are told at once.

        Returns
        -------
        (..., n, G), or a list of these for "all", in order of the modalities that are told.

        Raises
        ------
        DataError
            If positions do not tell the modality, or are of another space.
        ConfigError
            If there is no such modality.
        """
        every = modality == "all"
        chosen = self.fitted.targets if every else (self._check_modality(modality),)  # type: ignore[arg-type]
        found = []
        for k in chosen:
            told = yield from tell_job(
                self.fitted, pos, k, inverse=inverse_preprocess, counts=self._counts,
                chunk_size=chunk_size, device=self.device,
            )  # fmt: skip
            truth = _truth_of(target_state, k, chosen)
            if truth is not None and k in self.spatial:
                reflection = self.fitted.config.reflection
                told = aligned(
                    told, truth, self._trained(), reflection=reflection,
                    partition=self.simulator.partition,
                )  # fmt: skip
            found.append(told)
        return found if every else found[0]

    def _trained(self) -> NDArray[np.bool_] | None:
        try:
            return self.get_mask()
        except NotFittedError:
            return None

    def get_state(
        self,
        impute: Impute = True,  # noqa: FBT002
        include_vel: bool = False,  # noqa: FBT001, FBT002
    ) -> Told:
        """Return what cells are now; `get_state_job`, drained."""
        return run(self.get_state_job(impute, include_vel), bar=False)

    def get_state_job(
        self,
        impute: Impute = True,  # noqa: FBT002
        include_vel: bool = False,  # noqa: FBT001, FBT002
    ) -> Job[Told]:
        """Return what cells are now.

        Parameters
        ----------
        impute
            True: the modalities that positions tell, a list; a number: that modality; False:
            positions, (n, d).
        include_vel
            With impute=False: positions, then velocities, (n, 2 d).

        Raises
        ------
        NotFittedError
            Before `reset_env`.
        ConfigError
            If velocities are asked for with modalities.
        """
        self._check_impute(impute, include_vel=include_vel)
        state = self.state
        position: Floats = state.position[0].cpu().numpy().copy()
        if impute is False:
            if not include_vel:
                return position
            return np.concatenate([position, state.velocity[0].cpu().numpy()], axis=1)
        return (yield from self._told_job(position, impute, {}))

    def _told_job(
        self, positions: Floats, impute: Impute, options: Mapping[str, Any]
    ) -> Job[Told]:
        which: int | Literal["all"] = "all" if impute is True else int(impute)
        return (yield from self.environment_to_features_job(positions, which, **options))

    def _check_impute(self, impute: Impute, *, include_vel: bool) -> None:
        if impute is False:
            return
        if impute is not True:
            self._check_modality(impute)
        if include_vel:
            raise ConfigError(
                "velocities have no place among modalities", "give impute=False with include_vel"
            )


def _truth_of(given: Any, modality: int, chosen: Sequence[int]) -> ArrayLike | None:  # noqa: ANN401
    if given is None:
        return None
    if isinstance(given, Mapping):
        found: ArrayLike | None = given.get(modality)
        return found
    if isinstance(given, list | tuple) and len(given) == len(chosen):
        of_it: ArrayLike | None = given[list(chosen).index(modality)]
        return of_it
    if len(chosen) != 1:
        raise ConfigError(
            "target_state is of one modality, and several are told", "give {modality: values}"
        )
    whole: ArrayLike = given
    return whole
