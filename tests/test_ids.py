import os
from uuid import UUID

from jobs.ids import uuid7, uuid7s


def test_an_id_is_a_uuid_of_version_7() -> None:
    made = uuid7()

    assert isinstance(made, UUID)
    assert made.version == 7
    assert made.variant == "specified in RFC 4122"


def test_ids_of_one_call_rise_and_never_repeat() -> None:
    made = uuid7s(20_000)

    assert made == sorted(made)
    assert len(set(made)) == 20_000


def test_a_forked_child_does_not_repeat_its_parents_ids() -> None:
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.write(writer, b"".join(uuid7().bytes[8:] for _ in range(100)))
        os._exit(0)
    os.wait()
    noise = os.read(reader, 65_536)
    os.close(reader)
    os.close(writer)

    childs = {noise[i : i + 8] for i in range(0, len(noise), 8)}

    assert len(childs) == 100
    assert not childs & {uuid7().bytes[8:] for _ in range(100)}
