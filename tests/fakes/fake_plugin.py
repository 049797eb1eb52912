"""A volume in one file behind a real nbdkit, with the link protocol of nbd_plugin/plugin.py.

    nbdkit python fake_plugin.py path=DIR volume=ID incarnation=ID link=SOCKET read_only=0|1

It passes tests/contract/test_plugin_link.py like the real one, needs no SDS, and counts in its
status' statistics what reaches it. The file lies beside the link's socket, so a new incarnation
finds what the one before it wrote.
"""

import contextlib
import errno
import json
import mmap
import os
import pathlib
import socket
import threading
import time

import nbdkit

API_VERSION = 2

_pairs = {}
_cond = threading.Condition()
_status = {"generation": 0, "version": 0, "left": 0, "ended": "", "clean": False}
_stats = dict.fromkeys(("reads", "writes", "flushes", "trims", "write_bytes"), 0)
_locks = {}  # id -> (offset, end, monotonic time at which it ends)
_writing = []  # (offset, end)
_peers = []
_disk = b""  # the file, mapped, once its size is known


def config(key, value):
    _pairs[key] = value


def config_complete():
    pass


def thread_model():
    return nbdkit.THREAD_MODEL_PARALLEL


def after_fork():
    with contextlib.suppress(FileNotFoundError):
        pathlib.Path(_pairs["link"]).unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(_pairs["link"])
    listener.listen(4)
    threading.Thread(target=_accept, args=(listener,), daemon=True).start()


def open(readonly):
    with _cond:
        if not _cond.wait_for(lambda: _status["generation"] > 0, 30):
            _fail(errno.EIO)
    return 1


def get_size(_handle):
    return 1 << 60 if nbdkit.export_name() == "growing" else len(_disk)


def can_write(_handle):
    return _pairs.get("read_only") != "1"


def can_flush(_handle):
    return True


def can_fua(_handle):
    return nbdkit.FUA_NATIVE


def can_trim(_handle):
    return True


def can_zero(_handle):
    return True


def can_multi_conn(_handle):
    return True


def pread(_handle, buf, offset, _flags):
    _count("reads")
    buf[:] = _disk[offset : offset + len(buf)]


def pwrite(_handle, buf, offset, flags):
    with _writer(offset, len(buf)):
        _disk[offset : offset + len(buf)] = buf
    _count("writes", bytes_written=len(buf))
    if flags & nbdkit.FLAG_FUA:
        _count("flushes")


def flush(_handle, _flags):
    _count("flushes")


def trim(_handle, count, offset, _flags):
    with _writer(offset, count):
        _disk[offset : offset + count] = bytes(count)
    _count("trims")


def zero(_handle, count, offset, _flags):
    with _writer(offset, count):
        _disk[offset : offset + count] = bytes(count)
    _count("writes")


@contextlib.contextmanager
def _writer(offset, length):
    extent = (offset, offset + length)
    with _cond:
        while any(_overlap(extent, held) for held in _live_locks()):
            _cond.wait(0.02)
        _writing.append(extent)
    try:
        yield
    finally:
        with _cond:
            _writing.remove(extent)
            _cond.notify_all()


def _live_locks():
    now = time.monotonic()
    return [held for held in _locks.values() if held[2] > now]


def _overlap(one, other):
    return one[0] < other[1] and other[0] < one[1]


def _count(what, bytes_written=0):
    with _cond:
        if _status["ended"]:
            _fail(errno.ESHUTDOWN)
        _stats[what] += 1
        _stats["write_bytes"] += bytes_written


def _fail(number):
    nbdkit.set_error(number)
    raise OSError(number, os.strerror(number))


def _accept(listener):
    while True:
        peer, _ = listener.accept()
        with _cond:
            for old in _peers:
                with contextlib.suppress(OSError):
                    old.shutdown(socket.SHUT_RDWR)
            _peers[:] = [peer]
        threading.Thread(target=_serve, args=(peer,), daemon=True).start()
        threading.Thread(target=_report, args=(peer,), daemon=True).start()


def _report(peer):
    with contextlib.suppress(OSError):
        while True:
            with _cond:
                now = {"incarnation": _pairs["incarnation"], **_status, "stats": dict(_stats)}
            _send(peer, {"op": "status", **now})
            with _cond:
                _cond.wait(0.05)


def _serve(peer):
    handed = []
    rest = b""
    with peer, contextlib.suppress(OSError):
        while True:
            data, descriptors, _, _ = socket.recv_fds(peer, 65536, 8)
            handed += descriptors
            if not data:
                break
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                _obey(peer, json.loads(line), handed)


def _obey(peer, message, handed):
    match message["op"]:
        case "map":
            _adopt(message)
        case "open_generation":
            _set(left=max(_status["left"], message["generation"] - 1))
        case "lock":
            threading.Thread(target=_lock, args=(peer, message), daemon=True).start()
        case "lock_line":
            line = socket.socket(fileno=handed.pop(0))
            threading.Thread(target=_serve_locks, args=(line, message), daemon=True).start()
        case "unlock":
            with _cond:
                _locks.pop(message["id"], None)
                _cond.notify_all()
        case "end":
            if not _status["ended"]:
                _set(ended="unmapped", clean=True)
        case "fail":
            if not _status["ended"]:
                _set(ended=message["why"])


def _adopt(message):
    new = message["map"]
    number = (new["generation"], new["version"])
    if message["incarnation"] != _pairs["incarnation"]:
        return
    if number <= (_status["generation"], _status["version"]):
        return
    _map_file(new["size"])
    _set(generation=number[0], version=number[1])


def _map_file(size):
    global _disk
    with pathlib.Path(_pairs["link"]).with_name("disk").open("ab+") as file:
        file.truncate(size)
        _disk = mmap.mmap(file.fileno(), size)


def _lock(peer, message):
    why = _locked(message)
    with contextlib.suppress(OSError):
        _send(peer, {"op": "locked", "id": message["id"], "ok": not why, "why": why})


def _locked(message):
    extent = (message["offset"], message["offset"] + message["length"])
    with _cond:
        ok = message["generation"] == _status["generation"]
        if ok:
            _locks[message["id"]] = (*extent, time.monotonic() + message["limit_s"])
            ok = _cond.wait_for(
                lambda: not any(_overlap(extent, writing) for writing in _writing),
                message["limit_s"],
            )
        return "" if ok else "another generation, or writes in flight"


def _serve_locks(line, terms):
    line.settimeout(None)
    ident = f"line {id(line)}"
    with line, line.makefile("rb") as lines, contextlib.suppress(OSError):
        for data in lines:
            asked = json.loads(data)
            with _cond:
                _locks.pop(ident, None)
                _cond.notify_all()
            if asked["length"]:
                limit_s = min(asked["limit_s"], terms["limit_s"])
                words = {**terms, **asked, "limit_s": limit_s, "id": ident}
                _send(line, {"limit_s": limit_s, "why": _locked(words)})


def _set(**values):
    with _cond:
        _status.update(values)
        _cond.notify_all()


def _send(peer, message):
    peer.sendall(json.dumps(message).encode() + b"\n")
