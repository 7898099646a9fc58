"""The part of a manager that keeps states, and knows which cells were trained on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from celldyn.data.words import counted
from celldyn.environment.manager_base import ManagerBase
from celldyn.errors import DataError, MissingKeyError, NotFittedError


class StatesMixin(ManagerBase):
    """States of cells by name; see `BasicManager`."""

    def get_mask(self) -> NDArray[np.bool_]:
        """Return which of the cells the environment was trained on, (n,).

        Cells are found by name where the environment knows names; else they are taken to stand
        in the order of the training.

        Raises
        ------
        NotFittedError
            If the environment does not say on which cells it was trained.
        DataError
            If the cells are others than those of the training, and have no names in common.
        """
        mask = self.fitted.train_mask
        if mask is None:
            raise NotFittedError(
                "the environment does not say on which cells it was trained",
                "give mask_fname, or train with train_mask or train_split",
            )
        mask = np.asarray(mask, dtype=bool)
        names = self.fitted.obs_names
        if not self.obs_names or tuple(names) == self.obs_names:
            return mask.copy()
        trained = {name for name, used in zip(names, mask, strict=False) if used}
        known = set(names)
        if names and known & set(self.obs_names):
            return np.array([name in trained for name in self.obs_names])
        if len(mask) == len(self.obs_names) and not names:
            return mask.copy()
        raise DataError(
            f"the mask is of {counted(len(mask), 'cell')}, and there are "
            f"{len(self.obs_names):,} of other names",
            "give the cells of the training",
        )

    # --- states --------------------------------------------------------------------------------

    def reset_env(self, seed: int | None = None) -> None:
        """Begin anew: cells at random places, what they see as it is without perturbations.

        Perturbations that were added go on holding, from their beginning.

        Parameters
        ----------
        seed
            Of the places; None: that of the manager, so that two resets give the same.
        """
        self._put(self.simulator.start(self.seed if seed is None else int(seed)))

    def save_state(self, name: str) -> None:
        """Keep where cells are, and what perturbations changed of what they see, under a name."""
        self._states[str(name)] = (self.obs_names, self.state)

    def load_state(self, name: str) -> None:
        """Bring back a state of that name; perturbations that hold begin anew.

        Raises
        ------
        MissingKeyError
            If there is no such state.
        DataError
            If it is of other cells.
        """
        if str(name) not in self._states:
            known = ", ".join(self._states) or "none"
            raise MissingKeyError(f"there is no state {name!r}", f"there are: {known}")
        names, state = self._states[str(name)]
        if state.n_cells != self.n_cells:
            raise DataError(
                f"state {name!r} is of {counted(state.n_cells, 'cell')}, and there are "
                f"{self.n_cells:,}",
                "set the modalities of these cells, or reset_env()",
            )
        # Of other cells only places are brought: what was changed of what they saw is not theirs.
        self._put(state if names == self.obs_names else replace(state, held=()))

    def delete_state(self, name: str) -> None:
        """Forget a state."""
        if str(name) not in self._states:
            raise MissingKeyError(f"there is no state {name!r}", "look at state_names")
        del self._states[str(name)]

    @property
    def state_names(self) -> tuple[str, ...]:
        """Names of the states that are kept, the oldest first."""
        return tuple(self._states)
