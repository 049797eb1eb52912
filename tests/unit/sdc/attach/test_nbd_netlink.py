"""Messages byte for byte, against include/uapi/linux/nbd-netlink.h and netlink(7)."""

import struct

import pytest
from pyroute2.netlink.exceptions import NetlinkError

from appliance.sdc.attach import nbd_netlink

_NESTED = 0x8000


def _attribute(number: int, payload: bytes) -> bytes:
    """struct nlattr: length with header, type, payload padded to four bytes."""
    size = 4 + len(payload)
    return struct.pack("=HH", size, number) + payload + bytes(-size % 4)


def _u32(number: int, value: int) -> bytes:
    return _attribute(number, struct.pack("=I", value))


def _u64(number: int, value: int) -> bytes:
    return _attribute(number, struct.pack("=Q", value))


def _nested(number: int, *inner: bytes) -> bytes:
    return _attribute(number | _NESTED, b"".join(inner))


def _sockets(*fds: int) -> bytes:
    return _nested(7, *(_nested(1, _u32(1, fd)) for fd in fds))


def _encoded(msg: nbd_netlink.nbdmsg) -> bytes:
    """Without the 16 bytes of struct nlmsghdr."""
    msg.encode()
    return bytes(msg.data[16 : msg["header"]["length"]])


def _genl(command: int, *attributes: bytes) -> bytes:
    """struct genlmsghdr: command, version 1, two reserved bytes."""
    return struct.pack("=BBH", command, 1, 0) + b"".join(attributes)


def test_connect() -> None:
    msg = nbd_netlink.message(
        nbd_netlink.NBD_CMD_CONNECT,
        size_bytes=2 << 30,
        block_size_bytes=512,
        timeout=30,
        server_flags=0x16D,
        sockets=[11, 12],
        dead_conn_timeout=600,
        backend_identifier="m1",
    )
    assert _encoded(msg) == _genl(
        1,
        _u64(2, 2 << 30),
        _u64(3, 512),
        _u64(4, 30),
        _u64(5, 0x16D),
        _sockets(11, 12),
        _u64(8, 600),
        _attribute(10, b"m1\0"),
    )


def test_reconfigure() -> None:
    msg = nbd_netlink.message(
        nbd_netlink.NBD_CMD_RECONFIGURE, index=5, sockets=[9], backend_identifier="m1"
    )
    assert _encoded(msg) == _genl(3, _u32(1, 5), _sockets(9), _attribute(10, b"m1\0"))


def test_disconnect_and_status() -> None:
    assert _encoded(nbd_netlink.message(nbd_netlink.NBD_CMD_DISCONNECT, index=0)) == _genl(
        2, _u32(1, 0)
    )
    assert _encoded(nbd_netlink.message(nbd_netlink.NBD_CMD_STATUS)) == _genl(5)


def _decoded(body: bytes) -> nbd_netlink.nbdmsg:
    msg = nbd_netlink.nbdmsg(struct.pack("=IHHII", 16 + len(body), 30, 0, 1, 0) + body)
    msg.decode()
    return msg


def test_the_answer_to_connect_is_read() -> None:
    msg = _decoded(_genl(1, _u32(1, 7)))
    assert (msg["cmd"], msg.get_attr("NBD_ATTR_INDEX")) == (1, 7)


@pytest.mark.parametrize("flag", [0, _NESTED], ids=["old", "flagged"])
def test_the_status_of_devices_is_read(flag: int) -> None:
    def item(index: int, connected: int) -> bytes:
        return _attribute(1 | flag, _u32(1, index) + _attribute(2, bytes([connected])))

    msg = _decoded(_genl(5, _attribute(9 | flag, item(0, 1) + item(3, 0))))
    listed = msg.get_attr("NBD_ATTR_DEVICE_LIST")
    assert [
        (one.get_attr("NBD_DEVICE_INDEX"), one.get_attr("NBD_DEVICE_CONNECTED"))
        for one in listed.get_attrs("NBD_DEVICE_ITEM")
    ] == [(0, 1), (3, 0)]


def test_a_kernel_without_nbd_is_told_apart() -> None:
    if nbd_netlink.in_kernel():
        with nbd_netlink.Nbd() as family:
            assert family.mcast_groups[nbd_netlink.NBD_GENL_MCAST_GROUP_NAME] > 0
    else:
        with pytest.raises(NetlinkError), nbd_netlink.Nbd() as family:
            family.status()
