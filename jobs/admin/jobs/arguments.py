"""A form made of a task's signature: the arguments of a job, to be changed for another one."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from django import forms
from django.utils.text import format_lazy
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from jobs.codec import TAG
from jobs.errors import InvalidCall, JobsError
from jobs.tasks import Task, recalled, resolve

from ..payload import shape
from .inputs import NOTHING, NULL, Hint, encoded, read_hint
from .inputs import field as input_of

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
# Between the form's own names and an argument's.
_SET = "set-"


@dataclass(slots=True)
class Bound:
    """A kept call by its parameters' names: what is given of each."""

    values: dict[str, Any] = field(default_factory=dict)
    # Those that were given by their place, and what came behind them.
    by_place: set[str] = field(default_factory=set)
    rest: list[Any] = field(default_factory=list)
    more: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, task: Task[..., Any], arguments: Any) -> Bound:
        kept, names = shape(arguments), task.argument_names
        made = cls()
        for name, value in zip(names, kept["args"], strict=False):
            made.values[name] = value
            made.by_place.add(name)
        made.rest = kept["args"][len(names) :]
        known = task.signature.parameters
        for name, value in kept["kwargs"].items():
            is_own = name in known and known[name].kind in _NAMED
            (made.values if is_own else made.more)[name] = value
        return made

    def call(self, task: Task[..., Any]) -> dict[str, Any]:
        """As JSON keeps it: by place what was, and as far as nothing is left out before it."""
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        is_contiguous = True
        for name, parameter in task.signature.parameters.items():
            if name not in self.values:
                is_contiguous = is_contiguous and parameter.kind not in _POSITIONAL
                continue
            only = parameter.kind is inspect.Parameter.POSITIONAL_ONLY
            by_place = name in self.by_place or only or bool(self.rest)
            if is_contiguous and by_place and parameter.kind in _POSITIONAL:
                args.append(self.values[name])
            else:
                is_contiguous = is_contiguous and parameter.kind not in _POSITIONAL
                kwargs[name] = self.values[name]
        if self.rest and not is_contiguous:
            raise InvalidCall(f"what comes behind *, needs all arguments of {task.name} before it")
        return {"args": [*args, *self.rest], "kwargs": kwargs | self.more}


_VARIABLE = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


class ArgumentsForm(forms.Form):
    """`sample`: the arguments are of one of many jobs, of which only what is chosen is changed."""

    prefix = "arg"

    def __init__(
        self, task: Task[..., Any], arguments: Any, data: Any = None, *, sample: bool = False
    ) -> None:
        super().__init__(data)
        self._task = task
        self._bound = Bound.of(task, arguments)
        self._is_sample = sample
        hints = _hints(task)
        for name, parameter in task.signature.parameters.items():
            self._add(name, parameter, read_hint(hints.get(name)))

    def _add(self, name: str, parameter: inspect.Parameter, hint: Hint) -> None:
        kept = self._kept(name)
        is_hidden = self._task.is_sensitive(name)
        if parameter.kind in _VARIABLE:
            hint = Hint("json")
        has_default = parameter.default is not parameter.empty or parameter.kind in _VARIABLE
        may_be_empty = (
            hint.is_nullable or kept is None or is_hidden or self._is_sample
            or (kept is NOTHING and has_default)
            or parameter.kind in _VARIABLE
        )  # fmt: skip
        # Of what is hidden not even the form tells anything.
        shown = NOTHING if is_hidden else kept
        made = input_of(shown, hint, required=not may_be_empty)
        made.label = name
        notes = [made.help_text, "" if is_hidden else _told(parameter)]
        if is_hidden:
            notes.append(gettext("hidden; empty: as it was"))
        if self._is_sample:
            made.initial = None
            switch = forms.BooleanField(
                required=False, label=format_lazy(_("change {name}"), name=name)
            )
            self.fields[f"{_SET}{name}"] = switch
        made.help_text = " · ".join(str(note) for note in notes if note)
        self.fields[name] = made

    def _kept(self, name: str) -> Any:
        kind = self._task.signature.parameters[name].kind
        if kind is inspect.Parameter.VAR_POSITIONAL:
            return self._bound.rest or NOTHING
        if kind is inspect.Parameter.VAR_KEYWORD:
            return self._bound.more or NOTHING
        return self._bound.values.get(name, NOTHING)

    def pairs(self) -> Iterator[tuple[forms.BoundField | None, forms.BoundField]]:
        """(whether it is to be changed, and into what), for a template."""
        for name in self._task.signature.parameters:
            yield (self[f"{_SET}{name}"] if self._is_sample else None), self[name]

    def clean(self) -> dict[str, Any]:
        given = super().clean() or {}
        self.changes: dict[str, Any] = {}
        for name in self._task.signature.parameters:
            if name not in given or not self._is_to_change(name, given):
                continue
            try:
                self.changes[name] = self._encoded(name, given[name])
            except forms.ValidationError as error:
                self.add_error(name, error)
        # Of many, each is checked for itself.
        if not self.errors and not self._is_sample:
            try:
                self.call = changed(self._task, self._bound.call(self._task), self.changes)
            except (JobsError, LookupError, ValueError, TypeError) as error:
                raise forms.ValidationError(str(error)) from None
        return given

    def _is_to_change(self, name: str, given: Mapping[str, Any]) -> bool:
        if self._task.is_sensitive(name) and given[name] in (None, ""):
            return False
        if self._is_sample:
            return bool(given.get(f"{_SET}{name}"))
        bound = self[name]
        return self.fields[name].has_changed(bound.initial, bound.data)

    def _encoded(self, name: str, value: Any) -> Any:
        parameter = self._task.signature.parameters[name]
        if parameter.kind in _VARIABLE:
            kind: Any = list if parameter.kind is parameter.VAR_POSITIONAL else dict
            made = encoded(kind() if value is None or value is NULL else value, name)
            if type(made) is not kind or TAG in made:
                raise forms.ValidationError(_("A JSON list, or a JSON object for **."))
            known = self._task.signature.parameters
            for key in made if kind is dict else ():
                if key in known and known[key].kind in _NAMED:
                    raise forms.ValidationError(_("This has a field of its own: %s") % key)
            return made
        if value is NULL:
            return None
        if value is None and not self._may_be_none(name):
            if parameter.default is parameter.empty:
                raise forms.ValidationError(_("This argument has no default."))
            return NOTHING
        if value == "" and self._kept(name) != "" and self._may_be_none(name):
            return None
        return encoded(value, name)

    def _may_be_none(self, name: str) -> bool:
        return self._kept(name) is None or read_hint(_hints(self._task).get(name)).is_nullable


def changed(task: Task[..., Any], arguments: Any, changes: Mapping[str, Any]) -> dict[str, Any]:
    """The call with these changes, checked as `enqueue` checks it: InvalidCall, NotStorable, …"""
    bound = Bound.of(task, arguments)
    for name, value in changes.items():
        kind = task.signature.parameters[name].kind
        if kind is inspect.Parameter.VAR_POSITIONAL:
            bound.rest = value
        elif kind is inspect.Parameter.VAR_KEYWORD:
            bound.more = value
        elif value is NOTHING:
            bound.values.pop(name, None)
        else:
            bound.values[name] = value
    return recalled(task, bound.call(task))


def task_of(name: str) -> Task[..., Any] | None:
    """None: this site does not know it, so nobody knows what it takes."""
    try:
        return resolve(name)
    except (JobsError, ImportError):
        return None


def _hints(task: Task[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(task.func)
    except Exception:
        # An annotation may name what is not imported.
        return {}


def _told(parameter: inspect.Parameter) -> str:
    said = "" if parameter.annotation is parameter.empty else _name(parameter.annotation)
    if parameter.default is parameter.empty:
        return said
    default = gettext("empty: %(default)s") % {"default": repr(parameter.default)}
    return f"{said} · {default}" if said else default


def _name(annotation: Any) -> str:
    if isinstance(annotation, str):
        return annotation
    return annotation.__qualname__ if isinstance(annotation, type) else str(annotation)
