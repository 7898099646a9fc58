"""The part of an LSD model that saves it and brings it back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

from celldyn.data.words import counted, listed
from celldyn.errors import DataError, FileFormatError
from celldyn.jobs import Job, run
from celldyn.landscape.course import Course
from celldyn.landscape.input_checks import check_names
from celldyn.landscape.lsd_base import LSDBase
from celldyn.landscape.saved import SavedLandscape, digest, load_model, save_model

if TYPE_CHECKING:
    import torch
    from anndata import AnnData

MODEL_FILE = "lsd_model.safetensors"


class SavingMixin(LSDBase):
    """Saving; see `LSD`."""

    @property
    def saved(self) -> SavedLandscape:
        """The model with what its training goes on with."""
        return SavedLandscape(
            self.fitted, self._course.optimiser, self.walks, self.P, digest(self.adata.obs_names)
        )

    def save(self, path: Path | str) -> Path:
        """Write the model to one file, atomically; what is there is replaced.

        Parameters
        ----------
        path
            A file that ends in .safetensors, or a folder, in which it is lsd_model.safetensors.

        Returns
        -------
        The file: networks, config, genes, history, Adam's memory, walks and their chances; not
        the data.
        """
        return save_model(_file(path), self.saved)

    @classmethod
    def load(
        cls,
        path: Path | str,
        adata: AnnData,
        device: torch.device | str = "auto",
        **places: str,
    ) -> Self:
        """Return the model that `save` wrote, with its data; see `load_job`."""
        return run(cls.load_job(path, adata, device, **places), bar=False)

    @classmethod
    def load_job(
        cls,
        path: Path | str,
        adata: AnnData,
        device: torch.device | str = "auto",
        **places: str,
    ) -> Job[Self]:
        """Return the model that `save` wrote, with its data, as a job.

        Parameters
        ----------
        path
            The file or its folder.
        adata
            The data set it was trained on, or another with the same genes in any order; genes
            that the model does not have are left out. Of the same cells walks and their chances
            are there again, so that training goes on as if it had never stopped.
        device, places
            As of the constructor.

        Raises
        ------
        FileFormatError
            If it is something else, damaged, or written by a later version.
        DataError
            If genes of the model are not in the data set.
        """
        return (yield from cls.resume_job(load_model(_file(path)), adata, device, **places))

    @classmethod
    def from_adata(
        cls, adata: AnnData, device: torch.device | str = "auto", **places: str
    ) -> Self:
        """Return the model that a data set holds, as `get_adata` wrote it; see `load_job`.

        Raises
        ------
        NotFittedError
            If it holds none.
        DataError
            If what it holds is damaged.
        """
        from celldyn.landscape.results import read_model

        return run(cls.resume_job(read_model(adata), adata, device, **places), bar=False)

    @classmethod
    def resume_job(
        cls,
        saved: SavedLandscape,
        adata: AnnData,
        device: torch.device | str = "auto",
        **places: str,
    ) -> Job[Self]:
        """Return a model that was kept, with its data; see `load_job`."""
        fitted = saved.fitted
        data = with_genes(adata, fitted.genes)
        model: Self = yield from cls.of_job(data, fitted.cfg, device, **places)
        model.networks = fitted.networks
        notes = fitted.notes
        if saved.cells == digest(data.obs_names):
            _check_cells(saved, data.n_obs)
            model.P, model.walks = saved.transition, saved.walks
        elif saved.walks is not None:
            notes = (*notes, "walks are of other cells and were left behind")
        model._walks_seed = fitted.walks_seed
        model._course = Course(
            fitted.epoch, [dict(row) for row in fitted.history], dict(saved.optimiser),
            fitted.best_epoch, notes=notes,
        )  # fmt: skip
        return model


def _check_cells(saved: SavedLandscape, n_obs: int) -> None:
    """Raise FileFormatError where walks or chances are not those of so many cells."""
    walks, transition = saved.walks, saved.transition
    beyond = walks is not None and walks.size and walks.max() >= n_obs
    if beyond or (transition is not None and transition.shape[0] != n_obs):
        raise FileFormatError(
            "the walks of the model are of cells that the data set does not have",
            "take another copy of the file, or train again",
        )


def with_genes(adata: AnnData, genes: Sequence[str]) -> AnnData:
    """Return the data set with these genes in this order; the same where it has no others.

    Raises
    ------
    DataError
        If some are not there.
    """
    if list(map(str, adata.var_names)) == list(genes):
        return adata
    check_names(adata)
    at = adata.var_names.get_indexer(list(genes))
    if (at < 0).any():
        gone = [gene for gene, k in zip(genes, at, strict=True) if k < 0]
        raise DataError(
            f"the data set lacks {counted(len(gone), 'gene')} of the model ({listed(gone, 3)})",
            "give the data set that it was trained on",
        )
    return adata[:, at]


def _file(path: Path | str) -> Path:
    path = Path(path)
    return path / MODEL_FILE if path.is_dir() or not path.suffix else path
