"""A setup: what was given, what it came to, and its way onto the data set and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from celldyn import keys
from celldyn.errors import FileFormatError, NotFittedError
from celldyn.vae.config import KeysConfig
from celldyn.vae.inputs import Groups
from celldyn.vae.roles import Roles


@dataclass(frozen=True, slots=True)
class ModalitySetup:
    """Where the counts of one modality are.

    Parameters
    ----------
    name
        What it is called.
    key
        Its key in the MuData; "" of an AnnData.
    layer
        Its layer of raw counts; None is X.
    features
        (n_features,) names of its columns.
    """

    name: str
    key: str
    layer: str | None
    features: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Setup:
    """All that is to be known of a data set to read it as a model's input, again and elsewhere.

    Parameters
    ----------
    given
        The keys as they were given, before `batch_key` was spread.
    roles
        The columns that are used. A decoder's or encoder's key with a single category is left
        out: it says nothing.
    categories
        Of each categorical key, in the order of its codes.
    modalities
        In the caller's order.
    notes
        Sentences for the user.
    """

    given: KeysConfig
    roles: Roles
    categories: Mapping[str, tuple[str, ...]]
    modalities: tuple[ModalitySetup, ...]
    notes: tuple[str, ...] = ()

    @property
    def is_multimodal(self) -> bool:
        """Whether it is of a MuData."""
        return bool(self.modalities[0].key)

    def new_categories(self, groups: Groups) -> tuple[str, ...]:
        """Return the categories that this setup does not know; they come after those it does."""
        return groups.names[len(self.categories.get(groups.key, groups.names)) :]

    def to_json(self) -> str:
        """Return it as text that `from_json` takes."""
        parts = {**asdict(replace(self, given=KeysConfig())), "given": self.given.model_dump()}
        return json.dumps(parts)

    @classmethod
    def from_json(cls, text: str) -> Setup:
        """Return the setup that `to_json` wrote.

        Raises
        ------
        FileFormatError
            If it is damaged.
        """
        try:
            held = json.loads(text)
            return cls(
                given=KeysConfig(**held["given"]),
                roles=Roles(**{k: _tuples(v) for k, v in held["roles"].items()}),
                categories={key: tuple(names) for key, names in held["categories"].items()},
                modalities=tuple(
                    ModalitySetup(**{k: _tuples(v) for k, v in each.items()})
                    for each in held["modalities"]
                ),
                notes=tuple(held["notes"]),
            )
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise FileFormatError(
                "the setup of the VAE that was stored is damaged", "call setup_anndata again"
            ) from error


def _tuples(value: Any) -> Any:  # noqa: ANN401
    return tuple(value) if isinstance(value, list) else value


def store_setup(data: Any, setup: Setup) -> None:  # noqa: ANN401
    """Write a setup on an AnnData or a MuData, replacing the one it had."""
    home = dict(data.uns.get(keys.CELLDYN.name, {}))
    home[keys.VAE_SETUP.name] = setup.to_json()
    data.uns[keys.CELLDYN.name] = home


def setup_of(data: Any) -> Setup:  # noqa: ANN401
    """Return the setup that was written on an AnnData or a MuData.

    Raises
    ------
    NotFittedError
        If it has none.
    """
    text = data.uns.get(keys.CELLDYN.name, {}).get(keys.VAE_SETUP.name)
    if text is None:
        raise NotFittedError(
            "the data set is not set up for the VAE", "call setup_anndata or setup_mudata first"
        )
    return Setup.from_json(str(text))
