"""Histories that a short random run does not find; each fails without its clause."""

from tests.model import adversary


def _copied(machine: adversary.Adversary) -> None:
    for _ in range(6):
        for sds in (0, 1):
            machine.a_copy_goes_on(sds)
        machine.steps(3)


def test_a_write_that_reached_one_copy_only_is_evened_out_by_doubt():
    machine = adversary.Adversary()
    machine.a_client_writes(0)
    machine.a_write_lands(0)
    machine.a_plugin_dies(0)
    machine.steps(15)
    _copied(machine)
    machine.a_client_reads(1, 0, 0)
    machine.a_client_reads(1, 0, 1)
    assert machine.c.all_in_sync(machine.volume)


def test_an_acknowledged_write_outlives_one_lost_cache():
    machine = adversary.Adversary()
    machine.a_client_writes(0)
    machine.a_write_lands(0)
    machine.a_write_lands(0)
    assert machine.truth[0] == {1}
    machine.a_host_reboots(0)
    machine.steps(20)
    _copied(machine)
    assert machine.c.all_in_sync(machine.volume)


def test_a_reader_on_the_wrong_side_of_a_partition_reads_nothing_old():
    machine = adversary.Adversary()
    machine.an_sds_loses_or_finds_the_mdm(0)
    machine.a_client_loses_or_finds_the_mdm(1)
    machine.steps(36)
    for _ in range(40):
        machine.a_client_writes(0)
        while machine.sent:
            machine.a_write_lands(0)
        machine.a_client_reads(1, 0, 0)
        machine.a_client_reads(1, 0, 1)
        machine.steps(1)
    assert machine.truth[0] != {0}
