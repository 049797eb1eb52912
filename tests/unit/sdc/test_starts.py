"""A place to start at: only so many are taken at once, and each comes back."""

from appliance.sdc import starts


def test_no_more_are_taken_than_there_are():
    some = starts.Starts(at_once=2)
    one, two, three = some.place(), some.place(), some.place()
    assert one.take(0.0, 0)
    assert two.take(0.0, 0)
    assert not three.take(0.0, 0)
    one.give_back()
    assert three.take(0.0, 0)


def test_a_place_is_one_however_often_it_is_taken_or_given_back():
    some = starts.Starts(at_once=1)
    one, two = some.place(), some.place()
    assert one.take(0.0, 0)
    assert one.take(1.0, 0)  # its plugin died before it spoke, and is started again
    one.give_back()
    one.give_back()
    assert two.take(0.0, 0)
    assert not one.take(0.0, 0)


def test_a_start_that_never_ends_is_found_out():
    one = starts.Starts(at_once=1).place()
    assert not one.overdue(100.0)
    assert one.take(0.0, 0)
    assert not one.overdue(starts.LIMIT_S)
    assert one.overdue(starts.LIMIT_S + 0.1)
    one.give_back()
    assert not one.overdue(starts.LIMIT_S + 0.1)
