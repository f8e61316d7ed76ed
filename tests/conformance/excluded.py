"""Those of Django's tests that cannot apply to another backend, each with the reason."""

_CLASS = "asks for an instance of Django's own backend class"
_LIST = "changes the list in memory that DummyBackend keeps"
_LESS = "asks that the backend cannot do what this one can"

EXCLUDED = {
    "TaskTestCase.test_using_correct_backend": _CLASS,
    "TaskTestCase.test_get_backend": _CLASS,
    "DummyBackendTestCase.test_using_correct_backend": _CLASS,
    "DummyBackendTestCase.test_refresh_result": _LIST,
    "DummyBackendTestCase.test_refresh_result_async": _LIST,
    "ImmediateBackendTestCase.test_using_correct_backend": _CLASS,
    "ImmediateBackendTestCase.test_cannot_get_result": _LESS,
    "ImmediateBackendTestCase.test_cannot_refresh_result": _LESS,
    "ImmediateBackendTestCase.test_cannot_pass_run_after": _LESS,
}
# Of the backport only.
BACKPORT = {
    "DummyBackendTestCase.test_validate_disallowed_async_task": (
        "asks for words of Django's base class, which the backport's has otherwise"
    ),
}
