"""Dramatiq's actors."""

from __future__ import annotations

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from bench.peer import Places

from .bases import FUNCTIONS

broker = RedisBroker(url=Places.from_environment().redis_url)
dramatiq.set_broker(broker)
ACTORS = {name: dramatiq.actor(function, actor_name=name) for name, function in FUNCTIONS.items()}
