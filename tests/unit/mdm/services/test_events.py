"""Events are kept for their time, numbered once for ever, and read in pages."""

import pytest

from appliance.common import errors
from appliance.mdm import bodies
from appliance.mdm.loops import pruning
from appliance.mdm.services import events, jobs
from tests.fakes import mdm_site

_DAY_S = 86400


def page(site, **values):
    return events.list_page(site.ctx, bodies.EventPage(**values))


def happen(site, count, kind="thing"):
    with site.ctx.uow.write(mdm_site.ACTOR) as tx:
        for number in range(count):
            tx.event(kind, "thing", f"id{number}", f"name{number}")


def test_events_are_found_by_subject_and_kind(site):
    happen(site, 3)
    happen(site, 2, "other")
    assert len(page(site, kind="thing")["items"]) == 3
    assert [e["kind"] for e in page(site, subject="name1")["items"]] == ["thing", "other"]
    assert page(site, subject="id1") == page(site, subject="name1")


def test_pages_go_on_where_the_last_one_ended(site):
    happen(site, 5)
    first = page(site, kind="thing", limit=2)
    rest = page(site, kind="thing", after=int(first["next"]))
    assert [e["subject"] for e in first["items"] + rest["items"]] == [f"name{n}" for n in range(5)]
    assert rest["next"] is None


def test_the_newest_come_first_when_asked_for_and_pages_go_back_in_time(site):
    happen(site, 5)
    newest = page(site, kind="thing", order="desc", limit=2)
    assert [e["subject"] for e in newest["items"]] == ["name4", "name3"]
    rest = page(site, kind="thing", order="desc", before=int(newest["next"]))
    assert [e["subject"] for e in rest["items"]] == ["name2", "name1", "name0"]
    assert rest["next"] is None
    seqs = [e["seq"] for e in rest["items"]]
    between = page(site, kind="thing", order="desc", after=seqs[2], before=seqs[0])
    assert [e["seq"] for e in between["items"]] == [seqs[1]]


def test_old_events_and_jobs_go_and_their_numbers_are_not_used_again(site, caplog):
    happen(site, 2500)
    with site.ctx.uow.write("me") as tx:
        jobs.start(tx, "work", "thing", "a", "a")
        jobs.start(tx, "work", "thing", "b", "b")
        jobs.finish(tx, "work", "a")
    last = page(site, kind="thing", after=2000)["items"][-1]["seq"]
    site.clock.advance((site.ctx.config.event_keep_days + 1) * _DAY_S)
    caplog.set_level("INFO")
    pruning.run_once(site.ctx)
    assert page(site)["items"] == []
    assert "pruned rows=" in caplog.text
    assert [job["subject"] for job in jobs.list_page(site.ctx, bodies.JobPage())["items"]] == ["b"]
    happen(site, 1)
    assert page(site)["items"][0]["seq"] > last
    pruning.run_once(site.ctx)
    assert len(page(site)["items"]) == 1


def test_pruning_waits_while_the_database_cannot_be_written(site, monkeypatch, caplog):
    def refuse(*_args):
        raise errors.Unavailable(why="the disk is full")

    monkeypatch.setattr(events, "prune", refuse)
    pruning.run_once(site.ctx)
    assert "pruning_put_off why=the disk is full" in caplog.text


def test_jobs_come_newest_first_in_pages_with_their_progress(site):
    for number in range(5):
        with site.ctx.uow.write("me") as tx:
            jobs.start(tx, "work", "thing", f"id{number}", f"name{number}", total_bytes=200)
            jobs.progress(tx, "work", f"id{number}", 50 * number, "copying")
        site.clock.advance(1)
    with site.ctx.uow.write("me") as tx:
        jobs.finish(tx, "work", "id1", error="it broke")
        jobs.finish(tx, "work", "nobody")
        jobs.progress(tx, "work", "nobody", 1)
        assert jobs.running(tx, "work", "id1") is None
    first = jobs.list_page(site.ctx, bodies.JobPage(limit=3))
    rest = jobs.list_page(site.ctx, bodies.JobPage(limit=3, after=first["next"]))
    found = first["items"] + rest["items"]
    assert [job["subject"] for job in found] == [f"name{n}" for n in (4, 3, 2, 1, 0)]
    assert [job["percent"] for job in found] == [100.0, 75.0, 50.0, 25.0, 0.0]
    assert (found[3]["state"], found[3]["detail"]) == ("failed", "it broke")
    assert len(jobs.list_page(site.ctx, bodies.JobPage(state="running"))["items"]) == 4
    with pytest.raises(errors.Invalid):
        jobs.list_page(site.ctx, bodies.JobPage(after="x"))
