"""What every part of `BasicManager` stands on: a trained environment, cells, where they are.

Shapes: n cells, K modalities, F_k preprocessed features of each, d dimensions.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from celldyn.data.words import counted
from celldyn.devices import choose_device
from celldyn.environment.clamps import Clamp
from celldyn.environment.config import SpaceConfig
from celldyn.environment.importing import with_names
from celldyn.environment.manager_cells import (
    drawn,
    features_job,
    partition_of,
    put_known,
    tables_of,
)
from celldyn.environment.manager_options import Spatial, counts_of, opened, with_options
from celldyn.environment.simulating import Simulator
from celldyn.environment.trajectories import EnvironmentState
from celldyn.errors import ConfigError, DataError, NotFittedError
from celldyn.jobs import Job, run

if TYPE_CHECKING:
    from anndata import AnnData

    from celldyn.environment.fitted import FittedEnvironment


class ManagerBase:
    """Environment, cells and states; see `BasicManager`."""

    def __init__(
        self,
        *,
        policy_fname: str | Path | None = None,
        preprocessing_fname: str | Path | None = None,
        mask_fname: str | Path | None = None,
        adatas: Any = None,  # noqa: ANN401
        spatial: Spatial = False,
        device: str | torch.device = "cpu",
        policy_kwargs: Mapping[str, Any] | None = None,
        preprocessing_kwargs: Mapping[str, Any] | None = None,
        env_kwargs: Mapping[str, Any] | None = None,
        fitted: FittedEnvironment | None = None,
        seed: int = 0,
    ) -> None:
        policy_kwargs = dict(policy_kwargs or {})
        heads = None if fitted is not None else policy_kwargs.pop("attention_heads", None)
        job = self._begin_job(
            opened(fitted, policy_fname, preprocessing_fname, mask_fname, spatial, heads), spatial,
            device, policy_kwargs, preprocessing_kwargs or {}, env_kwargs or {}, seed, adatas,
        )  # fmt: skip
        run(job, bar=False)

    @classmethod
    def of_job(
        cls,
        fitted: FittedEnvironment,
        adatas: Any,  # noqa: ANN401
        *,
        spatial: Spatial = False,
        device: str | torch.device = "cpu",
        env_kwargs: Mapping[str, Any] | None = None,
        seed: int = 0,
    ) -> Job[Any]:
        """Make a manager as a job: a large data set takes a while to be prepared."""
        made = cls.__new__(cls)
        yield from made._begin_job(fitted, spatial, device, {}, {}, env_kwargs or {}, seed, adatas)
        return made

    def _begin_job(
        self,
        fitted: FittedEnvironment,
        spatial: Spatial,
        device: str | torch.device,
        policy_kwargs: Mapping[str, Any],
        preprocessing_kwargs: Mapping[str, Any],
        env_kwargs: Mapping[str, Any],
        seed: int,
        adatas: Any,  # noqa: ANN401
    ) -> Job[None]:
        self.device = choose_device(str(device))
        self.fitted = with_options(fitted.to(self.device), policy_kwargs, env_kwargs)
        self.space: SpaceConfig = self.fitted.config.space
        self._counts = counts_of(preprocessing_kwargs)
        self.spatial = self._spatial(spatial)
        self.seed = int(seed)
        self.adatas: list[AnnData | None] = []
        self.obs_names: tuple[str, ...] = ()
        self._simulator: Simulator | None = None
        self._state: EnvironmentState | None = None
        self._states: dict[str, tuple[tuple[str, ...], EnvironmentState]] = {}
        self._clamps: list[Clamp] = []
        if adatas is not None:
            yield from self.set_modalities_job(adatas)

    def _spatial(self, given: Spatial) -> tuple[int, ...]:
        """Return which modalities are coordinates."""
        if given is False:
            return tuple(self.fitted.spatial)
        if given is True:
            return tuple(self.fitted.spatial) or tuple(self.fitted.targets)
        chosen = tuple(int(k) for k in given)
        for k in chosen:
            self._check_modality(k)
        return chosen

    # --- modalities ----------------------------------------------------------------------------

    @property
    def n_modalities(self) -> int:
        """How many modalities the environment knows, K."""
        return len(self.fitted.preprocessing.maps)

    @property
    def n_cells(self) -> int:
        """How many cells there are, n."""
        return self.simulator.n_cells

    def set_modalities(
        self,
        adatas: Any,  # noqa: ANN401
        preprocess: bool = True,  # noqa: FBT001, FBT002
        chunk_size: int = 2000,
        suppress_warning: bool = False,  # noqa: FBT001, FBT002
        strict: bool = False,  # noqa: FBT001, FBT002
    ) -> None:
        """Set what cells are; `set_modalities_job`, drained."""
        job = self.set_modalities_job(
            adatas, preprocess, chunk_size, suppress_warning, strict
        )  # fmt: skip
        run(job, bar=False)

    def set_modalities_job(
        self,
        adatas: Any,  # noqa: ANN401
        preprocess: bool = True,  # noqa: FBT001, FBT002
        chunk_size: int = 2000,
        suppress_warning: bool = False,  # noqa: FBT001, FBT002
        strict: bool = False,  # noqa: FBT001, FBT002
    ) -> Job[None]:
        """Set what cells are.

        Cells that training kept apart, by columns of obs, never meet here either. Where there are
        as many cells as before they stay where they are, as fast as they are: the first of the new
        cells is where the first of the old was. Where there are more or fewer, those of the same
        names stay, and others begin at places drawn at random. What perturbations changed of the
        former cells is gone; those for all cells go on holding.

        Parameters
        ----------
        adatas
            A MuData, or one table per modality, in order; those that cells do not see may be
            None, or all be left out.
        preprocess
            False: the tables are features already, (n, F_k).
        chunk_size
            Without meaning here: blocks are as large as memory allows.
        suppress_warning
            Whether nothing is said where the number of cells changes, or where cells meet that
            training kept apart.
        strict
            Whether another number of cells is refused.

        Raises
        ------
        DataError
            If modalities are missing or do not fit, or cells that a perturbation names are gone.
        MissingKeyError
            If a feature is missing.
        """
        del chunk_size
        tables = tables_of(adatas, self.n_modalities, self.fitted.inputs)
        first = next(table for table in tables if table is not None)
        names = tuple(map(str, first.obs_names))
        self._check_new_cells(len(names), strict=strict)
        # Features of CellTRIP's files have no names: they take those of the first data.
        fitted = with_names(self.fitted, tables) if preprocess else self.fitted
        features = yield from features_job(
            fitted.preprocessing, tables, self.fitted.inputs, preprocess=preprocess
        )
        columns = self.fitted.config.partition_cols
        partition = partition_of(tables, columns)
        if columns and partition is None and not suppress_warning:
            warnings.warn(
                f"training kept cells apart by {', '.join(columns)}, which these cells have not: "
                "all meet",
                stacklevel=4,
            )
        simulator = Simulator(
            fitted, features, space=self.space, device=self.device, partition=partition
        )
        state = self._carried(names, suppress_warning=suppress_warning)
        # All is well: only now anything changes.
        self.fitted = fitted
        self._simulator, self._state = simulator, state
        self.adatas, self.obs_names = tables, names

    def _check_new_cells(self, n: int, *, strict: bool) -> None:
        if self._simulator is None:
            return
        other = n != self.n_cells
        if other and strict:
            raise DataError(
                f"there are {counted(n, 'cell')} now and there were {self.n_cells:,}",
                "give as many, or strict=False",
            )
        if any(clamp.relative or (other and clamp.of_these_cells) for clamp in self._clamps):
            raise DataError(
                "a perturbation is of the former cells, and there are others now",
                "call clear_perturbations() first",
            )

    def _carried(
        self, names: tuple[str, ...], *, suppress_warning: bool
    ) -> EnvironmentState | None:
        """Return where the new cells are: where the old ones were."""
        if self._state is None:
            return None
        state = replace(self._state, held=())
        if len(names) == state.n_cells:
            return state
        fresh = drawn(len(names), self.fitted.dim, self.space, self.seed, self.device)
        new = put_known(fresh, state, names, self.obs_names)
        if not suppress_warning:
            warnings.warn(
                f"there are {counted(len(names), 'cell')} now and there were {state.n_cells:,}: "
                f"{counted(new, 'cell')} of other names begin at random places",
                stacklevel=4,
            )
        return replace(fresh, time=state.time)

    # --- what there is -------------------------------------------------------------------------

    @property
    def simulator(self) -> Simulator:
        """The environment with its cells.

        Raises
        ------
        NotFittedError
            Before `set_modalities`.
        """
        if self._simulator is None:
            raise NotFittedError("the manager has no cells", "call set_modalities(adatas)")
        return self._simulator

    @property
    def state(self) -> EnvironmentState:
        """Where cells are.

        Raises
        ------
        NotFittedError
            Before `reset_env`.
        """
        if self._state is None:
            raise NotFittedError("cells have no places yet", "call reset_env() first")
        return self._state

    @property
    def is_steady(self) -> bool:
        """Whether cells were simulated to a steady state, and nothing was done to them since."""
        return self._state is not None and self._state.steady

    def _check_modality(self, modality: int) -> int:
        if isinstance(modality, bool) or not 0 <= int(modality) < self.n_modalities:
            raise ConfigError(
                f"modality {modality!r} is not there, and there are {self.n_modalities}",
                "count them from 0",
            )
        return int(modality)

    def _put(self, state: EnvironmentState) -> None:
        """Take a state; clocks of perturbations start there."""
        self._clamps = [replace(clamp, began=state.time) for clamp in self._clamps]
        self._state = state
