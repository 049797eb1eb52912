"""What an agent can still say of itself when its host has nothing left to give."""

import subprocess
import sys

import pytest

_WITHOUT_A_DESCRIPTOR = """
import resource
from {module} import {name}
{name}.version()
resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
try:
    open("/dev/null")
except OSError:
    print({name}.version())
"""


@pytest.mark.parametrize(
    ("module", "name"),
    [("appliance.agent", "registration"), ("appliance.mdm.services", "cluster")],
)
def test_the_version_that_every_heartbeat_tells_needs_no_free_descriptor(module, name):
    words = _WITHOUT_A_DESCRIPTOR.format(module=module, name=name)
    done = subprocess.run(
        [sys.executable, "-c", words], check=True, stdout=subprocess.PIPE, text=True
    )
    assert done.stdout.strip()
