"""A parameter that is a config itself: a form inside the form, folded or switched off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QVBoxLayout, QWidget

from celldyn.config import Config
from napari_celldyn.widgets.editors import Editor
from napari_celldyn.widgets.fold import Fold

if TYPE_CHECKING:
    from napari_celldyn.widgets.form import ConfigForm

_INDENT = 12


class NestedBox(QWidget):
    """Asks for a config within a config.

    One that may be left out has a check box that says whether it is there; one that is always
    there is folded away. Its form is made when it is first seen or set.

    Parameters
    ----------
    title
        What the parameter is called.
    config
        The class of the inner config.
    optional
        Whether it may be None.
    """

    changed = Signal()

    def __init__(
        self,
        title: str,
        config: type[Config],
        *,
        optional: bool,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._config = config
        self._form: ConfigForm | None = None
        self.tick = QCheckBox(title) if optional else None
        self._inside = QWidget()
        inner = QVBoxLayout(self._inside)
        inner.setContentsMargins(_INDENT, 0, 0, 0)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        if self.tick is not None:
            self._inside.setVisible(False)
            self.tick.toggled.connect(self._on_tick)
            layout.addWidget(self.tick)
            layout.addWidget(self._inside)
            return
        self.fold = Fold(title)
        self.fold.addWidget(self._inside)
        self.fold.toggled.connect(lambda _: self.form)
        layout.addWidget(self.fold)

    @property
    def form(self) -> ConfigForm:
        """The inner form, made on first use."""
        if self._form is None:
            from napari_celldyn.widgets.form import ConfigForm

            self._form = ConfigForm(self._config, inner=True)
            self._form.changed.connect(self.changed)
            inner = self._inside.layout()
            assert inner is not None
            inner.addWidget(self._form)
        return self._form

    def get(self) -> dict[str, Any] | None:
        """Return the inner parameters as they stand; None if it is switched off."""
        if self.tick is not None and not self.tick.isChecked():
            return None
        return {} if self._form is None else self._form.raw()

    def put(self, value: Config | None) -> None:
        """Show an inner config, or that there is none."""
        if value is not None and (self._form is not None or value != _default(self._config)):
            self.form.set_value(value)
        if self.tick is not None:
            self.tick.setChecked(value is not None)

    def _on_tick(self, on: bool) -> None:  # noqa: FBT001  (Qt's signal)
        if on:
            _ = self.form
        self._inside.setVisible(on)
        self.changed.emit()


def nested_editor(title: str, config: type[Config], *, optional: bool) -> Editor:
    """Make the editor of a parameter that is a config."""
    box = NestedBox(title, config, optional=optional)
    return Editor(box, box.get, box.put, lambda call: _on(box, call))


def _default(config: type[Config]) -> Config | None:
    """Return the config of nothing but defaults; None where something is required."""
    return None if config.problems({}) else config()


def _on(box: NestedBox, call: Any) -> None:  # noqa: ANN401
    box.changed.connect(lambda: call())
