"""The judge of the chaos runs: what it must let pass, and what it must catch."""

import pytest

from tests.chaos import history


def write(record: history.History, acknowledged: bool = True, fua: bool = False) -> bytes:
    operation = record.begin_write(0, 1, fua=fua)
    record.end_write(operation, acknowledged)
    return bytes(history.payload(operation))


def read(record: history.History, data: bytes) -> None:
    record.check_read(record.now(), 0, data)


def flush(record: history.History) -> None:
    record.end_flush(record.now())


ZEROES = bytes(history.BLOCK)


def test_the_last_acknowledged_write_is_read_and_nothing_older() -> None:
    record = history.History(1)
    read(record, ZEROES)
    old, new = write(record), write(record)
    read(record, new)
    for wrong in (old, ZEROES):
        with pytest.raises(history.Violation, match="an older value"):
            read(record, wrong)


def test_a_write_in_flight_may_be_read_or_not() -> None:
    record = history.History(1)
    old = write(record)
    operation = record.begin_write(0, 1)
    new = bytes(history.payload(operation))
    for allowed in (old, new, old[:2048] + new[2048:]):
        read(record, allowed)
    record.end_write(operation, True)
    with pytest.raises(history.Violation):
        read(record, old)
    with pytest.raises(history.Violation):
        read(record, old[:2048] + new[2048:])


def test_a_read_that_began_before_an_acknowledgement_may_miss_it() -> None:
    record = history.History(1)
    old = write(record)
    start = record.now()
    write(record)
    record.check_read(start, 0, old)


def test_of_two_writes_at_once_either_may_win_but_not_now_this_and_now_that() -> None:
    record = history.History(1)
    one, two = record.begin_write(0, 1), record.begin_write(0, 1)
    for operation in (one, two):
        record.end_write(operation, True)
    with pytest.raises(history.Violation):
        read(record, ZEROES)
    read(record, bytes(history.payload(one)))
    with pytest.raises(history.Violation):
        read(record, bytes(history.payload(two)))


def test_a_write_of_unknown_outcome_is_settled_by_the_first_read() -> None:
    record = history.History(1)
    old = write(record)
    new = bytes(history.payload(record.begin_write(0, 1)))
    record.abandon()
    read(record, new)
    with pytest.raises(history.Violation):
        read(record, old)


def test_what_was_never_written_there_is_caught() -> None:
    record = history.History(2)
    operation = record.begin_write(1, 1)
    record.end_write(operation, True)
    with pytest.raises(history.Violation, match="never written there"):
        read(record, bytes(history.payload(operation)))


def test_only_what_no_flush_saved_may_be_lost() -> None:
    record = history.History(1)
    older = write(record)
    saved = write(record)
    flush(record)
    unsaved = write(record)
    record.lose_unsaved()
    start = record.now()
    for lost in (older, ZEROES):
        with pytest.raises(history.Violation):
            record.check_read(start, 0, lost)
    read(record, saved)
    with pytest.raises(history.Violation):
        read(record, unsaved)  # it was gone a moment ago


def test_a_flush_saves_only_what_was_answered_before_it_began() -> None:
    record = history.History(1)
    saved = write(record)
    operation = record.begin_write(0, 1)
    start = record.now()
    record.end_write(operation, True)
    record.end_flush(start)
    record.lose_unsaved()
    read(record, saved)


def test_a_write_with_fua_is_saved_by_itself() -> None:
    record = history.History(1)
    old = write(record)
    new = write(record, fua=True)
    record.lose_unsaved()
    with pytest.raises(history.Violation):
        read(record, old)
    read(record, new)


def test_after_settling_only_what_was_read_remains() -> None:
    record = history.History(1)
    write(record)
    new = write(record)
    record.settle(0, new)
    record.lose_unsaved()
    read(record, new)
    with pytest.raises(history.Violation):
        read(record, ZEROES)
