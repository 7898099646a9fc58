"""A fit on the data set: written under its keys, and read back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from celldyn import keys
from celldyn.data import record
from celldyn.errors import DataError, FileFormatError
from celldyn.vae.config import KeysConfig
from celldyn.vae.fitted import FittedVAE
from celldyn.vae.results import VAEResult
from celldyn.vae.saved import pack, unpack
from celldyn.vae.setup_record import Setup, store_setup

if TYPE_CHECKING:
    import pandas as pd

    from celldyn.vae.base import VAEBase

SCHEMA = 1
_SHARES = ("group", "share", "low", "high", "estimate", "estimate_low", "estimate_high")


@dataclass(frozen=True, slots=True, eq=False)
class StoredVAE:
    """A fit as it is found on a data set.

    Parameters
    ----------
    history, shares, background, dispersion, attribution, latent_slices, best_epoch, notes
        As in `VAEResult`.
    modalities
        Their names.
    typical_library
        Median of the learned library sizes, in counts.
    packed
        The model: safetensors bytes and the JSON of its header.
    """

    history: pd.DataFrame
    shares: pd.DataFrame
    background: Mapping[str, pd.DataFrame]
    dispersion: Mapping[str, pd.DataFrame]
    attribution: Mapping[str, NDArray[np.float64]]
    latent_slices: Mapping[str, tuple[int, int]]
    modalities: tuple[str, ...]
    best_epoch: int | None
    notes: tuple[str, ...]
    typical_library: Mapping[str, float]
    packed: tuple[bytes, str]

    def fitted(self) -> FittedVAE:
        """Return the model apart from the cells.

        Raises
        ------
        DataError
            If it is damaged.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load

        blob, header = self.packed
        try:
            return unpack(load(blob), json.loads(header))
        except (FileFormatError, SafetensorError, ValueError, TypeError, RecursionError) as error:
            raise DataError(
                "the VAE that the data set holds is damaged, or a later version wrote it",
                "fit again",
            ) from error

    def model(self, data: Any = None) -> VAEBase:  # noqa: ANN401
        """Return the model as an object that can be asked, about these data."""
        from celldyn.vae.multi import RegularizedMultimodalVI
        from celldyn.vae.single import AmbientRegularizedSCVI

        fitted = self.fitted()
        kind = RegularizedMultimodalVI if fitted.setup.is_multimodal else AmbientRegularizedSCVI
        made: VAEBase = kind._of(fitted, data)
        return made


def write_result(adata: Any, result: VAEResult) -> set[str]:  # noqa: ANN401
    """Write a fit on its data set, replacing an earlier one.

    Parameters
    ----------
    adata
        The AnnData or MuData that was fitted; of the latter features' tables go to its
        modalities, all else on itself.
    result
        The fit.

    Returns
    -------
    What was written, or was of an earlier fit and taken off, as "slot/name".

    Raises
    ------
    DataError
        If the data set has not the cells, features or categories that were fitted.
    """
    if len(result.latent) != adata.n_obs:
        raise DataError(
            f"the fit is of {len(result.latent)} cells, and there are {adata.n_obs} now",
            "fit again",
        )
    setup = _setup(adata, result)
    gone = _drop_earlier(adata)
    adata.obsm[keys.LATENT.name] = result.latent
    written = {keys.LATENT.path()}
    for name, latent in result.latents.items():
        adata.obsm[keys.VAE_MODALITY(modality=name)] = latent
        written.add(keys.VAE_MODALITY.path(modality=name))
    adata.obs[keys.VAE_LIBRARY.name] = result.library
    written.add(keys.VAE_LIBRARY.path())
    if result.background:
        adata.obs[keys.VAE_BACKGROUND_SHARE.name] = result.background_share
        written.add(keys.VAE_BACKGROUND_SHARE.path())
    written |= _write_tables(adata, result, setup)
    store_setup(adata, setup)
    home = dict(adata.uns.get(keys.CELLDYN.name, {}))
    home[keys.VAE_INFO.name] = _describe(result, setup)
    adata.uns[keys.CELLDYN.name] = home
    record(adata, "vae.fit", config=result.config, seed=result.config.seed,
           device=result.config.device, seconds=result.seconds)  # fmt: skip
    return gone | written | {keys.VAE_INFO.path(), keys.VAE_SETUP.path(), keys.RECORDS.path()}


def _setup(adata: Any, result: VAEResult) -> Setup:  # noqa: ANN401
    """Return how the data set is read, which must be as it was fitted."""
    from celldyn.vae.setup import describe_anndata, describe_mudata

    setup = result.setup
    if setup is None:
        asked = KeysConfig(**{k: getattr(result.config, k) for k in KeysConfig.model_fields})
        is_mudata = hasattr(adata, "mod")
        setup = (
            describe_mudata(adata, None, asked) if is_mudata else describe_anndata(adata, asked)
        )
    held = {key: names for key, names in result.categories.items() if key in setup.categories}
    fits = all(setup.categories[key] == names for key, names in held.items())
    sizes = [len(each.features) for each in setup.modalities]
    if not fits or sizes != [part.n_features for part in result.module.spec.modalities]:
        raise DataError(
            "the features or the columns of the data set are others than those that were fitted",
            "fit again",
        )
    return setup


def _drop_earlier(adata: Any) -> set[str]:  # noqa: ANN401
    """Take off what an earlier fit left and what was made of it; return which keys they were."""
    gone = set()
    parts = (keys.VAE_MODALITY(modality=""), keys.VAE_UMAP.name)
    for name in [str(key) for key in adata.obsm if str(key).startswith(parts)]:
        del adata.obsm[name]
        gone.add(f"obsm/{name}")
    parts = (keys.VAE_DENOISED(gene=""), keys.VAE_BACKGROUND_SHARE.name)
    columns = [str(name) for name in adata.obs if str(name).startswith(parts)]
    for name in columns:
        del adata.obs[name]
        gone.add(f"obs/{name}")
    if keys.NORMALIZED.name in (getattr(adata, "layers", None) or {}):
        del adata.layers[keys.NORMALIZED.name]
        gone.add(keys.NORMALIZED.path())
    for part in (adata, *getattr(adata, "mod", {}).values()):
        for key in (keys.VAE_AMBIENT, keys.VAE_DISPERSION):
            if key.name in part.varm:
                del part.varm[key.name]
                gone.add(key.path())
    return gone


def _write_tables(adata: Any, result: VAEResult, setup: Setup) -> set[str]:  # noqa: ANN401
    written = set()
    for each in setup.modalities:
        home = adata.mod[each.key] if each.key else adata
        for key, tables in (
            (keys.VAE_AMBIENT, result.background),
            (keys.VAE_DISPERSION, result.dispersion),
        ):
            if each.name in tables:
                home.varm[key.name] = tables[each.name].to_numpy(np.float32)
                written.add(key.path())
    return written


def _describe(result: VAEResult, setup: Setup) -> dict[str, Any]:
    """Return all of a fit but its arrays of cells, as arrays and text that any file can hold."""
    from safetensors.numpy import save

    tensors, header = pack(result.fitted(setup))
    info = {
        "shares": result.shares.to_dict("list"),
        "attribution": {name: values.tolist() for name, values in result.attribution.items()},
        "latent_slices": {name: list(at) for name, at in result.latent_slices.items()},
        "typical_library": {
            name: float(np.median(sizes)) for name, sizes in result.libraries.items()
        },
        "background": {name: list(table.columns) for name, table in result.background.items()},
        "dispersion": {name: list(table.columns) for name, table in result.dispersion.items()},
    }
    return {
        "schema": SCHEMA,
        "config": result.config.model_dump_json(),
        "info": json.dumps(info),
        "header": json.dumps(header),
        "tensors": np.frombuffer(save(tensors), np.uint8).copy(),
    }


def stored(adata: Any) -> StoredVAE | None:  # noqa: ANN401
    """Return the fit that a data set holds; None if it has none.

    Raises
    ------
    DataError
        If it is damaged, or a later version wrote it.
    """
    root = adata.uns.get(keys.CELLDYN.name, {})
    held = root.get(keys.VAE_INFO.name) if isinstance(root, Mapping) else None
    if held is None:
        return None
    try:
        if int(held["schema"]) > SCHEMA:
            raise DataError("this VAE was written by a later version", "install that version")
        return _restore(adata, held)
    except DataError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError) as error:
        raise DataError("the VAE that the data set holds is damaged", "fit again") from error


def _restore(adata: Any, held: Mapping[str, Any]) -> StoredVAE:  # noqa: ANN401
    import pandas as pd

    header, info = json.loads(str(held["header"])), json.loads(str(held["info"]))
    setup = Setup.from_json(json.dumps(header["setup"]))
    names = tuple(each.name for each in setup.modalities)
    history = pd.DataFrame(header["history"])
    if len(history):
        history = history.set_index("epoch")
        history.index = history.index.astype(np.int64)
    shares = {str(name): list(values) for name, values in info["shares"].items()}
    if not set(shares) <= set(_SHARES):
        raise ValueError("shares")
    table = pd.DataFrame(shares).astype({k: np.float64 for k in shares if k != "group"})
    best = header["best_epoch"]
    return StoredVAE(
        history=history,
        shares=table,
        background=_tables(adata, setup, keys.VAE_AMBIENT, info["background"]),
        dispersion=_tables(adata, setup, keys.VAE_DISPERSION, info["dispersion"]),
        attribution={str(n): np.asarray(v, np.float64) for n, v in info["attribution"].items()},
        latent_slices={str(n): (int(a), int(b)) for n, (a, b) in info["latent_slices"].items()},
        modalities=names,
        best_epoch=None if best is None else int(best),
        notes=tuple(map(str, header["notes"])),
        typical_library={str(n): float(v) for n, v in info["typical_library"].items()},
        packed=(np.asarray(held["tensors"], np.uint8).tobytes(), str(held["header"])),
    )


def _tables(
    adata: Any,  # noqa: ANN401
    setup: Setup,
    key: keys.Key,
    columns: Mapping[str, list[str]],
) -> dict[str, pd.DataFrame]:
    import pandas as pd

    found = {}
    for each in setup.modalities:
        home = adata.mod[each.key] if each.key else adata
        if each.name in columns and key.name in home.varm:
            values = np.asarray(home.varm[key.name], np.float64)
            found[each.name] = pd.DataFrame(
                values, index=home.var_names, columns=list(map(str, columns[each.name]))
            )
    return found
