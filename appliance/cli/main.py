"""Entry point of ``basalt``: global options, the nouns, and the one place where a failure of any
command becomes words on stderr and an exit code."""

import os
import sys
from pathlib import Path
from typing import Any, NoReturn

import click

from appliance.cli import (
    command,
    completion,
    device,
    domain,
    event,
    failure,
    fault_set,
    job,
    mapping,
    mdm,
    output,
    pool,
    scrub,
    sdc,
    sds,
    session,
    status,
    token,
    volume,
)
from appliance.cli.local import commands as local_commands
from appliance.cli.recover import commands as recover_commands
from appliance.common import log

_BROKEN_PIPE = 141  # 128 + SIGPIPE, as the shell says it


class Root(click.Group):
    """The whole command; ``main`` never lets an exception out."""

    def main(  # type: ignore[override]
        self, args: Any = None, prog_name: str | None = None, **extra: Any
    ) -> NoReturn:
        """Run ``args`` (default: the process's own) and exit with a code of protocol.status."""
        output.ascii_where_needed()
        words = list(sys.argv[1:] if args is None else args)
        code = 0
        try:
            if instruction := os.environ.get(completion.VARIABLE):
                sys.exit(completion.answer(self, instruction))
            with (
                log.request(log.new_request_id()),
                self.make_context("basalt", words, **extra) as ctx,
            ):
                self.invoke(ctx)
                sys.stdout.flush()
        except BrokenPipeError:
            # The reader (head, less) has enough; a traceback at exit would be noise.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = _BROKEN_PIPE
        except SystemExit:
            raise
        except BaseException as exc:  # noqa: BLE001 (the last border before the caller's shell)
            code = failure.report(exc, _doing(self, words), "--json" in words)
        sys.exit(code)


@click.group(cls=Root, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--url", envvar="BASALT_URL", show_envvar=True, default=session.DEFAULT_URL,
              show_default=True, help="The MDM; several with commas between.")  # fmt: skip
@click.option("--token-file", envvar="BASALT_TOKEN_FILE", show_envvar=True,
              type=click.Path(dir_okay=False, path_type=Path),
              help=f"File with the token. [default: {session.DEFAULT_TOKEN_FILE}]")  # fmt: skip
@click.option("--ca-file", envvar="BASALT_CA_FILE", show_envvar=True,
              type=click.Path(dir_okay=False, path_type=Path),
              help="CA of an MDM whose address is https. "
                   f"[default: {session.DEFAULT_CA_FILE}, else this host's CAs]")  # fmt: skip
@click.option("--timeout", "timeout_s", type=click.FloatRange(min=0.1), default=10.0,
              show_default=True, help="Seconds to wait for one answer.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON only, on stdout.")
@click.version_option(package_name="basalt", prog_name="basalt")
@click.pass_context
def cli(
    ctx: click.Context,
    url: str,
    token_file: Path | None,
    ca_file: Path | None,
    timeout_s: float,
    as_json: bool,
) -> None:
    """Basalt: mirrored, striped block volumes over ordinary Linux hosts.

    Begin with `basalt status`. Exit codes: 0 done, 1 a bug, 2 wrong usage, 3 no such thing,
    4 refused in the present state, 5 no answer or not now, 6 not allowed, 7 damaged data.
    """
    ctx.obj = session.Session(command.split_urls(url), token_file, timeout_s, as_json, ca_file)


for _noun in (
    status.status,
    domain.domain,
    fault_set.fault_set,
    pool.pool,
    sds.sds,
    device.device,
    sdc.sdc,
    volume.volume,
    job.job,
    event.event,
    scrub.scrub,
    mdm.mdm,
    token.token,
    local_commands.local,
    recover_commands.recover,
    completion.completion,
):
    cli.add_command(_noun)
volume.volume.add_command(mapping.map_volume)
volume.volume.add_command(mapping.unmap_volume)


def _doing(group: click.Group, words: list[str]) -> str:
    """The command in ``words`` without its values: ``basalt volume create``."""
    said = ["basalt"]
    here: click.Command | None = group
    for word in words:
        if isinstance(here, click.Group) and word in here.commands:
            here = here.commands[word]
            said.append(word)
    return " ".join(said)


def main() -> None:
    """The console script ``basalt``."""
    cli.main()
