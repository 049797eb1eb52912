"""The fake MDM says what the real one says: each object has the shape in the OpenAPI document."""

from typing import Any

import pydantic
import pytest

from appliance.mdm import cluster_shapes, shapes
from tests.fakes import mdm_objects

_SHAPES: dict[str, Any] = {
    "domains": shapes.Domain,
    "fault-sets": shapes.FaultSet,
    "pools": shapes.Pool,
    "sds": shapes.Sds,
    "devices": shapes.Device,
    "sdcs": shapes.Sdc,
    "volumes": shapes.Volume,
    "scrubs": shapes.Scrub,
    "jobs": shapes.Job,
    "events": shapes.Event,
    "tokens": shapes.Token,
    "backups": shapes.Backup,
}


@pytest.mark.parametrize("collection", _SHAPES)
def test_objects_have_the_shapes_of_the_real_mdm(collection: str) -> None:
    adapter = pydantic.TypeAdapter(list[_SHAPES[collection]])  # type: ignore[name-defined]
    adapter.validate_python(mdm_objects.OBJECTS[collection], strict=True)


def test_a_mapping_has_the_shape_of_the_real_mdm() -> None:
    volume, sdc = mdm_objects.OBJECTS["volumes"][0], mdm_objects.OBJECTS["sdcs"][0]
    made = mdm_objects.mapping(volume, sdc, {})
    adapter = pydantic.TypeAdapter(shapes.Mapping)
    adapter.validate_python(made, strict=True)
    adapter.validate_python(made | mdm_objects.attached(made), strict=True)


def test_a_recovery_has_the_shape_of_the_real_mdm() -> None:
    pydantic.TypeAdapter(shapes.Recovery).validate_python(mdm_objects.RECOVERY, strict=True)


def test_the_status_has_the_shape_of_the_real_mdm() -> None:
    pydantic.TypeAdapter(cluster_shapes.Status).validate_python(mdm_objects.STATUS, strict=True)
