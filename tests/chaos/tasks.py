"""Jobs of every kind that chaos may meet. Each has a number; the ledger counts effects."""

from __future__ import annotations

import asyncio
import os
import random
import time
from datetime import timedelta

from django.db import connection

from jobs import Context, task
from jobs.errors import JobTimeout

from .witness import witness

LEDGER = "CREATE TABLE chaos_ledger (number int NOT NULL)"
MANY = 1000


@task(takes_context=True)
def plain(context: Context, number: int, seconds: float) -> int:
    with witness().attempt(number, context):
        time.sleep(seconds)
    return number


@task(takes_context=True, queue_name="async")
async def asynchronous(context: Context, number: int, seconds: float) -> int:
    with witness().attempt(number, context):
        await asyncio.sleep(seconds)
    return number


@task(takes_context=True, atomic=True, max_attempts=MANY, backoff=timedelta(0))
def atomic(context: Context, number: int, seconds: float) -> int:
    """Its effect and its end commit together: exactly once, whatever dies."""
    with witness().attempt(number, context):
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO chaos_ledger VALUES (%s)", [number])
        time.sleep(seconds)
        if random.random() < 0.1:
            raise ValueError("rolled back")
    return number


@task(takes_context=True, max_attempts=MANY, backoff=timedelta(0))
def flaky(context: Context, number: int, seconds: float) -> int:
    with witness().attempt(number, context):
        time.sleep(seconds)
        if random.random() < 0.3:
            raise ConnectionError("again")
    return number


@task(takes_context=True, timeout=timedelta(seconds=0.3))
def slow(context: Context, number: int, seconds: float) -> None:
    with witness().attempt(number, context):
        time.sleep(60)


@task(takes_context=True, timeout=timedelta(seconds=0.3), queue_name="stubborn")
def stubborn(context: Context, number: int, seconds: float) -> None:
    """Ends for nobody: its process has to be killed."""
    with witness().attempt(number, context):
        while True:
            try:
                time.sleep(60)
            except JobTimeout:
                continue


@task(takes_context=True, max_losses=2, queue_name="stubborn")
def poison(context: Context, number: int, seconds: float) -> None:
    with witness().attempt(number, context):
        os._exit(9)


@task(takes_context=True)
def endless(context: Context, number: int, seconds: float) -> None:
    """Runs until it is cancelled."""
    with witness().attempt(number, context):
        time.sleep(600)


@task
def tick() -> None:
    """For a beat."""
