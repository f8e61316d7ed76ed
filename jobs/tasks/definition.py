"""The task: a function that can be enqueued, and its options."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from functools import cached_property, lru_cache
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    Literal,
    ParamSpec,
    Protocol,
    Self,
    TypeVar,
    cast,
    overload,
)
from uuid import UUID

from asgiref.sync import async_to_sync, iscoroutinefunction, sync_to_async

from jobs import cron, retry
from jobs.errors import InvalidCall, InvalidTask

from . import registry
from .options import OF_DJANGO, USING, check_function, check_names, check_options

if TYPE_CHECKING:
    from jobs.execution import Context
    from jobs.models import Job

# What people who know Celery type, and what there is instead.
_INSTEAD = {
    **dict.fromkeys(
        ("apply_async", "delay"), "use enqueue(), after using() for options of one call"
    ),
    "apply": "call the function itself, or call() from synchronous code",
    **dict.fromkeys(
        ("s", "si", "signature", "subtask"),
        "a call is no value here: enqueue() inserts a job, and on_success names what follows it",
    ),
    "retry": "raise jobs.Retry",
    "request": "use takes_context=True, or current_context()",
}
_VARIABLE = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
# So many shapes of calls are remembered for each task.
_MOST_SHAPES = 64

P = ParamSpec("P")
R = TypeVar("R")

# A task, a function, or the name of a task; called with the id of the job that has ended.
Callback = Callable[[UUID], Any] | str


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Task(Generic[P, R]):
    """A function and how its jobs are to be run. Calling it calls the function.

    It has all attributes of a Task of Django's own `django.tasks`.
    """

    func: Callable[..., Any]
    # Of the row; empty: the function's module and qualified name.
    name: str = ""
    aliases: tuple[str, ...] = ()
    queue_name: str = "default"
    priority: int = 0
    run_after: timedelta | datetime | None = None
    # None: 1, or 4 for a task that asks for retries.
    max_attempts: int | None = None
    # None: exponential with full jitter.
    backoff: retry.Backoff | None = None
    # None: every exception, once retries are asked for by max_attempts or backoff.
    retry_on: tuple[type[BaseException], ...] | None = None
    dont_retry_on: tuple[type[BaseException], ...] = ()
    # None: JOBS["MAX_LOSSES"]; 0: at most once.
    max_losses: int | None = None
    timeout: timedelta | None = None
    expires_after: timedelta | None = None
    atomic: bool = False
    takes_context: bool = False
    keep_result: bool = True
    # How long its finished jobs are kept; None: JOBS["RETENTION"].
    retention: timedelta | None = None
    sensitive: tuple[str, ...] = ()
    metadata: Mapping[str, Any] | None = None
    schedule: cron.Plan | None = None
    # Tasks whose jobs are queued, with the job's id, once it has ended so.
    on_success: Callback | None = None
    on_failure: Callback | None = None
    on_finish: Callback | None = None
    # The Task of Django's own API that this one was made of.
    django: Any = None
    # The options that the code gave: they win over JOBS["DEFAULTS"]…
    declared: frozenset[str] = field(default=frozenset())
    # …and those that `.using()` gave: they win over JOBS["TASKS"], too.
    given: frozenset[str] = field(default=frozenset())

    backend = "default"

    def __post_init__(self) -> None:
        check_function(self.func)
        if not self.name:
            object.__setattr__(self, "name", self.module_path)
        options = {item.name: getattr(self, item.name) for item in fields(self)}
        if options["retry_on"] is None:
            del options["retry_on"]
        check_options(options, f"task {self.name}")
        if self.atomic and self.is_async:
            raise InvalidTask(
                f"task {self.name}: atomic=True is for plain functions only; Django has no "
                "transactions in async code"
            )
        if self.takes_context and not self._parameters:
            raise InvalidTask(
                f"task {self.name} takes the context, but its function has no argument for it"
            )
        for name in self.sensitive:
            # Of a decorated function, the one that was decorated names its arguments.
            if name not in inspect.signature(self.func).parameters:
                raise InvalidTask(f"task {self.name}: sensitive names {name!r}, no argument of it")

    def __repr__(self) -> str:
        return f"<Task {self.name}>"

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return cast(R, self.func(*args, **kwargs))

    # The function, as Django's Task has it too.

    @property
    def module_path(self) -> str:
        return f"{self.func.__module__}.{self.func.__qualname__}"

    @cached_property
    def is_async(self) -> bool:
        return iscoroutinefunction(self.func)

    def call(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function here and now, from synchronous code."""
        if self.is_async:
            return cast(R, async_to_sync(self.func)(*args, **kwargs))
        return self(*args, **kwargs)

    async def acall(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function here and now, from async code."""
        if self.is_async:
            return cast(R, await self.func(*args, **kwargs))
        return cast(R, await sync_to_async(self.func)(*args, **kwargs))

    def check_call(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], what: str = "") -> None:
        """InvalidCall unless the function could be called so; `what` names the call."""
        # Whether it fits is a matter of how many and which names, not of values.
        shape = (len(args), *kwargs)
        if shape in self._fitting:
            return
        try:
            self.signature.bind(*args, **kwargs)
            if len(self._fitting) < _MOST_SHAPES:
                self._fitting.add(shape)
        except TypeError as error:
            hint = ""
            if any(f"keyword argument {name!r}" in str(error) for name in USING):
                hint = "; options go before the call: task(f).using(…).enqueue(…)"
            raise InvalidCall(
                f"the call of {what or self.name} does not fit "
                f"{self.func.__name__}{self.signature}: {error}{hint}"
            ) from None

    def fits(self) -> bool:
        """Whether a call without arguments is known to fit."""
        return (0,) in self._fitting

    @cached_property
    def _fitting(self) -> set[tuple[Any, ...]]:
        """Shapes of calls that were found to fit: looking closely takes longer than the rest."""
        return set()

    @cached_property
    def argument_names(self) -> tuple[str, ...]:
        """The names of positional arguments, as far as they have one each."""
        positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        parameters = self.signature.parameters.values()
        return tuple(item.name for item in parameters if item.kind in positional)

    @cached_property
    def _parameters(self) -> list[inspect.Parameter]:
        """Of the callable that is really called. A decorator's wrapper may take other arguments
        than the function that it wraps: it may inject some."""
        called = inspect.signature(self.func, follow_wrapped=False)
        return list(called.parameters.values())

    @property
    def is_wrapped(self) -> bool:
        """Whether it is a decorator's wrapper, whose arguments are another function's by name."""
        return hasattr(self.func, "__wrapped__")

    def is_sensitive(self, name: str) -> bool:
        """Whether the argument of that name is not to be shown; of a decorator's wrapper, also its
        *args and **kwargs, since their content is unknown."""
        if name in self.sensitive:
            return True
        known = self.signature.parameters.get(name)
        is_variable = known is not None and known.kind in _VARIABLE
        return is_variable and self.is_wrapped and bool(self.sensitive)

    @cached_property
    def signature(self) -> inspect.Signature:
        """What the caller gives: without the context, which the worker gives."""
        own = self._parameters[1:] if self.takes_context else self._parameters
        return inspect.Signature(own)

    # Options.

    if TYPE_CHECKING:

        def using(
            self,
            *,
            queue_name: str | None = None,
            priority: int | None = None,
            run_after: timedelta | datetime | None = None,
            max_attempts: int | None = None,
            max_losses: int | None = None,
            timeout: timedelta | None = None,
            expires_after: timedelta | None = None,
            metadata: Mapping[str, Any] | None = None,
        ) -> Self: ...

    else:

        def using(self, **options: Any) -> Self:
            """A copy with other options, for one call; what is None stays as it is."""
            check_names(options, USING, "using()")
            changes = {name: value for name, value in options.items() if value is not None}
            return replace(self, **changes, given=self.given | changes.keys())

        def __getattr__(self, name: str) -> Any:
            hint = f"; {_INSTEAD[name]}" if name in _INSTEAD else ""
            raise AttributeError(f"a Task has no attribute {name!r}{hint}", name=name, obj=self)

    def limit_of_attempts(self, of_job: int | None, *, asked_to_retry: bool = False) -> int:
        """How many failures are the last: what the job says, the task, or the default."""
        if of_job is not None:
            return of_job
        if self.max_attempts is not None:
            return self.max_attempts
        if self.asks_for_retries or asked_to_retry:
            return retry.ATTEMPTS_WITH_RETRIES
        return retry.ATTEMPTS

    @property
    def asks_for_retries(self) -> bool:
        return self.retry_on is not None or self.backoff is not None

    # Calls that make jobs.

    def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> Job[R]:
        """Insert a job, in the caller's transaction, and return it."""
        from .call import insert_one

        return cast("Job[R]", insert_one(self, args, kwargs))

    async def aenqueue(self, *args: P.args, **kwargs: P.kwargs) -> Job[R]:
        """`enqueue`, from async code."""
        return await sync_to_async(self.enqueue)(*args, **kwargs)

    def enqueue_many(self, calls: Iterable[tuple[Any, ...] | Mapping[str, Any]]) -> list[UUID]:
        """Insert a job for each call: a tuple (positional) or a dict (keywords)."""
        from .call import insert_many

        return insert_many(self, calls)

    async def aenqueue_many(
        self, calls: Iterable[tuple[Any, ...] | Mapping[str, Any]]
    ) -> list[UUID]:
        """`enqueue_many`, from async code."""
        return await sync_to_async(self.enqueue_many)(calls)

    def get_result(self, result_id: str | UUID) -> Job[R]:
        """Return the job of that id; raise Job.DoesNotExist when this task has none of it."""
        from .call import get_job

        return cast("Job[R]", get_job(result_id, of=self))

    async def aget_result(self, result_id: str | UUID) -> Job[R]:
        """`get_result`, from async code."""
        return await sync_to_async(self.get_result)(result_id)


class AsyncTask(Task[P, R]):
    """A task whose function is a coroutine function."""

    def __call__(  # type: ignore[override]
        self, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, R]:
        return cast(Coroutine[Any, Any, R], self.func(*args, **kwargs))


class _WithContext(Protocol):
    """`@task(takes_context=True, …)`: the caller does not give the first argument."""

    @overload
    def __call__(
        self, func: Callable[Concatenate[Context, P], Coroutine[Any, Any, R]], /
    ) -> AsyncTask[P, R]: ...
    @overload
    def __call__(self, func: Callable[Concatenate[Context, P], R], /) -> Task[P, R]: ...


class _Plain(Protocol):
    """`@task(…)`."""

    @overload
    def __call__(self, func: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncTask[P, R]: ...
    @overload
    def __call__(self, func: Callable[P, R], /) -> Task[P, R]: ...


@overload
def task(func: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncTask[P, R]: ...
@overload
def task(func: Callable[P, R], /) -> Task[P, R]: ...
@overload
def task(
    *,
    takes_context: Literal[True],
    name: str = "",
    aliases: Iterable[str] = (),
    queue_name: str = "default",
    priority: int = 0,
    max_attempts: int | None = None,
    backoff: retry.Backoff | None = None,
    retry_on: Iterable[type[BaseException]] | None = None,
    dont_retry_on: Iterable[type[BaseException]] = (),
    max_losses: int | None = None,
    timeout: timedelta | None = None,
    atomic: bool = False,
    keep_result: bool = True,
    retention: timedelta | None = None,
    expires_after: timedelta | None = None,
    sensitive: Iterable[str] = (),
    metadata: Mapping[str, Any] | None = None,
    schedule: cron.Plan | cron.Rule | str | timedelta | datetime | None = None,
    on_success: Callback | None = None,
    on_failure: Callback | None = None,
    on_finish: Callback | None = None,
) -> _WithContext: ...
@overload
def task(
    *,
    name: str = "",
    aliases: Iterable[str] = (),
    queue_name: str = "default",
    priority: int = 0,
    max_attempts: int | None = None,
    backoff: retry.Backoff | None = None,
    retry_on: Iterable[type[BaseException]] | None = None,
    dont_retry_on: Iterable[type[BaseException]] = (),
    max_losses: int | None = None,
    timeout: timedelta | None = None,
    atomic: bool = False,
    takes_context: Literal[False] = False,
    keep_result: bool = True,
    retention: timedelta | None = None,
    expires_after: timedelta | None = None,
    sensitive: Iterable[str] = (),
    metadata: Mapping[str, Any] | None = None,
    schedule: cron.Plan | cron.Rule | str | timedelta | datetime | None = None,
    on_success: Callback | None = None,
    on_failure: Callback | None = None,
    on_finish: Callback | None = None,
) -> _Plain: ...
def task(func: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Make a task of a function: `@task`, or `@task(queue_name="mail", …)`.

    Also for one call of a function that is none: `task(func).using(…).enqueue(…)`.
    """
    if func is not None:
        return registry.register(build(func, {}))

    def decorate(func: Callable[..., Any]) -> Task[..., Any]:
        return registry.register(build(func, options))

    return decorate


def build(func: Any, options: Mapping[str, Any]) -> Task[..., Any]:
    """A Task of the function, with options as `@task` takes them; not registered."""
    check_function(func)
    known = {item.name for item in fields(Task)} - {
        "func",
        "declared",
        "given",
        "run_after",
        "django",
    }
    check_names(options, known, f"@task for {func.__qualname__}")
    made = dict(options)
    for name in ("aliases", "retry_on", "dont_retry_on", "sensitive"):
        if isinstance(made.get(name), Iterable) and not isinstance(made[name], str):
            made[name] = tuple(made[name])
    if made.get("schedule") is not None:
        made["schedule"] = cron.as_plan(made["schedule"])
    kind = AsyncTask if iscoroutinefunction(func) else Task
    return kind(func=func, declared=frozenset(options), **made)


def as_task(value: Any) -> Task[..., Any]:
    """The Task behind what `enqueue` takes: ours, Django's, or a plain function."""
    if isinstance(value, Task):
        return value
    found = registry.of_function(value)
    if found is not None:
        return found
    if all(hasattr(value, name) for name in ("func", "module_path", "takes_context")):
        return _of_django(value)
    return _of_function(value)


def _of_function(func: Any) -> Task[..., Any]:
    check_function(func)
    return _plain(func)


@lru_cache(maxsize=1024)
def _plain(func: Any) -> Task[..., Any]:
    made: Task[..., Any] = build(func, {})
    found = registry.find(made.module_path)
    if found is not func:
        raise InvalidTask(
            f"{made.module_path} is {found!r}, not the function that was given: a worker would "
            "run the former"
        )
    return made


def _of_django(value: Any) -> Task[..., Any]:
    """A Task of Django's own API: with the options of its backend, and its own over them."""
    backend = value.get_backend()
    options = dict(getattr(backend, "job_options", {}))
    own = {name: getattr(value, name, None) for name in OF_DJANGO}
    options |= {name: option for name, option in own.items() if option is not None}
    made = build(
        value.func,
        options
        | {
            "priority": value.priority,
            "queue_name": value.queue_name,
            "takes_context": value.takes_context,
        },
    )
    # What is as it is where nobody says anything may be said by JOBS["TASKS"].
    plain = {"priority": 0, "queue_name": "default", "run_after": None}
    said = {name for name, default in plain.items() if getattr(value, name) != default}
    given = frozenset(said | {name for name, option in own.items() if option is not None})
    declared = frozenset(options) | said
    return replace(made, run_after=value.run_after, declared=declared, given=given, django=value)
