import string

import pytest

from appliance.common import errors


def all_errors() -> list[type[errors.BasaltError]]:
    """Those of the one tree; other packages derive some of their own, with tests of their own."""
    found, pending = [], [errors.BasaltError]
    while pending:
        cls = pending.pop()
        if cls.__module__ == errors.__name__:
            found.append(cls)
        pending.extend(cls.__subclasses__())
    return found


def test_the_message_is_made_of_the_facts():
    error = errors.InUse(kind="pool", key="p1", why="3 volumes are in it")
    assert str(error) == "pool 'p1' is in use: 3 volumes are in it"
    assert error.facts == {"kind": "pool", "key": "p1", "why": "3 volumes are in it"}
    assert error.request_id == ""


@pytest.mark.parametrize("cls", all_errors())
def test_every_class_has_a_code_and_makes_a_message(cls):
    facts = {name: "?" for _, name, _, _ in string.Formatter().parse(cls.template) if name}
    assert facts
    error = cls(**facts)
    assert "?" in str(error)
    assert cls.code.replace("_", "").isalpha()


def test_a_missing_fact_is_a_mistake_of_the_caller():
    with pytest.raises(KeyError):
        errors.NotFound(kind="volume")


def test_codes_are_unique_except_for_what_callers_cannot_tell_apart():
    codes = [cls.code for cls in all_errors() if cls is not errors.RequestError]
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize(
    ("narrow", "wide"),
    [
        (errors.AlreadyExists, errors.Conflict),
        (errors.InUse, errors.Conflict),
        (errors.NoCapacity, errors.Conflict),
        (errors.StaleOrder, errors.Conflict),
        (errors.Conflict, errors.RequestError),
        (errors.Invalid, errors.RequestError),
        (errors.NotFound, errors.RequestError),
    ],
)
def test_what_is_caught_as_what(narrow, wide):
    assert issubclass(narrow, wide)


@pytest.mark.parametrize("cls", [errors.Unavailable, errors.Unreachable, errors.Damaged])
def test_trouble_is_no_refusal(cls):
    assert not issubclass(cls, errors.RequestError)


def test_an_error_told_by_another_process_keeps_its_words():
    error = errors.NotFound.received("es gibt kein {x}", "r-1")
    assert type(error) is errors.NotFound
    assert (str(error), error.facts, error.request_id) == ("es gibt kein {x}", {}, "r-1")
