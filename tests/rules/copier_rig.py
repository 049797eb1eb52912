"""The copier in the test's own process: a real source server, a real target file."""

from pathlib import Path
from typing import Any

from appliance.common import clock
from appliance.domain import intents
from appliance.protocol import messages
from appliance.sds import copy_job
from appliance.sds.copier import progress, run, throttle
from tests.fakes import fake_lock_client, legs

REGION = 16 << 20
SIZE = 5 * REGION
DEAD = "00000000000000d0"


class Copying:
    """``source`` is a leg's server; ``said`` are the lines the copier tells its agent."""

    def __init__(self, folder: Path) -> None:
        self.source = legs.LegServer(folder / "source", SIZE)
        self.folder = folder / "target" / "volumes" / "v"
        self.folder.mkdir(parents=True)
        with (self.folder / "data").open("wb") as file:
            file.truncate(SIZE)
        self.said: list[str] = []
        self._clients: list[fake_lock_client.FakeLockClient] = []

    def client(self, **options: Any) -> fake_lock_client.FakeLockClient:
        self._clients.append(fake_lock_client.FakeLockClient(**options))
        return self._clients[-1]

    def mark(self, *regions: int) -> None:
        """As a client that died did, on the source."""
        data = bytearray((self.source.folder / "intent").read_bytes())
        for region in regions:
            intents.set_dirty(data, region)
        (self.source.folder / "intent").write_bytes(data)

    def run(self, full: bool = False, generation: int = 1, keep_join: bool = False) -> None:
        """One whole copy, of the only column."""
        leg = self.source.serve()
        column = messages.ColumnCopy(0, full, leg, {} if full else {DEAD: leg.intent_export})
        locked = tuple(client.to_order(f"c{n}") for n, client in enumerate(self._clients))
        job = copy_job.Job(
            order=messages.CopyOrder(generation, (column,), locked),
            volume_id="v",
            folder=str(self.folder),
            size=SIZE,
            unit=1 << 20,
            ncols=1,
            thin=True,
            keep_join=keep_join,
        )
        time = clock.SystemClock()
        told = progress.Progress(generation, time, self.said.append)
        run.Run(job, told, throttle.Throttle(0, time), time).run()

    def target(self, region: int) -> int:
        """The first byte of a region there."""
        with (self.folder / "data").open("rb") as file:
            file.seek(region * REGION)
            return file.read(1)[0]

    def close(self) -> None:
        self.source.kill()
        for client in self._clients:
            client.close()
