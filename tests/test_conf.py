from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from jobs import conf


def test_settings_are_read_once_and_again_after_override_settings() -> None:
    with override_settings(JOBS={"THREADS": 7}):
        assert conf.settings().threads == 7
        assert conf.settings() is conf.settings()

    assert conf.settings().threads == 1


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ({"QEUES": ["a"]}, "Did you mean 'QUEUES'?"),
        ({"THREADS": "4"}, "It must be a whole number greater than zero."),
        ({"GRACE_PERIOD": 30}, "It must be a timedelta greater than zero."),
        ({"QUEUES": "default"}, "It must be a list of names, or None."),
        ({"HEARTBEAT_TIMEOUT": timedelta(seconds=6)}, "raise the timeout"),
        ([], "JOBS is not a dict"),
    ],
)
def test_a_wrong_setting_is_told_with_its_cure(raw: Any, words: str) -> None:
    told = " ".join(message + hint for message, hint in conf.problems(raw))

    assert words in told
    with override_settings(JOBS=raw), pytest.raises(ImproperlyConfigured):
        conf.settings()
