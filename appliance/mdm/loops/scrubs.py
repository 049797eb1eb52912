"""Begins scrubs that are due, and those that waited for a device."""

import logging

from appliance.common import daemon, errors
from appliance.mdm.services import context, scrubs

logger = logging.getLogger(__name__)

_INTERVAL_S = 10.0


def loop(ctx: context.Context) -> daemon.Loop:
    """The loop, not started."""
    return daemon.Loop("scrubs", _INTERVAL_S, lambda: run_once(ctx))


def run_once(ctx: context.Context) -> None:
    try:
        scrubs.run_once(ctx)
    except errors.Unavailable as exc:
        logger.warning("scrubs_put_off why=%s", exc)  # the next round does it
