"""A CLI and the MDM it talks to."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click.testing
import pytest

from appliance.cli import main
from tests.fakes import fake_mdm_api

Run = Callable[..., click.testing.Result]


@pytest.fixture
def mdm() -> Iterator[fake_mdm_api.FakeMdmApi]:
    fake = fake_mdm_api.FakeMdmApi()
    yield fake
    fake.close()


@pytest.fixture
def environ(mdm: fake_mdm_api.FakeMdmApi, tmp_path: Path) -> dict[str, str]:
    """What a shell sets to reach ``mdm``."""
    token_file = tmp_path / "admin.token"
    token_file.write_text(fake_mdm_api.TOKEN + "\n", encoding="ascii")
    return {"BASALT_URL": mdm.url, "BASALT_TOKEN_FILE": str(token_file), "COLUMNS": "80"}


@pytest.fixture
def basalt(environ: dict[str, str]) -> Run:
    """Run ``basalt`` with these words in this process, with stdout and stderr kept apart."""

    def run(*words: str, **more: Any) -> click.testing.Result:
        runner = click.testing.CliRunner(env=environ)
        return runner.invoke(main.cli, list(words), **more)

    return run


@pytest.fixture
def ask(basalt: Run) -> Callable[..., Any]:
    """Run ``basalt … --json``, which must go well, and return what it printed."""

    def run(*words: str) -> Any:
        done = basalt(*words, "--json")
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    return run
