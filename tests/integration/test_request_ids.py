"""A request's id stands in what every part logs because of it."""

from tests.integration import local_cluster


def test_one_id_runs_from_the_command_to_the_plugin(cluster, make_volume):
    name = make_volume()
    (sdc,) = cluster.cli("sdc", "list")
    cluster.cli("volume", "map", name, "--sdc", sdc["name"], "--backend", "none")
    events = cluster.cli("event", "list", "--subject", name)
    (ident,) = {event["request_id"] for event in events if event["kind"] == "volume_mapped"}

    def logged() -> set[str]:
        lines = [line for log in cluster.logs().values() for line in log.splitlines()]
        mine = [line for line in lines if line.endswith(f"request_id={ident}")]
        return {word for word in _WORDS for line in mine if f" {word} " in line}

    local_cluster.wait(logged, lambda found: found == set(_WORDS), "the id in every log")


#: One of the MDM's REST, of its turn, of the SDSs', and of the plugin's.
_WORDS = ("request", "turn_began", "sealed", "turn_over", "generation_in_use")
