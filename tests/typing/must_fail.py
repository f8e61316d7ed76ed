"""Each line marked `# refused: why` must be refused by mypy and pyright for that reason, and no
other line. The reasons are told apart by the checkers' own words: see __main__.py."""

from datetime import timedelta

from jobs import Context, Job, aenqueue, enqueue, enqueue_many, enqueue_on_commit, task
from jobs.cron import cron, every
from jobs.testing import assert_enqueued, run_jobs, travel


def plain(word: str, times: int = 1) -> list[str]:
    return [word] * times


@task
def bare(a: int, b: int = 2) -> int:
    return a + b


@task(takes_context=True)
def with_context(context: Context, a: int) -> str:
    return str(a)


@task
async def async_task(a: int) -> float:
    return a / 2


# Of a plain function.
enqueue(plain, 5)  # refused: call
enqueue(plain)  # refused: call
enqueue(plain, "a", 1, 2)  # refused: call
enqueue(plain, "a", queue_name="mail")  # refused: call
enqueue(plain("a"))  # refused: call
enqueue_on_commit(plain, 5)  # refused: call

# Of a task.
enqueue(bare, "1")  # refused: call
enqueue(bare, 1, c=2)  # refused: call
enqueue(with_context, "1")  # refused: call
enqueue(async_task, "1")  # refused: call
bare.enqueue("1")  # refused: argument type
bare.enqueue()  # refused: missing argument
bare.enqueue(1, 2, 3)  # refused: too many arguments
bare.enqueue(1, c=2)  # refused: unknown argument
with_context.enqueue("1")  # refused: argument type
async_task.enqueue()  # refused: missing argument
bare.using(priority="high")  # refused: argument type
bare.using(retries=3)  # refused: unknown argument
bare.using(run_after=5)  # refused: argument type
bare("1")  # refused: argument type
bare.delay(1)  # refused: attribute
enqueue_many(bare, [1])  # refused: argument type

# Of what comes back.
wrong_result: Job[str] = bare.enqueue(1)  # refused: result type
wrong_wait: str = enqueue(bare, 1).wait()  # refused: result type
wrong_value: str = bare.enqueue(1).return_value  # refused: result type
wrong_async: Job[str] = async_task.enqueue(1)  # refused: result type
enqueue(bare, 1).wait(timeout="5")  # refused: argument type
enqueue(bare, 1).retry(delay=5)  # refused: argument type


async def view() -> tuple[Job[str], str]:
    wrong_job: Job[str] = await aenqueue(bare, 1)  # refused: call
    wrong: str = await (await aenqueue(bare, 1)).await_result()  # refused: result type
    return wrong_job, wrong


# Of options.
@task(timeout=5)  # refused: call
def badly_optioned() -> None: ...


@task(on_success=bare)  # refused: call
def badly_followed() -> None: ...


@task(timeout=timedelta(seconds=5), takes_context=True)  # refused: argument type
def without_context() -> None: ...


cron(5)  # refused: argument type
cron("@daily", timezone=1)  # refused: argument type
every(5)  # refused: too many arguments

# Of tests.
travel(5)  # refused: argument type
run_jobs(at_most="5")  # refused: argument type
assert_enqueued(bare, 1)  # refused: too many arguments
assert_enqueued(bare, run_after=5)  # refused: argument type
