"""The kernel's generic netlink family ``nbd`` in pyroute2's form (like its l2tp and wireguard).

Numbers are those of include/uapi/linux/nbd-netlink.h. Only ``attach.nbd_kernel`` calls this;
it knows nothing of Basalt.
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from pyroute2.netlink import NLA_F_NESTED, NLM_F_ACK, NLM_F_REQUEST, genlmsg, nla
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.generic import AsyncGenericNetlinkSocket, GenericNetlinkSocket

NBD_GENL_FAMILY_NAME = "nbd"
NBD_GENL_VERSION = 1
NBD_GENL_MCAST_GROUP_NAME = "nbd_mc_group"

NBD_CMD_CONNECT = 1
NBD_CMD_DISCONNECT = 2
NBD_CMD_RECONFIGURE = 3
NBD_CMD_LINK_DEAD = 4
NBD_CMD_STATUS = 5


class nbdmsg(genlmsg):  # noqa: N801 (pyroute2's way)
    """Attributes are numbered by their place, as the kernel's enum does."""

    prefix = "NBD_ATTR_"

    nla_map = (
        ("NBD_ATTR_UNSPEC", "none"),
        ("NBD_ATTR_INDEX", "uint32"),
        ("NBD_ATTR_SIZE_BYTES", "uint64"),
        ("NBD_ATTR_BLOCK_SIZE_BYTES", "uint64"),
        ("NBD_ATTR_TIMEOUT", "uint64"),
        ("NBD_ATTR_SERVER_FLAGS", "uint64"),
        ("NBD_ATTR_CLIENT_FLAGS", "uint64"),
        ("NBD_ATTR_SOCKETS", "sockets"),
        ("NBD_ATTR_DEAD_CONN_TIMEOUT", "uint64"),
        ("NBD_ATTR_DEVICE_LIST", "devices"),
        ("NBD_ATTR_BACKEND_IDENTIFIER", "asciiz"),
    )

    class sockets(nla):  # noqa: D106, N801
        nla_flags = NLA_F_NESTED
        nla_map = (("NBD_SOCK_ITEM_UNSPEC", "none"), ("NBD_SOCK_ITEM", "item"))

        class item(nla):  # noqa: D106, N801
            nla_flags = NLA_F_NESTED
            nla_map = (("NBD_SOCK_UNSPEC", "none"), ("NBD_SOCK_FD", "uint32"))

    class devices(nla):  # noqa: D106, N801
        nla_flags = NLA_F_NESTED
        nla_map = (("NBD_DEVICE_ITEM_UNSPEC", "none"), ("NBD_DEVICE_ITEM", "item"))

        class item(nla):  # noqa: D106, N801
            nla_flags = NLA_F_NESTED
            nla_map = (
                ("NBD_DEVICE_UNSPEC", "none"),
                ("NBD_DEVICE_INDEX", "uint32"),
                ("NBD_DEVICE_CONNECTED", "uint8"),
            )


def message(command: int, **values: Any) -> nbdmsg:
    """A request. ``values`` are attributes by name in lower case: ``index=0``, ``timeout=30``.

    ``sockets`` is a sequence of descriptors of sockets past their NBD handshake.
    """
    msg = nbdmsg()
    msg["cmd"] = command
    msg["version"] = NBD_GENL_VERSION
    for name, value in values.items():
        if name == "sockets":
            value = {"attrs": [("NBD_SOCK_ITEM", {"attrs": [("NBD_SOCK_FD", fd)]}) for fd in value]}
        msg["attrs"].append((f"NBD_ATTR_{name.upper()}", value))
    return msg


class AsyncNbd(AsyncGenericNetlinkSocket):
    module_err_level = "debug"  # a kernel without nbd is no error here

    async def setup_endpoint(self) -> None:
        if getattr(self.local, "transport", None) is not None:
            return
        await super().setup_endpoint()
        await self.bind(NBD_GENL_FAMILY_NAME, nbdmsg)

    async def request(self, msg: nbdmsg) -> list[nbdmsg]:
        """The kernel's answers. Raises NetlinkError with the kernel's errno as ``code``."""
        return await self._do_request(msg, msg_flags=NLM_F_REQUEST | NLM_F_ACK)


class Nbd(GenericNetlinkSocket):
    """One request at a time. Raises NetlinkError (``code`` is an errno), at once if the kernel
    has no nbd; close it, or use it in a ``with``."""

    async_class = AsyncNbd

    def connect_device(
        self,
        sockets: Sequence[int],
        size: int,
        block_size: int,
        server_flags: int,
        timeout_s: int,
        dead_timeout_s: int,
        backend: str,
    ) -> int:
        """Make a device of the first free number and return that."""
        answers = self._ask(
            message(
                NBD_CMD_CONNECT,
                size_bytes=size,
                block_size_bytes=block_size,
                timeout=timeout_s,
                server_flags=server_flags,
                sockets=sockets,
                dead_conn_timeout=dead_timeout_s,
                backend_identifier=backend,
            )
        )
        return int(next(a.get_attr("NBD_ATTR_INDEX") for a in answers if a.get("attrs")))

    def reconfigure(self, index: int, sockets: Sequence[int], backend: str) -> None:
        """Give device ``index`` new sockets in place of dead ones; live ones are kept."""
        self._ask(
            message(NBD_CMD_RECONFIGURE, index=index, sockets=sockets, backend_identifier=backend)
        )

    def resize(self, index: int, size: int, backend: str) -> None:
        """Let device ``index`` show ``size`` bytes from now on, while it is in use."""
        self._ask(
            message(NBD_CMD_RECONFIGURE, index=index, size_bytes=size, backend_identifier=backend)
        )

    def disconnect_device(self, index: int) -> None:
        self._ask(message(NBD_CMD_DISCONNECT, index=index))

    def status(self) -> dict[int, bool]:
        """Number of every nbd device there is, and whether it is connected."""
        found = {}
        for answer in self._ask(message(NBD_CMD_STATUS)):
            listed = answer.get_attr("NBD_ATTR_DEVICE_LIST")
            for item in listed.get_attrs("NBD_DEVICE_ITEM") if listed is not None else ():
                connected = bool(item.get_attr("NBD_DEVICE_CONNECTED"))
                found[int(item.get_attr("NBD_DEVICE_INDEX"))] = connected
        return found

    def dead_links(self) -> Iterator[int]:
        """Numbers of the devices that lost a socket, as the kernel tells of it; blocks."""
        self.add_membership(NBD_GENL_MCAST_GROUP_NAME)
        while True:
            for news in self.get():
                if news.get("cmd") == NBD_CMD_LINK_DEAD:
                    yield int(news.get_attr("NBD_ATTR_INDEX"))

    def _ask(self, msg: nbdmsg) -> list[nbdmsg]:
        return list(self._run_with_cleanup(self.asyncore.request, msg))


def in_kernel() -> bool:
    """Whether this kernel has the family now. OSError if netlink cannot be used at all."""
    with contextlib.suppress(NetlinkError), Nbd() as family:
        family.status()
        return True
    return False
