"""What was seen of virtual cells, kept: on the tissue, as a table of frames, or as a movie."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import (
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLineEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from celldyn import keys
from celldyn.errors import CelldynError, DataError
from napari_celldyn.widgets.card_place import CardPlace
from napari_celldyn.widgets.environment_writing import effect_job, frames_table, result_job
from napari_celldyn.widgets.labels import wrapped
from napari_celldyn.widgets.number_box import NumberBox
from napari_celldyn.widgets.sentence import ErrorSentence

if TYPE_CHECKING:
    from celldyn.jobs import Job
    from napari_celldyn.handle import JobHandle
    from napari_celldyn.session import Session
    from napari_celldyn.widgets.environment_stage import EnvironmentStage

MOST_PICTURES = 240
"""Of a movie, by default."""

GIF_MS = 60
"""A picture of an animation is shown for so long."""


class EnvironmentExport(QWidget):
    """Keeps positions and perturbations on the tissue; writes frames and pictures to files.

    Parameters
    ----------
    session
        What the viewer's docks share.
    stage
        Where the cells live.
    """

    def __init__(
        self, session: Session, stage: EnvironmentStage, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._session, self._stage = session, stage
        self._workspace, self._runner = session.workspace, session.runner
        self.keep_button, self.effect_button = QPushButton("Positions"), QPushButton("Shift")
        self.keep_button.setToolTip("Where cells left alone are, and what that tells")
        self.effect_button.setToolTip("How far the perturbation took each cell, under this name")
        self.name = QLineEdit()
        self.name.setPlaceholderText("named after what is held")
        self.frames_button, self.movie_button = QPushButton("AnnData…"), QPushButton("Movie…")
        self.frames_button.setToolTip("All frames as a table: a row for each cell at each time")
        self.movie_button.setToolTip("A picture of the canvas for each frame, and a GIF of them")
        self.most = NumberBox(2, 10_000, whole=True)
        self.most.setValue(MOST_PICTURES)
        self.most.setToolTip("Pictures of a movie, at most")
        self.sentence, self.jobs, self.words = ErrorSentence(), CardPlace(self._runner), wrapped()
        self._pictures: list[tuple[int, Path]] = []
        self._folder, self._n_pictures = Path(), 0
        self._camera = QTimer(self)
        self._camera.setInterval(0)
        self._lay_out()
        self.keep_button.clicked.connect(self.keep)
        self.effect_button.clicked.connect(self.keep_effect)
        self.frames_button.clicked.connect(self._ask_for_frames)
        self.movie_button.clicked.connect(self._on_movie)
        self._camera.timeout.connect(self._take_picture)
        stage.changed.connect(self.refresh)
        stage.shown_changed.connect(self.refresh)
        self.refresh()

    def _lay_out(self) -> None:
        form = QFormLayout()
        form.setContentsMargins(0, 0, 0, 0)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        lines = QHBoxLayout(), QHBoxLayout()
        for line, buttons in zip(
            lines,
            ((self.keep_button, self.effect_button), (self.frames_button, self.movie_button)),
            strict=True,
        ):
            for button in buttons:
                line.addWidget(button)
        form.addRow("on the tissue", lines[0])
        form.addRow("name", self.name)
        form.addRow("to files", lines[1])
        form.addRow("pictures", self.most)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(form)
        for part in (self.words, self.sentence, self.jobs):
            column.addWidget(part)

    # --- on the tissue ------------------------------------------------------------------------

    def keep(self) -> JobHandle | None:
        """Start to write where the cells are that were left alone."""
        from celldyn.environment.results import write_result

        shot, opened = self._stage.shown, self._stage.opened
        if shot is None or opened is None:
            return None
        steady = opened.cells.plain.steady and shot.time >= opened.cells.time
        return self._write(
            "Positions of virtual cells",
            lambda: result_job(opened, shot, steady=steady),
            {keys.ENVIRONMENT.path()},
            lambda found: write_result(self._workspace.require(), found),
        )

    def keep_effect(self) -> JobHandle | None:
        """Start to write what the perturbation did so far."""
        from celldyn.environment.results import write_effect

        opened, shots = self._stage.opened, list(self._stage.reel)
        if opened is None:
            return None
        said = opened.cells.said
        name = self.name.text().strip() or ", ".join(said) or "perturbation"
        name = name.replace("/", "-")
        return self._write(
            f"Shift by {name}",
            lambda: effect_job(opened, shots, said),
            {keys.ENVIRONMENT_SHIFT.path(name=name)},
            lambda found: write_effect(self._workspace.require(), found, name),
        )

    def _write(
        self,
        title: str,
        source: Callable[[], Job[Any]],
        writes: set[str],
        write: Callable[[Any], set[str]],
    ) -> JobHandle | None:
        self.sentence.say("")

        def put(found: Any) -> None:  # noqa: ANN401
            written = write(found)
            self._workspace.announce(written)
            self.jobs.clear()
            names = ", ".join(sorted(path for path in written if path.split("/")[0] != "uns"))
            self.words.setText(f"Written: {names}.")

        try:
            handle = self._runner.submit(
                title, source, system="environment", writes=writes, on_result=put
            )
        except CelldynError as error:
            self.sentence.say(str(error))
            return None
        self.jobs.show_job(handle)
        return handle

    # --- to files -----------------------------------------------------------------------------

    def write_frames(self, path: Path) -> JobHandle | None:
        """Start to write all frames as a table."""
        from celldyn.data.writing import write
        from celldyn.devices import aside_job

        opened, shots = self._stage.opened, list(self._stage.reel)
        if opened is None:
            return None

        def job() -> Job[int]:
            table = frames_table(opened, shots)
            yield from aside_job(lambda: write(table, path), "writing", path.name)
            return int(table.n_obs)

        def say(n: int) -> None:
            self.jobs.clear()
            self.words.setText(f"Written: {n:,} rows to {path.name}.")

        self.sentence.say("")
        handle = self._runner.submit(
            f"Writing {path.name}", job, system="environment", on_result=say
        )
        self.jobs.show_job(handle)
        return handle

    def film(self, folder: Path) -> None:
        """Begin to write a picture for each frame, and in the end a GIF of them.

        Raises
        ------
        DataError
            If there are fewer than two frames, or the folder cannot be written to.
        """
        n = len(self._stage.reel)
        if n < 2:
            raise DataError("there are no frames to film", "let the cells live for a while")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(
                f"{folder.name} cannot be made ({error.strerror or error})", "choose another place"
            ) from None
        self._stage.pause()
        at = np.unique(np.linspace(0, n - 1, min(n, int(self.most.number()))).round().astype(int))
        self._pictures = [(int(k), folder / f"frame_{i:05d}.png") for i, k in enumerate(at)]
        self._folder, self._n_pictures = folder, len(at)
        self._camera.start()
        self.refresh()

    @property
    def filming(self) -> bool:
        """Whether pictures are being taken."""
        return self._camera.isActive()

    def _take_picture(self) -> None:
        if not self._pictures or self._stage.cells is None:
            self._end_film()
            return
        k, path = self._pictures.pop(0)
        self._stage.seek(k)
        self._session.agents.settle()
        try:
            self._session.viewer.screenshot(str(path), canvas_only=True, flash=False)
        except OSError as error:
            self.sentence.say(f"{path.name} cannot be written ({error.strerror or error}).")
            self._pictures = []
        done = self._n_pictures - len(self._pictures)
        self.words.setText(f"Picture {done:,} of {self._n_pictures:,}.")
        if not self._pictures:
            self._end_film()

    def _end_film(self) -> None:
        self._camera.stop()
        pictures = sorted(self._folder.glob("frame_*.png"))
        self._pictures = []
        if len(pictures) > 1:
            animate(pictures, self._folder / "movie.gif")
            self.words.setText(f"Written: {len(pictures):,} pictures and movie.gif.")
        self.refresh()

    def _on_movie(self) -> None:
        if self.filming:
            self._end_film()
            return
        path, _ = QFileDialog.getSaveFileName(self, "Folder of the movie", "virtual_cells")
        if path:
            self.sentence.say("")
            try:
                self.film(Path(path))
            except CelldynError as error:
                self.sentence.say(str(error))

    def _ask_for_frames(self) -> None:
        path, _ = QFileDialog.getSaveFileName(
            self, "Write frames", "virtual_cells.h5ad", "AnnData (*.h5ad)"
        )
        if path:
            target = Path(path)
            self.write_frames(target if target.suffix else target.with_suffix(".h5ad"))

    def refresh(self) -> None:
        """Offer what there is."""
        there, both = self._stage.shown is not None, self._stage.perturbed
        for button in (self.keep_button, self.frames_button):
            button.setEnabled(there and not self.filming)
        self.effect_button.setEnabled(both and not self.filming)
        self.movie_button.setEnabled(there)
        self.movie_button.setText("Stop" if self.filming else "Movie…")


def animate(pictures: list[Path], path: Path) -> None:
    """Write pictures as an animated GIF, without holding them all."""
    from PIL import Image

    def frames():  # noqa: ANN202
        for each in pictures[1:]:
            with Image.open(each) as picture:
                yield picture.convert("P", palette=Image.Palette.ADAPTIVE)

    with Image.open(pictures[0]) as first:
        first.convert("P", palette=Image.Palette.ADAPTIVE).save(
            path, save_all=True, append_images=frames(), duration=GIF_MS, loop=0
        )
