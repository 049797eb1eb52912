"""What people send is taken exactly as written, or refused with a sentence."""

import pydantic
import pytest

from appliance.common import units
from appliance.mdm import bodies


@pytest.mark.parametrize("name", ["a", "A-1_b.c", "x" * 63, "0123456789abcdeg", "0123456789abcde"])
def test_names(name):
    assert bodies.name(name) == name


@pytest.mark.parametrize(
    "name", ["", "-a", ".", "a b", "a/b", "x" * 64, "ü", "a\n", "a~b", "0" * 16]
)
def test_no_names(name):
    with pytest.raises(ValueError, match="name"):
        bodies.name(name)


@pytest.mark.parametrize(
    "path", ["/srv", "/dev/shm/x", "/srv/a b", "/media/ü", "/devices", "/runs"]
)
def test_paths(path):
    assert bodies.path(path) == path


@pytest.mark.parametrize(
    "path",
    [
        "",
        "srv",
        "//srv",
        "/",
        "/srv/",
        "/srv//a",
        "/srv/./a",
        "/srv/..",
        "/../srv",
        "/a\nb",
        "/a\0",
    ],
)
def test_paths_that_could_mean_another_place(path):
    with pytest.raises(ValueError, match=r"absolute|write it without|belongs to the system"):
        bodies.path(path)


@pytest.mark.parametrize(
    "path", ["/dev", "/dev/sda", "/dev/shm", "/etc/x", "/proc", "/sys/x", "/run/x", "/usr/share"]
)
def test_paths_of_the_system(path):
    with pytest.raises(ValueError, match="belongs to the system"):
        bodies.path(path)


@pytest.mark.parametrize("size", [units.MIB, 7 * units.MIB, units.MAX_VOLUME_BYTES])
def test_sizes(size):
    assert bodies.NewVolume(name="v", size_bytes=size).size_bytes == size


@pytest.mark.parametrize(
    "size", [0, 1, -units.MIB, units.MIB + 1, units.MAX_VOLUME_BYTES + units.MIB, True, "1", 1.0]
)
def test_no_sizes(size):
    with pytest.raises(pydantic.ValidationError):
        bodies.NewVolume(name="v", size_bytes=size)


def test_a_change_changes_something():
    assert bodies.VolumeChange(shareable=False).wanted() == {"shareable": False}
    with pytest.raises(pydantic.ValidationError, match="nothing to change is given"):
        bodies.VolumeChange(name=None)
