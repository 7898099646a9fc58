"""What a landscape looks like: in 3-D, with its flow, its cells on their way, and paths on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QComboBox, QLabel, QVBoxLayout, QWidget
from superqt.utils import signals_blocked

from celldyn import keys
from celldyn.data import Source
from napari_celldyn.widgets.landscape_view_lines import LinesPart
from napari_celldyn.widgets.landscape_view_path import PathPart
from napari_celldyn.widgets.landscape_view_play import PlayPart
from napari_celldyn.widgets.landscape_view_source import LandscapeSource
from napari_celldyn.widgets.landscape_view_surface import SurfacePart
from napari_celldyn.widgets.listen import listen

if TYPE_CHECKING:
    from celldyn.landscape.networks import Networks
    from napari_celldyn.session import Session

COLOURS: tuple[tuple[str, Source], ...] = (
    ("potential", Source("obs", keys.POTENTIAL.name)),
    ("pseudotime", Source("obs", keys.PSEUDOTIME.name)),
    ("time of the flow", Source("obs", keys.FLOW_TIME.name)),
    ("fate", Source("obs", keys.FATE.name)),
    ("fates, blended", Source("obsm", keys.FATES.name)),
    ("certain or not", Source("obs", keys.FATE_CERTAIN.name)),
    ("agreement of models", Source("obs", keys.FATE_AGREEMENT.name)),
    ("plasticity", Source("obs", keys.PLASTICITY.name)),
    ("entropy", Source("obs", keys.ENTROPY.name)),
)
"""In words, and what cells are coloured by."""

OTHER = "something else"


class LandscapeView(QWidget):
    """Shows the landscape of the tissue in view, whoever made it.

    It draws what it finds in the AnnData and writes nothing: a file that has the keys is enough.
    Where there is a model, too, heights are decoded, cells flow, and paths are found.

    Parameters
    ----------
    session
        What the viewer's docks share.
    colours
        Whether it has its own box of what cells are coloured by.
    """

    def __init__(
        self, session: Session, parent: QWidget | None = None, *, colours: bool = True
    ) -> None:
        super().__init__(parent)
        self._workspace = session.workspace
        self.source = LandscapeSource(session.workspace)
        self.surface = SurfacePart(session, self.source)
        self.colour = ColourPart(session) if colours else None
        self.lines = LinesPart(session, self.source)
        self.play = PlayPart(session, self.source)
        self.path = PathPart(session, self.source)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        parts: tuple[tuple[str, QWidget | None], ...] = (
            ("", self.surface),
            ("Colour of the cells", self.colour),
            ("Streamlines", self.lines),
            ("Cells on their way", self.play),
            ("Path", self.path),
        )
        for heading, part in parts:
            if part is None:
                continue
            if heading:
                label = QLabel(f"<b>{heading}</b>")
                label.setContentsMargins(0, 4, 0, 0)
                column.addWidget(label)
            column.addWidget(part)
        listen(self, self._workspace.keys_changed, self._on_keys)

    def use(self, networks: Networks) -> None:
        """Take the model of the tissue in view that is at hand, rather than read it."""
        self.source.use(networks)
        self.refresh()

    def refresh(self) -> None:
        """Offer what the tissue in view has."""
        for part in (self.surface, self.lines, self.play, self.path):
            part.refresh()

    def _on_keys(self, written: frozenset[str]) -> None:
        if keys.LANDSCAPE_INFO.path() in written or "uns" in written:
            self.source.forget()
            self.refresh()


class ColourPart(QComboBox):
    """Colours the cells, wherever they are drawn, by what a landscape says of them.

    Parameters
    ----------
    session
        What the viewer's docks share.
    """

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._workspace = session.workspace
        self.setToolTip("On the tissue, the embedding and the landscape; blended fates are grey "
                        "where they are open or uncertain")  # fmt: skip
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.activated.connect(self._on_choice)
        listen(self, self._workspace.data_changed, self.refresh)
        listen(self, self._workspace.keys_changed, self._on_keys)
        listen(self, self._workspace.colour_changed, self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Offer the columns that are there, and show by which of them cells are coloured."""
        offered = self._offered()
        with signals_blocked(self):
            self.clear()
            for words, source in offered:
                self.addItem(words, source)
            place = next(
                (i for i, (_, s) in enumerate(offered) if s == self._workspace.colour), -1
            )
            self.setCurrentIndex(place)
        self.setPlaceholderText(OTHER)
        self.setEnabled(bool(offered))

    def _offered(self) -> list[tuple[str, Source]]:
        adata = self._workspace.adata
        if adata is None:
            return []
        found = [
            (w, s) for w, s in COLOURS if s.key in (adata.obs if s.slot == "obs" else adata.obsm)
        ]
        if keys.FATES.name in adata.obsm:
            from celldyn.data.columns import obsm_columns

            found += [
                (f"chance of {name}", Source("obsm", keys.FATES.name, name))
                for name in obsm_columns(adata, keys.FATES.name)
            ]
        return found

    def _on_choice(self) -> None:
        source = self.currentData()
        if source is not None:
            self._workspace.colour = source

    def _on_keys(self, written: frozenset[str]) -> None:
        if any(path.partition("/")[0] in ("obs", "obsm") for path in written):
            self.refresh()
