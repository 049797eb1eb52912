"""A change is kept whole or not at all, and refusals of the database say why."""

import sqlite3
import threading

import pytest
from sqlalchemy import select, text

from appliance.common import errors, log
from appliance.mdm.db import models


def domain(name):
    return models.Domain(id=name, name=name, created_at=0.0)


def names(site):
    with site.ctx.uow.read() as tx:
        return set(tx.session.scalars(select(models.Domain.name)))


def test_a_write_is_kept_with_its_event_and_then_tells_who_asked(site):
    told = []
    with log.request("req-1"), site.ctx.uow.write("me") as tx:
        tx.session.add(domain("new"))
        tx.event("made", "domain", "new", "new", colour="red")
        tx.after_commit(lambda: told.append(names(site)))
        tx.poke("sds", "a")
        assert told == []
    assert told == [{"default", "new"}]
    assert site.pokes == [("sds", "a")]
    with site.ctx.uow.read() as tx:
        event = tx.session.scalars(select(models.Event).where(models.Event.kind == "made")).one()
    assert (event.who, event.request_id, event.at) == ("me", "req-1", site.clock.wall())
    assert event.detail == {"colour": "red"}


def test_a_write_that_raises_changes_nothing_and_tells_nobody(site):
    told = []
    with pytest.raises(ValueError, match="stop"), site.ctx.uow.write("me") as tx:
        tx.session.add(domain("new"))
        tx.event("made", "domain", "new", "new")
        tx.after_commit(lambda: told.append(1))
        tx.session.flush()
        raise ValueError("stop")
    assert names(site) == {"default"}
    assert "made" not in site.kinds()
    assert told == []


def test_what_is_changed_in_a_read_is_thrown_away(site):
    with site.ctx.uow.read() as tx:
        tx.session.add(domain("new"))
        tx.session.flush()
    assert names(site) == {"default"}


def test_readers_do_not_wait_for_a_writer_and_see_nothing_of_it(site):
    with site.ctx.uow.write("me") as tx:
        tx.session.add(domain("new"))
        tx.session.flush()
        seen = []
        thread = threading.Thread(target=lambda: seen.append(names(site)))
        thread.start()
        thread.join(5)
        assert seen == [{"default"}]
    assert names(site) == {"default", "new"}


def test_writers_take_turns_and_lose_nothing(site):
    def add_ten():
        for _ in range(10):
            with site.ctx.uow.write("me") as tx:
                tx.session.get_one(models.Cluster, 1).revision += 1

    threads = [threading.Thread(target=add_ten) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    with site.ctx.uow.read() as tx:
        assert tx.session.get_one(models.Cluster, 1).revision == 80


def test_a_write_inside_a_write_is_a_bug_and_not_a_hang(site):
    with (
        site.ctx.uow.write("me"),
        pytest.raises(RuntimeError, match="wait for itself"),
        site.ctx.uow.write("me"),
    ):
        pass


def test_a_failing_callback_does_not_undo_what_is_durable(site, caplog):
    def fail():
        raise OSError("no")

    with site.ctx.uow.write("me") as tx:
        tx.session.add(domain("new"))
        tx.after_commit(fail)
    assert names(site) == {"default", "new"}
    assert "after_commit_failed" in caplog.text


@pytest.fixture
def shut(site, tmp_path):
    """Another program holds the database's write lock."""
    other = sqlite3.connect(tmp_path / "mdm.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    yield other
    other.close()


def test_a_locked_database_refuses_changes_but_not_reads(site, shut):
    with (
        pytest.raises(errors.Unavailable, match="locked by another program"),
        site.ctx.uow.write("me") as tx,
    ):
        tx.session.add(domain("new"))
    assert names(site) == {"default"}
    assert "locked" in site.ctx.uow.trouble()
    shut.execute("ROLLBACK")
    with site.ctx.uow.write("me") as tx:
        tx.session.add(domain("new"))
    assert site.ctx.uow.trouble() == ""


def test_who_waited_behind_a_refused_writer_is_refused_at_once(site):
    taken, waits = threading.Event(), threading.Event()
    site.clock.asked_by["second"] = waits
    told = {}

    def write(name, size):
        try:
            with site.ctx.uow.write("me") as tx:
                taken.set()
                assert waits.wait(10)
                site.clock.advance(1)
                tx.session.execute(text("PRAGMA max_page_count = 1"))
                tx.session.add(domain("x" * size))
        except errors.Unavailable as exc:
            told[name] = str(exc)

    threads = [threading.Thread(target=write, args=(n, 10**5), name=n) for n in ("first", "second")]
    threads[0].start()
    assert taken.wait(10)
    threads[1].start()
    for thread in threads:
        thread.join(10)
    assert "disk is full" in told["first"]
    assert "cannot change its database" in told["second"]


def test_a_full_disk_is_named_and_nothing_is_changed(site):
    with pytest.raises(errors.Unavailable, match="disk is full"), site.ctx.uow.write("me") as tx:
        tx.session.execute(text("PRAGMA max_page_count = 1"))
        tx.session.add(domain("x" * 100_000))
    assert names(site) == {"default"}


def test_a_constraint_that_is_broken_is_a_bug(site):
    with pytest.raises(Exception, match="UNIQUE"), site.ctx.uow.write("me") as tx:
        tx.session.add(domain("default"))
