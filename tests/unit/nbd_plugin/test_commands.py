"""Which of several failures counts, and what is the application's."""

import errno

from nbd_plugin import commands, failures


def refusal(device: str, number: int = errno.EIO, command: str = "write") -> failures.LegRefused:
    return failures.LegRefused(device, command, number, "no")


def test_an_unknown_outcome_outweighs_a_refusal(epochs):
    epoch = epochs()
    died, refused = failures.LegDied(device="x", why="gone"), refusal("y")
    assert commands.worse(epoch, None, refused) is refused
    assert commands.worse(epoch, refused, died) is died
    assert commands.worse(epoch, died, refused) is died
    assert commands.worse(epoch, refused, refusal("x")) is refused


def test_a_failed_flush_is_never_for_lack_of_space():
    assert refusal("x", errno.ENOSPC).full
    assert refusal("x", errno.EDQUOT).full
    assert not refusal("x", errno.EIO).full
    assert not refusal("x", errno.ENOSPC, "flush").full
