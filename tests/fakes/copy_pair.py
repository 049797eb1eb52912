"""A volume on two devices of one SDS, to copy from one to the other."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nbd

from appliance.domain import intents
from appliance.protocol import messages
from tests.fakes import sds_agent
from tests.fakes.fake_mdm import FakeMdm
from tests.fakes.sds_agent import CLIENT, IN_SYNC, MIB, SYNCING, VOLUME, connect, order

SOURCE = "00000000000000d1"
TARGET = "00000000000000d2"
SIZE = 80 * MIB  # five regions
REGION = 16 * MIB


class Pair:
    """One volume on two devices of one SDS: a replica in sync, and one that is to be."""

    def __init__(self, mdm: FakeMdm, folder: Path) -> None:
        self.mdm = mdm
        self.generation = 0
        self.plain: dict[str, Any] = {"size": SIZE}
        self.paths = {}
        self.reports: dict[str, messages.LegReport] = {}
        for device in (SOURCE, TARGET):
            (folder / device).mkdir()
            mdm.add_device(device, folder / device)
            self.paths[device] = folder / device / "volumes" / VOLUME

    def turn(self, state: Any = SYNCING, **changes: Any) -> None:
        """Both sealed and served; the target's columns in ``state``."""
        self.generation += 1
        self.plain.update(changes)
        columns = self.plain.pop("columns", (0,))
        for device, own in ((SOURCE, IN_SYNC), (TARGET, state)):
            made = tuple(messages.OwnColumn(column, own) for column in columns)
            self.plain["columns"] = made
            self.mdm.order(order(self.generation, device_id=device, **self.plain))
        self.plain["columns"] = columns
        for device in (SOURCE, TARGET):
            self.reports[device] = self.mdm.wait_leg(
                VOLUME,
                device,
                lambda leg: leg.generation == self.generation and (leg.serving or leg.error),
            )
            assert self.reports[device].serving, self.reports[device]

    def copy(self, full: bool = False, **changes: Any) -> None:
        source = self.reports[SOURCE]
        columns = self.plain["columns"]
        wanted = messages.CopyOrder(
            generation=self.generation,
            columns=tuple(
                messages.ColumnCopy(
                    column, full, sds_agent.leg_of(source), {} if full else source.intents
                )
                for column in columns
            ),
        )
        made = tuple(messages.OwnColumn(column, SYNCING) for column in columns)
        self.mdm.order(
            order(
                self.generation,
                device_id=TARGET,
                **{**self.plain, "columns": made},
                copy=replace(wanted, **changes),
            )
        )

    def wait_copy(
        self, reached: Callable[[messages.CopyReport], bool] = lambda copy: copy.done
    ) -> messages.CopyReport:
        report = self.mdm.wait_leg(
            VOLUME, TARGET, lambda leg: leg.copy is not None and reached(leg.copy), 40
        )
        assert report.copy is not None
        return report.copy

    def write(self, device: str, offset: int, data: bytes) -> None:
        handle = connect(self.reports[device])
        for at in range(0, len(data), MIB):
            handle.pwrite(data[at : at + MIB], offset + at, nbd.CMD_FLAG_FUA)
        handle.shutdown()

    def mark(self, device: str, *regions: int) -> None:
        """As a client's plugin does: one block, FUA."""
        report = self.reports[device]
        handle = connect(report, report.intents[CLIENT])
        block = bytearray(handle.pread(intents.BLOCK_BYTES, 0))
        for region in regions:
            intents.set_dirty(block, region)
        handle.pwrite(bytes(block), 0, nbd.CMD_FLAG_FUA)
        handle.shutdown()

    def data(self, device: str) -> bytes:
        return (self.paths[device] / "data").read_bytes()

    def used(self, device: str) -> int:
        return (self.paths[device] / "data").stat().st_blocks * 512
