"""Deletes events and finished jobs that are older than the configuration keeps them."""

import logging

from appliance.common import daemon, errors
from appliance.mdm.services import context, events

logger = logging.getLogger(__name__)

_INTERVAL_S = 3600.0
_DAY_S = 86400.0


def loop(ctx: context.Context) -> daemon.Loop:
    """The loop, not started."""
    return daemon.Loop("pruning", _INTERVAL_S, lambda: run_once(ctx))


def run_once(ctx: context.Context) -> None:
    before = ctx.clock.wall() - ctx.config.event_keep_days * _DAY_S
    try:
        deleted = events.prune(ctx, before)
    except errors.Unavailable as exc:
        logger.warning("pruning_put_off why=%s", exc)  # the next turn does it
        return
    if deleted:
        logger.info("pruned rows=%d older_than_days=%d", deleted, ctx.config.event_keep_days)
