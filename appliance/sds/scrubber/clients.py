"""What the scrubber asks of the clients that may write: to watch a region, to say that it was
scrubbed, to write a unit again. Range locks are ``copier.locks``."""

from collections.abc import Sequence

from appliance.protocol import codec, messages
from appliance.sds.copier import holder


class Clients:
    """Every method raises errors.Unreachable, or what a client answered, if it refused."""

    def __init__(self, known: Sequence[messages.LockClient], generation: int) -> None:
        self._generation = generation
        self._callers = [(each, holder.reach(each)) for each in known]

    def __len__(self) -> int:
        return len(self._callers)

    def watch(self, offset: int, length: int) -> None:
        """Before the first look at a region."""
        self._ask("watch", offset, length)

    def scrubbed(self, offset: int, length: int) -> None:
        """After its sums are durable. A client that cannot agree just leaves the mark."""
        self._ask("scrubbed", offset, length)

    def rewrite(self, offset: int, length: int, device_id: str) -> None:
        """The one client writes what ``device_id`` has there to every replica, as its own."""
        self._ask("rewrite", offset, length, device_id)

    def _ask(self, step: str, offset: int, length: int, device_id: str = "") -> None:
        for each, caller in self._callers:
            words = messages.ScrubRequest(
                incarnation=each.incarnation,
                token=each.token,
                generation=self._generation,
                step=step,
                offset=offset,
                length=length,
                device_id=device_id,
            )
            caller.post("/scrubs", codec.to_json(words))
