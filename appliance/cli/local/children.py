"""The daemons of a single-host cluster: how each is started, and whether all still run.

Called by ``up`` and ``down``. What each is told stands here and nowhere else.
"""

import subprocess
from pathlib import Path

from appliance.cli.local import processes, state
from appliance.common import errors

_HOST = "127.0.0.1"


class Children:
    """The processes of the cluster in ``directory``; ``cluster`` is always what is on disk."""

    def __init__(self, directory: Path, cluster: state.Cluster) -> None:
        self.directory = directory
        self.cluster = cluster
        self.started: list[str] = []  # by this command
        self._popen: dict[str, subprocess.Popen[bytes]] = {}

    def alive(self, name: str) -> bool:
        return processes.alive(self.cluster.processes.get(name))

    def start(self, name: str) -> None:
        """Start ``name`` and write it down. Returns before it is ready."""
        role = role_of(name)
        popen, process = processes.start(
            f"appliance.{role}",
            self.directory / f"{name}.d",
            {**self._sets(name), **self._given(name)},
            state.log_file(self.directory, name),
            {state.MARK: self.cluster.id},
        )
        self._popen[name] = popen
        self.started.append(name)
        self.update(state.with_process(self.cluster, name, process))

    def update(self, cluster: state.Cluster) -> None:
        self.cluster = state.save(self.directory, cluster)

    def live(self) -> None:
        """Raises errors.Unavailable if one that should run has died, with its last words."""
        for name, process in self.cluster.processes.items():
            if processes.alive(process):
                continue
            popen = self._popen.get(name)
            code = popen.poll() if popen is not None else None
            log = state.log_file(self.directory, name)
            how = "died" if code is None else f"ended with {_word(code)}"
            raise errors.Unavailable(
                why=f"{name} (pid {process.pid}) {how}; the end of {log}:\n\n{processes.tail(log)}",
                next="put right what the log says, then run the same command again",
            )

    def stop(self, names: list[str]) -> dict[str, str]:
        """End ``names``, clients before servers before the MDM; how each ended."""
        ended = {}
        for name in reversed([name for name in self.cluster.names if name in names]):
            process = self.cluster.processes.get(name)
            if process is not None:
                ended[name] = processes.stop(process)
                self.update(state.with_process(self.cluster, name, None))
            if name in self._popen:
                self._popen[name].wait()
        return ended

    def _sets(self, name: str) -> dict[str, str]:
        """What ``name`` must be told to be part of this cluster."""
        own = {
            "data_dir": str(state.data_dir(self.directory, name)),
            "host": _HOST,
        }
        port = self.cluster.ports.get(name, 0)
        if name == state.MDM:
            return own | {"port": str(port), "port_file": str(self._port_file(name))}
        if name == state.MGMT:
            return own | {
                "port": str(port),
                "port_file": str(self._port_file(name)),
                "mdm": f'["{url(self.cluster)}"]',
                "mdm_token_file": str(state.admin_token(self.directory)),
            }
        own |= {
            "name": name,
            "run_dir": str(self.cluster.run_dir / name),
            "mdm": f'["{url(self.cluster)}"]',
            "join_token_file": str(state.data_dir(self.directory, state.MDM) / "join.token"),
            "hosts": f'["{_HOST}"]',
            "control_port": str(port),
        }
        if name == state.SDC:
            return own | {
                "link_dir": str(link_dir(self.directory)),
                "plugin_log_dir": str(state.log_file(self.directory, name).parent),
            }
        return own | {
            "data_port_first": "0",
            "data_port_last": "0",
            "fault_set": fault_set(name),
        }

    def _port_file(self, name: str) -> Path:
        return state.port_file(self.directory, name)

    def _given(self, name: str) -> dict[str, str]:
        """What people said with ``--set``, for all of a role or for this one."""
        found = {}
        for text in self.cluster.sets:
            key, _, value = text.partition("=")
            whom, _, key = key.partition(".")
            if whom in (name, role_of(name)):
                found[key] = value
        return found


def role_of(name: str) -> str:
    return name.rstrip("0123456789")


def fault_set(sds: str) -> str:
    """Each SDS fails alone: fs1 for sds1."""
    return sds.replace("sds", "fs")


def url(cluster: state.Cluster) -> str:
    return f"http://{_HOST}:{cluster.ports.get(state.MDM, 0)}"


def mgmt_url(cluster: state.Cluster) -> str:
    return f"http://{_HOST}:{cluster.ports.get(state.MGMT, 0)}"


def link_dir(directory: Path) -> Path:
    """Where the stable links to block devices lie; /dev/basalt belongs to the host's own SDC."""
    return directory / "dev"


def _word(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
