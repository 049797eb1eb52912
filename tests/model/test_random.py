"""Random histories: whatever the adversary thinks of, the promises hold."""

import pytest
from hypothesis import HealthCheck, settings

from tests.model import adversary


class TestProtocol(adversary.Adversary.TestCase):
    pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


TestProtocol.settings = settings(
    max_examples=12,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
