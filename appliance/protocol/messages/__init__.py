"""What agents and the MDM tell each other: reports go up in heartbeats, orders come back.

An agent polls once a second, and at once when it has news or was poked. Reports are of the
state *observed*; orders are of the state *wanted*, so that losing or repeating one is harmless.
Every set of orders carries the MDM's term; a lower one is refused (R10). The ``request_id`` of an
order is that of the request it goes back to, for the agent's log; it orders nothing.
"""

from appliance.protocol.messages.locks import (
    LOCK_LINE,
    LockClient,
    LockRequest,
    ScrubRequest,
    StepAnswer,
    StepLock,
)
from appliance.protocol.messages.registration import (
    Registered,
    Registration,
)
from appliance.protocol.messages.sdc_orders import (
    GROWING_EXPORT,
    GROWING_EXPORT_BYTES,
    MappingOrder,
    Probe,
    SdcOrders,
)
from appliance.protocol.messages.sdc_reports import (
    IoStats,
    MappingReport,
    PluginStatus,
    SdcHeartbeat,
)
from appliance.protocol.messages.sds_orders import (
    Chart,
    ColumnCopy,
    CopyOrder,
    DeviceOrder,
    Holder,
    LegOrder,
    OwnColumn,
    Place,
    ScrubLeg,
    ScrubOrder,
    SdsOrders,
)
from appliance.protocol.messages.sds_reports import (
    CopyReport,
    DeviceReport,
    LegReport,
    ScrubCounts,
    ScrubFinding,
    ScrubReport,
    SdsHeartbeat,
)

__all__ = [
    "GROWING_EXPORT",
    "GROWING_EXPORT_BYTES",
    "LOCK_LINE",
    "Chart",
    "ColumnCopy",
    "CopyOrder",
    "CopyReport",
    "DeviceOrder",
    "DeviceReport",
    "Holder",
    "IoStats",
    "LegOrder",
    "LegReport",
    "LockClient",
    "LockRequest",
    "MappingOrder",
    "MappingReport",
    "OwnColumn",
    "Place",
    "PluginStatus",
    "Probe",
    "Registered",
    "Registration",
    "ScrubCounts",
    "ScrubFinding",
    "ScrubLeg",
    "ScrubOrder",
    "ScrubReport",
    "ScrubRequest",
    "SdcHeartbeat",
    "SdcOrders",
    "SdsHeartbeat",
    "SdsOrders",
    "StepAnswer",
    "StepLock",
]
