"""Gene regulatory networks that the docks read, each read once while its file stays the same."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from celldyn.betas import RegulatoryFactory
    from celldyn.betas.config import ModelConfig


class NetworkShelf:
    """Holds the network that was used last, since a form asks for it at every change.

    A table of a million links takes more than a second to read.
    """

    def __init__(self) -> None:
        self._held: tuple[tuple[object, ...], RegulatoryFactory] | None = None

    def grn(self, config: ModelConfig) -> RegulatoryFactory | None:
        """Return the network of a config; None if it needs none.

        Raises
        ------
        PriorError
            If the file cannot be used.
        """
        from celldyn.betas import RegulatoryFactory

        if config.regulators is not None or config.colinks_path is None:
            return None
        path = Path(config.colinks_path)
        if not path.is_file():
            return RegulatoryFactory(config.colinks_path)  # which says what is wrong
        stamp = path.stat()
        annot = config.cluster_annot or ""
        key = (path, stamp.st_mtime_ns, stamp.st_size, annot, config.alpha)
        if self._held is None or self._held[0] != key:
            made = RegulatoryFactory(config.colinks_path, annot=annot, alpha=config.alpha)
            self._held = (key, made)
        return self._held[1]
