"""The manager: one object that holds a trained environment and cells, and asks what they do."""

from __future__ import annotations

from celldyn.environment.manager_results import ResultsMixin


class BasicManager(ResultsMixin):
    """Cells in a trained virtual environment: simulated, perturbed, brought to other stages.

    Every method of the authors' manager is here under its name (seed 004; specs/environment.md C);
    what takes long has a twin that is a job, `simulate_job` of `simulate` and so on. A call that
    is refused leaves all as it was.

    Parameters
    ----------
    policy_fname
        A model of ours, or the authors' `.weights` file.
    preprocessing_fname
        The authors' `.pre` file; a model of ours needs none.
    mask_fname
        The authors' `.mask` file: which cells were trained on.
    adatas
        One table per modality, in order, or a MuData; see `set_modalities`.
    spatial
        Which modalities are coordinates, if other than in the training; True: all that are told.
    device
        "auto", "cpu", "cuda", "cuda:1", "mps".
    policy_kwargs
        Parameters of `PolicyConfig` that say what cells see: vision, vision_size, full_up_to;
        attention_heads, which the authors' files do not say (2).
    preprocessing_kwargs
        `counts=True`: counts that are told have the size of a usual cell.
    env_kwargs
        Parameters of `SpaceConfig` that are other than in the training, such as friction_force.
    fitted
        An environment in memory, instead of files.
    seed
        Of the places where cells begin.

    Raises
    ------
    ConfigError
        If there is no environment, or an option is unknown.
    FileFormatError
        If a file cannot be read.
    DataError, MissingKeyError
        As `set_modalities` does.

    Examples
    --------
    >>> manager = BasicManager(fitted=fitted, adatas=[expression, places])  # doctest: +SKIP
    >>> manager.reset_env()  # doctest: +SKIP
    >>> manager.simulate()  # doctest: +SKIP
    >>> manager.save_state("steady")  # doctest: +SKIP
    >>> manager.add_perturbation("Myc", feature_targets=0)  # doctest: +SKIP
    >>> times, states = manager.simulate_perturbation()  # doctest: +SKIP
    """

    def __repr__(self) -> str:
        cells = f"{len(self.obs_names):,} cells" if self.obs_names else "no cells"
        at = "" if self._state is None else f" at {self._state.time:g} s"
        held = f", {len(self._clamps)} perturbations" if self._clamps else ""
        return f"BasicManager({cells}{at}{held}; {self.fitted})"
