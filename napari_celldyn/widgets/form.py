"""A form made from a config: a parameter is declared once, and asked for here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QFormLayout, QLabel, QVBoxLayout, QWidget

from celldyn.config import Config
from celldyn.errors import ConfigError
from napari_celldyn.widgets.editors import EMPTY, Editor, bounds, editor_for, has_suffix, unit
from napari_celldyn.widgets.fold import Fold
from napari_celldyn.widgets.sentence import ErrorSentence

Choices: TypeAlias = Sequence[Any] | Callable[[], Sequence[Any]]
"""Choices for a parameter, or a function that gives them."""


class ConfigForm(QWidget):
    """Asks for the parameters of one config, those marked advanced folded away.

    Parameters
    ----------
    config
        The class of the config.
    overrides
        By parameter: choices that only the caller knows (columns of obs, layers, genes), as a
        sequence or as a function that is asked again by `refresh_choices`.
    hidden
        Parameters that the caller asks for by itself and hands to `value`. What it does not hand
        over keeps its default, or what `set_value` gave it.
    """

    changed = Signal()

    def __init__(
        self,
        config: type[Config],
        *,
        overrides: Mapping[str, Choices] | None = None,
        hidden: Iterable[str] = (),
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._config = config
        self._overrides = dict(overrides or {})
        self._editors: dict[str, Editor] = {}
        self._hidden = frozenset(hidden)
        self._kept: dict[str, Any] = {}
        self._quiet = False
        # superqt's own icons are drawn in a colour that the theme does not change
        self.advanced = Fold("Advanced")
        self.sentence = ErrorSentence()
        self._plain_rows, self._advanced_rows = _rows(), _rows()
        for name, field in config.model_fields.items():
            if name not in self._hidden:
                self._add(name, field)
        self._lay_out()
        self._check()

    # --- the value ----------------------------------------------------------------------------

    def value(self, **given: Any) -> Any:  # noqa: ANN401
        """Return the config as it stands.

        Parameters
        ----------
        **given
            Values of hidden parameters.

        Raises
        ------
        ConfigError
            If a parameter is wrong; the form shows the same sentence.
        """
        try:
            config = self._config(**{**self._raw(), **given})
        except ConfigError as error:
            self.sentence.say(str(error))
            raise
        self.sentence.say("")
        return config

    def set_value(self, config: Config) -> None:
        """Show a config."""
        if not isinstance(config, self._config):
            raise ConfigError(
                f"this form is for {self._config.__name__}, not {type(config).__name__}"
            )
        self._quiet = True
        try:
            for name in self._config.model_fields:
                self._put(name, getattr(config, name))
        finally:
            self._quiet = False
        self._tell()

    @property
    def problem(self) -> str:
        """What is wrong with what the form shows, in one sentence; empty if nothing is."""
        raw = self._raw()
        clauses = self._config.problems(raw)
        awaited = self._hidden - raw.keys()  # the caller will hand them over
        shown = [clause for name, clause in clauses.items() if name not in awaited]
        return "; ".join(shown) + "." if shown else ""

    def editor(self, name: str) -> QWidget:
        """Return the Qt widget of one parameter."""
        return self._editors[name].native

    def refresh_choices(self) -> None:
        """Ask the functions that give choices once more, as when another tissue was opened."""
        self._quiet = True
        try:
            for name, editor in self._editors.items():
                choices = self._overrides.get(name)
                if callable(choices) and editor.choose is not None:
                    editor.choose(list(choices()))
        finally:
            self._quiet = False
        self._tell()

    # --- making it ----------------------------------------------------------------------------

    def _add(self, name: str, field: FieldInfo) -> None:
        choices = self._overrides.get(name)
        offered = choices() if callable(choices) else choices
        editor = editor_for(field, None if offered is None else list(offered))
        self._editors[name] = editor
        default = field.get_default(call_default_factory=True)
        if default is not PydanticUndefined:
            editor.set(default)
        editor.connect(self._tell)
        label = QLabel(_label(name, "" if has_suffix(editor) else unit(field)))
        for part in (label, editor.native):
            part.setToolTip(_tooltip(name, field))
        extra = field.json_schema_extra
        folded = isinstance(extra, Mapping) and bool(extra.get("advanced"))
        (self._advanced_rows if folded else self._plain_rows).addRow(label, editor.native)

    def _lay_out(self) -> None:
        plain, folded = QWidget(), QWidget()
        plain.setLayout(self._plain_rows)
        folded.setLayout(self._advanced_rows)
        self.advanced.addWidget(folded)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(plain)
        layout.addWidget(self.advanced)
        layout.addWidget(self.sentence)
        self.advanced.setVisible(self._advanced_rows.rowCount() > 0)

    # --- reading and writing it ---------------------------------------------------------------

    def _raw(self) -> dict[str, Any]:
        given = {name: editor.get() for name, editor in self._editors.items()}
        return {**self._kept, **{n: v for n, v in given.items() if v is not EMPTY}}

    def _put(self, name: str, value: object) -> None:
        if name in self._editors:
            self._editors[name].set(value)
        else:
            self._kept[name] = value

    def _tell(self) -> None:
        if not self._quiet:
            self._check()
            self.changed.emit()

    def _check(self) -> None:
        self.sentence.say(self.problem)


def _rows() -> QFormLayout:
    rows = QFormLayout()
    rows.setContentsMargins(0, 0, 0, 0)
    rows.setRowWrapPolicy(QFormLayout.RowWrapPolicy.WrapLongRows)
    rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    rows.setLabelAlignment(Qt.AlignmentFlag.AlignLeft)
    return rows


def _label(name: str, unit_shown: str) -> str:
    words = name.replace("_", " ")
    return f"{words} ({unit_shown})" if unit_shown else words


def _tooltip(name: str, field: FieldInfo) -> str:
    low, high = bounds(field)
    limits = [f"at least {low:g}" if low is not None else "",
              f"at most {high:g}" if high is not None else ""]  # fmt: skip
    default = field.get_default(call_default_factory=True)
    known = "required" if default is PydanticUndefined else f"default {default!r}"
    facts = ", ".join(fact for fact in (*limits, known) if fact)
    return "\n".join(filter(None, [field.description, f"{name}: {facts}"]))
