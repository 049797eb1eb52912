"""What tests of moves ask a simulated cluster: who holds what, which jobs there are; and time."""

from appliance.mdm import bodies
from appliance.mdm.services import jobs


def holders(cluster, volume):
    """Names of the SDSs that hold each column."""
    owner = {device: agent.name for agent in cluster.sds for device in agent.paths}
    columns = {}
    for replica in cluster.row(volume).replicas:
        columns.setdefault(replica.column, []).append(owner.get(replica.device_id, "gone"))
    return columns


def jobs_of(cluster, kind):
    page = jobs.list_page(cluster.ctx, bodies.JobPage())["items"]
    return [job for job in page if job["kind"] == kind]


def finish(cluster, condition, rounds=60):
    """Let copies end, and all that follows, until ``condition``."""
    for _ in range(rounds):
        if condition():
            return
        for agent in cluster.sds:
            agent.finish_copies()
        cluster.steps(5)
    raise TimeoutError


def settled(cluster, *volumes):
    """Every column has two equal replicas, and nothing moves."""
    return all(not cluster.row(v).moves and cluster.all_in_sync(v) for v in volumes)


def leap(cluster, seconds):
    """Time goes on for everybody; nobody falls silent through it."""
    cluster.clock.advance(seconds)
    for agent in (*cluster.sds, *cluster.sdcs):
        cluster.exchange(agent)
    cluster.steps(12)
