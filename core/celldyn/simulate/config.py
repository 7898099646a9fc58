"""The parameters of a simulated tissue."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from celldyn.errors import ConfigError, FileFormatError
from celldyn.persist import atomic_path
from celldyn.simulate import checks
from celldyn.simulate.files import plain_tree, read_yaml
from celldyn.simulate.parameters import (
    CellParameters,
    GeneParameters,
    LayoutParameters,
    MeasurementParameters,
)


class SimulationConfig(MeasurementParameters, CellParameters, GeneParameters, LayoutParameters):
    """What a simulated tissue is made of; only the three sizes are required.

    Means are counts per cell, lengths are µm, and theta is the inverse dispersion.

    Raises
    ------
    ConfigError
        One sentence that names the parameter and its bound.
    """

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for check in checks.ALL:
            check(self)
        return self

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Make a config from a mapping, flat or under the key "simulation".

        Raises
        ------
        ConfigError
            If a parameter is unknown, missing or out of its bounds, or `values` is no mapping.
        """
        inner = values.get("simulation", values) if isinstance(values, Mapping) else values
        if not isinstance(inner, Mapping):
            where = "'simulation'" if isinstance(values, Mapping) else "the config"
            raise ConfigError(
                f"{where} holds {type(inner).__name__}", "give parameters as name: value"
            )
        return cls(**plain_tree(inner))

    @classmethod
    def from_yaml(cls, path: Path | str) -> Self:
        """Read a config from a YAML file, flat or under `simulation:`.

        Raises
        ------
        FileFormatError
            If the file is missing or is not a YAML mapping.
        ConfigError
            If a parameter is unknown, missing or out of its bounds.
        """
        values = read_yaml(Path(path))
        if not isinstance(values, Mapping):
            raise FileFormatError(
                f"{Path(path).name} holds no parameters", "write them as name: value"
            )
        return cls.from_dict(values)

    def to_yaml(self, path: Path | str) -> Path:
        """Write the config to a YAML file that `from_yaml` reads."""
        import yaml

        text = yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
        with atomic_path(path) as draft:
            draft.write_text(text, encoding="utf-8")
        return Path(path)

    @property
    def proportions(self) -> NDArray[np.float64]:
        """(n_celltype,) shares of the cell types, summing to 1."""
        if self.celltype_proportion is None:
            from celldyn.simulate.programs import program_proportions

            given = program_proportions(self)
            if given is not None:
                return np.array(given) / sum(given)
        return self.shares_of(self.celltype_names)

    def summary(self) -> str:
        """Describe the tissue in one line."""
        width, height = self.canvas_um
        typed = self.n_celltype * self.markers_per_type
        return (
            f"{self.n_cells} cells of {self.n_celltype} types in {self.n_sections} section(s) of "
            f"{width:.0f} × {height:.0f} µm; {typed} markers, {self.n_housekeeping_genes} "
            f"housekeeping, {self.n_silence} silent, {len(self.extra_genes)} named genes, "
            f"{len(self.targets)} targets"
        )
