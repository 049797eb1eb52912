"""The adversary again, with a third SDS to which replicas move, and back, while all goes wrong."""

import pytest
from hypothesis import HealthCheck, settings, stateful
from hypothesis import strategies as st

from appliance.common import errors
from appliance.mdm import bodies
from appliance.mdm.services import domains, maintenance, sds, withdrawal
from tests.model import adversary

SDS = st.integers(0, 2)


class Moving(adversary.Adversary):
    """As ``Adversary``; whatever left a device is deleted there, marks and all."""

    servers = 3

    def __init__(self) -> None:
        super().__init__()
        change = bodies.DomainChange(rebuild_delay_s=4.0)
        domains.update(self.c.ctx, "test", "default", change)

    def steps(self, count: int) -> None:
        for _ in range(count):
            super().steps(1)
            for device_id in list(self.storage.stores):
                leg = self.storage.leg(device_id)
                if leg is None or leg.deleted:
                    del self.storage.stores[device_id]

    @stateful.rule(number=SDS)
    def an_sds_is_evacuated_or_used_again(self, number: int) -> None:
        name = f"sds{number + 1}"
        try:
            if sds.get(self.c.ctx, name)["state"] == "evacuating":
                withdrawal.readmit(self.c.ctx, "test", name)
            else:
                withdrawal.evacuate(self.c.ctx, "test", name)
        except errors.Conflict:
            return

    @stateful.rule(number=SDS)
    def maintenance_begins_or_ends(self, number: int) -> None:
        name = f"sds{number + 1}"
        try:
            if sds.get(self.c.ctx, name)["state"] == "maintenance":
                maintenance.leave(self.c.ctx, "test", name)
            else:
                maintenance.enter(self.c.ctx, "test", name)
        except errors.Conflict:
            return

    @stateful.rule(number=SDS, count=st.integers(1, 3))
    def copies_go_on(self, number: int, count: int) -> None:
        for _ in range(count):
            self.a_copy_goes_on(number)
            self.steps(3)

    @stateful.rule()
    def the_third_sds_dies_and_comes_back(self) -> None:
        self.c.sds[2].silent = not self.c.sds[2].silent

    @stateful.rule()
    def the_third_host_reboots(self) -> None:
        self.a_host_reboots(2)

    @stateful.rule(client=adversary.CLIENT, block=adversary.BLOCK)
    def a_client_reads_the_third_replica(self, client: int, block: int) -> None:
        used = self.used(client)
        if used is not None and len(used[1].columns[0]) > 2:
            self.a_client_reads(client, block, 2)


class TestMoving(Moving.TestCase):
    """Random histories."""

    pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


TestMoving.pytestmark = [pytest.mark.timeout(400)]
TestMoving.settings = settings(
    max_examples=6,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


# Directed histories; each fails without its clause.


def _holders(machine: Moving) -> set[int]:
    held = {replica.device_id for replica in machine.c.row(machine.volume).replicas}
    return {n for n, agent in enumerate(machine.c.sds) if held & set(agent.paths)}


def _copied(machine: Moving) -> None:
    for _ in range(8):
        for number in range(3):
            machine.a_copy_goes_on(number)
        machine.steps(4)


def _written(machine: Moving, client: int) -> None:
    machine.a_client_writes(client)
    while machine.sent:
        machine.a_write_lands(0)
    machine.steps(1)


def _read_all(machine: Moving) -> None:
    for client in (0, 1):
        for block in (0, 1):
            for slot in range(len(machine.c.map_of(client).columns[0])):
                machine.a_client_reads(client, block, slot)


def test_a_move_under_writes_loses_none():
    machine = Moving()
    first = min(_holders(machine))
    _written(machine, 0)
    machine.an_sds_is_evacuated_or_used_again(first)
    for _ in range(8):
        for number in range(3):
            machine.a_copy_goes_on(number)
        _written(machine, 0)
        _written(machine, 1)
        machine.steps(4)
    machine.steps(30)
    assert first not in _holders(machine)
    assert machine.c.all_in_sync(machine.volume)
    _read_all(machine)


def test_what_was_away_while_a_move_ended_is_not_made_equal_by_marks_that_the_new_copy_lacks():
    machine = Moving()
    first, second = sorted(_holders(machine))
    third = ({0, 1, 2} - {first, second}).pop()
    machine.an_sds_loses_or_finds_the_mdm(second)
    machine.steps(60)
    _written(machine, 0)  # marked on the first only
    machine.c.sds[second].silent = True
    machine.steps(60)  # gone for longer than the delay: the third joins
    for _ in range(6):
        machine.a_copy_goes_on(third)
        machine.steps(2)
    machine.c.sds[second].silent = False
    machine.steps(60)
    _copied(machine)
    machine.steps(60)
    _read_all(machine)
    assert machine.c.all_in_sync(machine.volume)
