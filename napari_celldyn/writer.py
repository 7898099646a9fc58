"""File > Save Selected Layers: the tissue layer is saved as the whole AnnData behind it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from celldyn.errors import CelldynError, DataError
from napari_celldyn.opening import current_viewer, refuse, save, session

if TYPE_CHECKING:
    from napari.types import PathLike


def write(path: PathLike, data: Any, meta: dict[str, Any]) -> list[str]:  # noqa: ANN401
    """Write the AnnData behind a layer of ours to `path`, as .h5ad or .zarr.

    Parameters
    ----------
    path
        Where to; replaced in one step if it is there.
    data
        The layer's own data: they are in the AnnData already.
    meta
        The layer's attributes; its `metadata` tell whether it shows a tissue of ours.

    Returns
    -------
    The path that was written; nothing for a layer of someone else's, which is told in a sentence.
    """
    target, about = Path(path), meta.get("metadata") or {}
    try:
        _write(target, about, str(meta.get("name", "")))
    except CelldynError as error:
        refuse(error)
        return []
    return [str(target)]


def _write(target: Path, about: dict[str, Any], name: str) -> None:
    if "adata" in about:  # opened without a window
        from celldyn.data import write as write_adata

        write_adata(about["adata"], target)
        return
    viewer = current_viewer()
    if not about.get("celldyn") or viewer is None:
        raise DataError(
            f"the layer {name!r} shows no tissue of CellDyn, so {target.name} was not written",
            "choose the tissue layer, or another file type",
        )
    save(session(viewer).workspace, target)
