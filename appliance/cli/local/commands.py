"""``basalt local``: a whole cluster on this host, for trying, testing and measuring."""

import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

import click

from appliance.cli import command, output
from appliance.cli.local import children, devices, down, processes, state, up
from appliance.cli.session import Session
from appliance.common import errors
from appliance.protocol import status as protocol_status

_DIR = click.option(
    "--dir",
    "directory",
    required=True,
    type=click.Path(file_okay=False, resolve_path=True, path_type=Path),
    help="Folder of the cluster.",
)


@click.group(cls=command.Group)
def local() -> None:
    """A cluster on this host: one MDM, some SDSs, one SDC and MGMT as child processes."""


@local.command("up")
@_DIR
@click.option("--sds", type=click.IntRange(2, 64), help="Storage servers. [default: 3]")
@click.option("--devices-per-sds", type=click.IntRange(1, 64), help="[default: 1]")
@click.option("--device-size", type=command.Size(), default=0, metavar="SIZE",
              help="Give each device a file system of its own of this size.")  # fmt: skip
@click.option("--device-dir", type=click.Path(file_okay=False, path_type=Path),
              help="Where the devices lie, /dev/shm/x for RAM. [default: DIR/devices]")  # fmt: skip
@click.option("--mgmt/--no-mgmt", default=None, help="With pages for people. [default: with]")
@click.option("--set", "sets", multiple=True, metavar="WHO.KEY=VALUE",
              help="Configure daemons: sds.poll_s=0.5, sds1.log_level=DEBUG.")  # fmt: skip
@click.pass_obj
def up_(session: Session, /, directory: Path, sets: tuple[str, ...], **wish: Any) -> None:
    """Start the cluster, or what is missing of it, and say when it is ready."""
    _check_sets(sets)
    if 0 < wish["device_size"] < devices.LEAST:
        least = output.size(devices.LEAST)
        raise errors.Invalid(what="--device-size", why=f"a device needs {least} at least")
    cluster, started = up.up(directory, up.Wish(sets=sets, **wish), output.note)
    if session.json:
        output.emit_json(_described(directory, cluster) | {"started": started})
    elif started:
        output.line("ready")
        if cluster.mgmt:
            output.line(f"Pages: {children.mgmt_url(cluster)}/ (user admin; the password is in")
            output.line(f"       {state.mgmt_password(directory)})")
        output.note(f'Use it:  eval "$(basalt local env --dir {shlex.quote(str(directory))})"')
    else:
        output.line("ready: it was running already, nothing was missing")


@local.command("down")
@_DIR
@click.option("--purge", is_flag=True, help="Also delete the folder, devices and all data.")
@click.option("--force", is_flag=True, help="Even if a volume is mounted.")
@command.yes_option
@click.pass_obj
def down_(session: Session, directory: Path, purge: bool, force: bool, yes: bool) -> None:
    """Unmap every volume and stop every process."""
    if state.load(directory) is None:
        output.changed(session.json, {"dir": str(directory)}, f"no cluster in {directory}")
        return
    if purge:
        command.confirm(f"Delete the cluster in {directory} with all its data?", yes)
    down.down(directory, purge, force, output.note)
    output.changed(session.json, {"dir": str(directory)}, "down")


@local.command()
@_DIR
@click.pass_obj
def status(session: Session, directory: Path) -> None:
    """Each process: whether it runs, its port and its log. Exit code 5 if one does not."""
    described = _described(directory, state.need(directory))
    if session.json:
        output.emit_json(described)
    else:
        rows = [
            (one["name"], one["state"], one["pid"] or "-", one["port"] or "-", one["log"])
            for one in described["processes"]
        ]
        output.table(["name", "state", ">pid", ">port", "log"], rows)
    if not all(one["alive"] for one in described["processes"]):
        raise click.exceptions.Exit(protocol_status.meaning(errors.Unavailable).exit)


@local.command()
@_DIR
@click.pass_obj
def env(session: Session, directory: Path) -> None:
    """Print what to set in the shell: eval "$(basalt local env --dir DIR)"."""
    cluster = state.need(directory)
    values = {
        "BASALT_URL": children.url(cluster),
        "BASALT_TOKEN_FILE": str(state.admin_token(directory)),
    }
    if session.json:
        output.emit_json(values)
        return
    for key, value in values.items():
        output.line(f"export {key}={shlex.quote(value)}")
    if shutil.which("basalt") is None:
        output.line(f'export PATH={shlex.quote(str(Path(sys.executable).parent))}:"$PATH"')


def _check_sets(sets: tuple[str, ...]) -> None:
    for text in sets:
        whom, dot, _ = text.partition("=")[0].partition(".")
        if (
            not dot
            or "=" not in text
            or children.role_of(whom) not in ("mdm", "sds", "sdc", "mgmt")
        ):
            raise errors.Invalid(what="--set", why=f"{text!r} is not like sds.poll_s=0.5")


def _described(directory: Path, cluster: state.Cluster) -> dict[str, Any]:
    found = []
    for name in cluster.names:
        process = cluster.processes.get(name)
        alive = processes.alive(process)
        found.append(
            {
                "name": name,
                "alive": alive,
                "state": "running" if alive else "dead" if process else "stopped",
                "pid": process.pid if process else None,
                "port": cluster.ports.get(name),
                "log": str(state.log_file(directory, name)),
            }
        )
    return {
        "dir": str(directory),
        "url": children.url(cluster),
        "token_file": str(state.admin_token(directory)),
        "mgmt_url": children.mgmt_url(cluster) if cluster.mgmt else None,
        "mgmt_password_file": str(state.mgmt_password(directory)) if cluster.mgmt else None,
        "link_dir": str(children.link_dir(directory)),
        "devices": [device.path for device in cluster.devices],
        "processes": found,
    }
