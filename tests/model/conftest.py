"""Where the adversary's cluster lies, made once for all runs."""

import itertools
import secrets

import pytest

from tests.fakes import simulated_cluster
from tests.model import adversary, world


@pytest.fixture(scope="module", autouse=True)
def place(tmp_path_factory):
    template = simulated_cluster.empty_database(tmp_path_factory.mktemp("template"))
    folder = tmp_path_factory.mktemp("mdm")
    engine = simulated_cluster.connect(folder)
    place = world.Place(template, folder, engine, itertools.count(1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(adversary.Adversary, "place", place, raising=False)
        patch.setattr(secrets, "token_hex", lambda count=16: f"{next(place.ids):0{2 * count}x}")
        yield
    engine.dispose()
