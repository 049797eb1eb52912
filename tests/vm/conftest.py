"""One lab for all tests of the virtual machine: an MDM and two SDSs in containers, the machine."""

from collections.abc import Iterator

import pytest

from tests.infra.lab import site as labs


@pytest.fixture(scope="session")
def site() -> Iterator[labs.Site]:
    with labs.lab() as made:
        made.add_machine("vm1")
        made.add("lab1", "lab2", "lab3")
        made.wait_ssh()
        yield made
