"""A form made from a config: a parameter is declared once, and asked for here."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from celldyn.config import Config
from celldyn.errors import ConfigError
from napari_celldyn.widgets.editors import (
    EMPTY,
    Editor,
    bounds,
    config_of,
    editor_for,
    has_suffix,
    unit,
)
from napari_celldyn.widgets.fold import Fold
from napari_celldyn.widgets.form_section import FormSection, make_sections, section_titles
from napari_celldyn.widgets.nested import nested_editor
from napari_celldyn.widgets.sentence import ErrorSentence

Choices: TypeAlias = Sequence[Any] | Callable[[], Sequence[Any]]
"""Choices for a parameter, or a function that gives them."""

_LONG = 16
"""Characters of a label in one line: an editor fits beside it in the narrowest dock."""


class ConfigForm(QWidget):
    """Asks for the parameters of one config, those marked advanced folded away.

    Where the config's parameters are declared in several modules, each has a section of its own
    that folds. A parameter that is a config itself is asked for by a form inside this one.

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
    inner
        Whether it stands inside another form, which says what is wrong.
    """

    changed = Signal()

    def __init__(
        self,
        config: type[Config],
        *,
        overrides: Mapping[str, Choices] | None = None,
        hidden: Iterable[str] = (),
        inner: bool = False,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._config = config
        self._overrides = dict(overrides or {})
        self._editors: dict[str, Editor] = {}
        self._hidden = frozenset(hidden)
        self._kept: dict[str, Any] = {}
        self._quiet, self._inner = False, inner
        self.sentence = ErrorSentence()
        self.folds: dict[str, Fold] = {}
        titles = section_titles(config)
        shown = [name for name in config.model_fields if name not in self._hidden]
        self._sections = make_sections(titles[name] for name in shown)
        for name in shown:
            self._add(name, config.model_fields[name], self._sections[titles[name]])
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
            config = self._config(**{**self.raw(), **given})
        except ConfigError as error:
            self._say(str(error))
            raise
        self._say("")
        return config

    def set_value(self, config: Config) -> None:
        """Show a config."""
        if not isinstance(config, self._config):
            raise ConfigError(
                f"this form is for {self._config.__name__}, not {type(config).__name__}"
            )
        self.put(**{name: getattr(config, name) for name in self._config.model_fields})

    def put(self, **values: Any) -> None:  # noqa: ANN401
        """Show some parameters, which must be valid; hidden ones are kept for `value`."""
        self._quiet = True
        try:
            for name, value in values.items():
                self._put(name, value)
        finally:
            self._quiet = False
        self._tell()

    def raw(self) -> dict[str, Any]:
        """Return what was entered, for the config to check; what is required may be missing."""
        given = {name: editor.get() for name, editor in self._editors.items()}
        return {**self._kept, **{n: v for n, v in given.items() if v is not EMPTY}}

    @property
    def advanced(self) -> Fold:
        """The fold of the advanced parameters, of the first section where there are several."""
        return next(iter(self._sections.values())).advanced

    @property
    def problem(self) -> str:
        """What is wrong with what the form shows, in one sentence; empty if nothing is."""
        raw = self.raw()
        clauses = self._config.problems(raw)
        awaited = self._hidden - raw.keys()  # the caller will hand them over
        shown = [clause for name, clause in clauses.items() if name not in awaited]
        return "; ".join(shown) + "." if shown else ""

    @property
    def shown(self) -> tuple[str, ...]:
        """Parameters that it asks for, in order."""
        return tuple(self._editors)

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

    def _add(self, name: str, field: FieldInfo, section: FormSection) -> None:
        editor, is_config = self._make_editor(name, field)
        self._editors[name] = editor
        default = field.get_default(call_default_factory=True)
        if default is not PydanticUndefined:
            editor.set(default)
        editor.connect(self._tell)
        extra = field.json_schema_extra
        advanced = isinstance(extra, Mapping) and bool(extra.get("advanced"))
        if is_config:
            editor.native.setToolTip(field.description or "")
            section.add(None, editor.native, advanced=advanced)
            return
        label = QLabel(_lines(_label(name, "" if has_suffix(editor) else unit(field))))
        for part in (label, editor.native):
            part.setToolTip(_tooltip(name, field))
        section.add(label, editor.native, advanced=advanced)

    def _make_editor(self, name: str, field: FieldInfo) -> tuple[Editor, bool]:
        """Return the editor of a parameter, and whether it is a form of its own."""
        nested, optional = config_of(field)
        choices = self._overrides.get(name)
        if nested is not None and choices is None:
            return nested_editor(_label(name, ""), nested, optional=optional), True
        offered = choices() if callable(choices) else choices
        return editor_for(field, None if offered is None else list(offered)), False

    def _lay_out(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for title, section in self._sections.items():
            if title:
                self.folds[title] = Fold(title)
                self.folds[title].addWidget(section)
                self.folds[title].layout().setContentsMargins(0, 0, 0, 0)
            layout.addWidget(self.folds.get(title, section))
        layout.addWidget(self.sentence)

    # --- reading and writing it ---------------------------------------------------------------

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
        if not self._inner:
            self._say(self.problem)

    def _say(self, sentence: str) -> None:
        self.sentence.say("" if self._inner else sentence)


def _label(name: str, unit_shown: str) -> str:
    words = name.removesuffix("_um").replace("_", " ")  # the unit stands beside the value
    return f"{words} ({unit_shown})" if unit_shown else words


def _lines(text: str) -> str:
    """Break a label; Qt's own wrapping does not tell a folded form how high it is."""
    return textwrap.fill(text, _LONG, break_long_words=False)


def _tooltip(name: str, field: FieldInfo) -> str:
    low, high = bounds(field)
    limits = [f"at least {low:g}" if low is not None else "",
              f"at most {high:g}" if high is not None else ""]  # fmt: skip
    default = field.get_default(call_default_factory=True)
    known = "required" if default is PydanticUndefined else f"default {default!r}"
    facts = ", ".join(fact for fact in (*limits, known) if fact)
    return "\n".join(filter(None, [field.description, f"{name}: {facts}"]))
