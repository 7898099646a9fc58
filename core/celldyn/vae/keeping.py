"""Keeping a model: on disk, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from celldyn.errors import FileFormatError
from celldyn.vae.base import VAEBase
from celldyn.vae.saved import load_model, save_model


class Kept(VAEBase):
    """`save` and `load`."""

    _several = False

    def save(
        self,
        dir_path: Path | str,
        overwrite: bool = False,  # noqa: FBT001, FBT002
        save_anndata: bool = False,  # noqa: FBT001, FBT002
    ) -> Path:
        """Write the model to a folder, or to one file if the path ends with .safetensors.

        Parameters
        ----------
        dir_path
            Where to.
        overwrite
            Whether what is there is replaced; it stays whole until the new one is.
        save_anndata
            Whether the data are written into the folder, too.

        Raises
        ------
        ConfigError
            If something is there already.
        """
        data = self.adata if save_anndata else None
        return save_model(self._fitted, dir_path, data=data, overwrite=overwrite)

    @classmethod
    def load(cls, dir_path: Path | str, adata: Any = None) -> Self:  # noqa: ANN401
        """Return the model that `save` wrote.

        Parameters
        ----------
        dir_path
            The folder or file.
        adata
            The data it is asked about; None takes those in the folder, or none: then methods are
            given data.

        Raises
        ------
        FileFormatError
            If it is something else or damaged.
        DataError
            If the data have categories or features that the model does not know.
        """
        fitted = load_model(dir_path)
        if fitted.setup.is_multimodal is not cls._several:
            other = (
                "RegularizedMultimodalVI" if cls._several is False else "AmbientRegularizedSCVI"
            )
            raise FileFormatError(
                f"{Path(dir_path).name} is a model of another kind", f"load it with {other}"
            )
        data = _data_beside(Path(dir_path)) if adata is None else adata
        model: Self = cls._of(fitted, data)
        return model


def _data_beside(path: Path) -> Any:  # noqa: ANN401
    """Return the data set in the folder of a model; None if there is none."""
    from celldyn.data.anndata_files import guarded

    if (file := path / "adata.h5ad").is_file():
        import anndata

        return guarded(file, lambda: anndata.read_h5ad(file))
    if (file := path / "mdata.h5mu").is_file():
        import mudata  # type: ignore[import-untyped]

        with mudata.set_options(pull_on_update=False):
            return guarded(file, lambda: mudata.read_h5mu(file))
    return None
