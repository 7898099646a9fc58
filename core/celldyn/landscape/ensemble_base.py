"""Several LSD models of different seeds: made, trained, saved and brought back together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from celldyn.errors import ConfigError, FileFormatError
from celldyn.jobs import Job, run, scaled
from celldyn.landscape.config import LSDConfig
from celldyn.landscape.graph import Matrix
from celldyn.landscape.lsd import LSD

if TYPE_CHECKING:
    import pandas as pd
    import torch
    from anndata import AnnData

_PREFIX, _SUFFIX = "lsd_seed_", ".safetensors"


class EnsembleBase:
    """What `LSDEnsemble` stands on; see there."""

    def __init__(
        self,
        adata: AnnData,
        cfg: LSDConfig | None = None,
        device: torch.device | str = "auto",
        *,
        seeds: Sequence[int] | int = 3,
        **places: str,
    ) -> None:
        cfg = LSDConfig() if cfg is None else cfg
        first = cfg.walks.random_state
        self.seeds = _checked(range(first, first + seeds) if isinstance(seeds, int) else seeds)
        self.adata = adata
        model = LSD(adata, _with_seed(cfg, self.seeds[0]), device, **places)
        self.models = (model, *(model.of_seed(seed) for seed in self.seeds[1:]))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self.models)} models, first {self.models[0]!r}>"

    @property
    def is_trained(self) -> bool:
        """Whether every model is trained."""
        return all(model.is_trained for model in self.models)

    @property
    def history(self) -> pd.DataFrame:
        """Losses by seed and epoch."""
        import pandas as pd

        tables = [model.history for model in self.models]
        return pd.concat(tables, keys=list(self.seeds), names=["seed"])

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know, in sentences."""
        return tuple(dict.fromkeys(note for model in self.models for note in model.notes))

    # --- walks and training --------------------------------------------------------------------

    def set_phylogeny(
        self,
        phylogeny: Mapping[Any, Iterable[Any]] | None,
        cluster_key: str = "clusters",
        *,
        descendants: bool = False,
    ) -> None:
        """Say which cluster comes of which, as of `LSD`."""
        for model in self.models:
            model.set_phylogeny(phylogeny, cluster_key, descendants=descendants)

    def set_prior_transition(
        self,
        prior_transition: Matrix | None = None,
        prior_time_key: str | None = None,
        **how: Any,  # noqa: ANN401
    ) -> None:
        """Say where walks may go, as of `LSD`; all models share the chances."""
        first = self.models[0]
        first.set_prior_transition(prior_transition, prior_time_key, **how)
        for model in self.models[1:]:
            model.P, model._said, model.walks = first.P, first._said, None

    def prepare_walks(self, num_walks: int | None = None, path_len: int | None = None) -> None:
        """Draw the walks of every model, each by its own seed."""
        run(self.prepare_walks_job(num_walks, path_len), bar=False)

    def prepare_walks_job(
        self, num_walks: int | None = None, path_len: int | None = None
    ) -> Job[None]:
        """Draw the walks of every model as a job."""
        for k, model in enumerate(self.models):
            yield from scaled(model.prepare_walks_job(num_walks, path_len), k, len(self.models))

    def train(
        self,
        num_epochs: int | None = None,
        *,
        save_dir: str | Path | None = None,
        bar: bool = False,
    ) -> None:
        """Train every model, one after the other; see `train_job`."""
        run(self.train_job(num_epochs, save_dir=save_dir), bar=bar)

    def train_job(
        self, num_epochs: int | None = None, *, save_dir: str | Path | None = None
    ) -> Job[None]:
        """Train every model, one after the other, as a job.

        Parameters
        ----------
        num_epochs
            How many more epochs of each; None is `cfg.training.num_epochs`.
        save_dir
            Folder in which all are saved at the end; see `save`.

        Notes
        -----
        Where the job is closed, models that were trained stay so.
        """
        for k, (seed, model) in enumerate(zip(self.seeds, self.models, strict=True)):
            part = scaled(model.train_job(num_epochs), k, len(self.models), f"seed {seed}")
            yield from part
        if save_dir is not None:
            self.save(save_dir)

    # --- on disk -------------------------------------------------------------------------------

    def save(self, folder: Path | str) -> Path:
        """Write every model to a folder, one file each; an ensemble that is there is replaced."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        written = [
            model.save(folder / f"{_PREFIX}{seed}{_SUFFIX}")
            for seed, model in zip(self.seeds, self.models, strict=True)
        ]
        for file in folder.glob(f"{_PREFIX}*{_SUFFIX}"):
            if file not in written:
                file.unlink()
        return folder

    @classmethod
    def load(
        cls, folder: Path | str, adata: AnnData, device: torch.device | str = "auto", **places: str
    ) -> Self:
        """Return the ensemble that `save` wrote, with its data.

        Raises
        ------
        FileFormatError
            If the folder holds fewer than two models, or one of them is damaged.
        DataError
            If genes of the models are not in the data set.
        """
        files = sorted(Path(folder).glob(f"{_PREFIX}*{_SUFFIX}"), key=_seed_of)
        if len(files) < 2:
            raise FileFormatError(
                f"{folder} holds {len(files)} models of an ensemble", "give the folder of `save`"
            )
        ensemble = cls.__new__(cls)
        ensemble.models = tuple(LSD.load(file, adata, device, **places) for file in files)
        ensemble.seeds = tuple(model.cfg.walks.random_state for model in ensemble.models)
        ensemble.adata = ensemble.models[0].adata
        return ensemble


def _checked(seeds: Iterable[int]) -> tuple[int, ...]:
    found = tuple(int(seed) for seed in seeds)
    if len(found) < 2 or len(set(found)) < len(found):
        raise ConfigError(
            f"seeds are {', '.join(map(str, found)) or 'none'}", "give two or more different seeds"
        )
    return found


def _with_seed(cfg: LSDConfig, seed: int) -> LSDConfig:
    own = cfg.model_copy(deep=True)
    own.walks.random_state = seed
    return own


def _seed_of(file: Path) -> tuple[int, str]:
    told = file.name[len(_PREFIX) : -len(_SUFFIX)]
    return (int(told) if told.isdigit() else -1, told)
