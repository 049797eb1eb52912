"""What the agent hands to a copier process, as one line of JSON on its standard input.

Further lines change the bandwidth: ``{"bandwidth": bytes a second}``. The end of the input means
that the agent is gone.
"""

import errno
from dataclasses import dataclass

from appliance.common import tls
from appliance.protocol import messages

#: Exit status of a copier that could not write for EIO: the device is broken (R5).
EXIT_DEVICE_FAILED = 74

#: EIO, and what XFS and ext4 say of a structure they found damaged.
BROKEN = (errno.EIO, errno.EUCLEAN)


@dataclass(frozen=True, slots=True)
class Job:
    """``folder`` is the volume's on the target device; the rest is of its volume.json.

    ``keep_join``: columns that are not in this order may need the union of marks later.
    ``request_id`` is for the log.
    """

    order: messages.CopyOrder
    volume_id: str
    folder: str
    size: int
    unit: int
    ncols: int
    thin: bool
    keep_join: bool = False
    request_id: str = ""
    data_tls: tls.DataTls = tls.NONE
