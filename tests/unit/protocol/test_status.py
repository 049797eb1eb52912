import errno

import pytest

from appliance.common import errors
from appliance.protocol import status


@pytest.mark.parametrize(
    ("cls", "http", "exit_", "number"),
    [
        (errors.Invalid, 400, 2, errno.EINVAL),
        (errors.TooLarge, 413, 2, errno.E2BIG),
        (errors.Unauthenticated, 401, 6, errno.EACCES),
        (errors.Forbidden, 403, 6, errno.EPERM),
        (errors.NotFound, 404, 3, errno.ENOENT),
        (errors.Conflict, 409, 4, errno.EBUSY),
        (errors.AlreadyExists, 409, 4, errno.EBUSY),
        (errors.InUse, 409, 4, errno.EBUSY),
        (errors.StaleOrder, 409, 4, errno.EBUSY),
        (errors.NoCapacity, 409, 4, errno.ENOSPC),
        (errors.Unavailable, 503, 5, errno.EAGAIN),
        (errors.Unreachable, 503, 5, errno.ENOTCONN),
        (errors.BadConfig, 500, 2, errno.EINVAL),
        (errors.Damaged, 500, 7, errno.EIO),
        (errors.DeviceFailed, 500, 5, errno.EIO),
        (errors.BasaltError, 500, 1, errno.EIO),
        (errors.RequestError, 500, 1, errno.EIO),
        (KeyError, 500, 1, errno.EIO),
    ],
)
def test_what_an_error_means_at_each_border(cls, http, exit_, number):
    assert status.meaning(cls) == status.Meaning(http, exit_, number)


def test_an_instance_means_what_its_class_means():
    full = errors.NoCapacity(why="full")
    assert status.meaning(full) == status.meaning(errors.NoCapacity)
    assert status.meaning(ZeroDivisionError()).http == 500


def test_no_error_means_success():
    classes = set(status.by_code().values())
    assert all(status.meaning(cls).http >= 400 for cls in classes)
    assert all(status.meaning(cls).exit != 0 for cls in classes)
    assert all(status.meaning(cls).errno != 0 for cls in classes)


def test_a_code_leads_back_to_its_class():
    by_code = status.by_code()
    for cls in (errors.InUse, errors.NoCapacity, errors.Unreachable, errors.Damaged):
        assert by_code[cls.code] is cls
    assert by_code["internal"] is errors.BasaltError
    assert "nonsense" not in by_code
