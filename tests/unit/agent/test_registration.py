"""What an agent can still say of itself when its host has nothing left to give."""

import subprocess
import sys

_WITHOUT_A_DESCRIPTOR = """
import resource, types
from appliance.agent import registration
settings = types.SimpleNamespace(name="sds1", hosts=("127.0.0.1",))
resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
try:
    open("/dev/null")
except OSError:
    print(registration.words(settings, 7072).version)
"""


def test_the_first_word_to_the_mdm_needs_no_free_descriptor():
    """An agent that starts when none is left for more than its connection."""
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_A_DESCRIPTOR], check=True, stdout=subprocess.PIPE, text=True
    )
    assert done.stdout.strip()
