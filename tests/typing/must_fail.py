"""Each line marked `# refused` must be refused by mypy and pyright, and no other line."""

from datetime import timedelta

from jobs import Context, Job, enqueue, task


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


enqueue(plain, 5)  # refused
enqueue(plain)  # refused
enqueue(plain, "a", 1, 2)  # refused
enqueue(plain, "a", queue_name="mail")  # refused
enqueue(bare, "1")  # refused
enqueue(bare, 1, c=2)  # refused
enqueue(with_context, "1")  # refused
enqueue(async_task, "1")  # refused
bare.enqueue("1")  # refused
bare.using(priority="high")  # refused
bare.using(retries=3)  # refused
bare("1")  # refused
wrong_result: Job[str] = bare.enqueue(1)  # refused
wrong_wait: str = enqueue(bare, 1).wait()  # refused


@task(timeout=5)  # refused
def badly_optioned() -> None: ...


@task(timeout=timedelta(seconds=5), takes_context=True)  # refused
def without_context() -> None: ...
