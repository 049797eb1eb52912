import pytest

from tests import coverage_gate


def summary(lines, covered, branches=0, covered_branches=0):
    return {
        "num_statements": lines,
        "covered_lines": covered,
        "num_branches": branches,
        "covered_branches": covered_branches,
    }


def test_lines_and_branches_of_all_files_of_a_package_count():
    files = {
        "appliance/mdm/app.py": summary(10, 10, 10, 5),
        "appliance/mdm/db/models.py": summary(20, 20),
        "appliance/__init__.py": summary(0, 0),
        "nbd_plugin/plugin.py": summary(4, 1),
    }
    assert coverage_gate.by_package(files) == {"appliance/mdm": 87.5, "nbd_plugin": 25.0}


GOOD = {"appliance/domain": 96.0, "appliance/protocol": 100.0, "nbd_plugin": 97.0}


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({}, []),
        ({"appliance/mdm": 85.0}, []),
        ({"appliance/mdm": 84.9}, ["appliance/mdm is covered to 84.9 %, below 85 %"]),
        ({"nbd_plugin": 95.9}, ["nbd_plugin is covered to 95.9 %, below 96 %"]),
    ],
)
def test_a_package_below_its_limit_is_named(changed, found):
    assert coverage_gate.failures({**GOOD, **changed}) == found


def test_a_package_that_was_not_measured_is_named():
    del (percentages := dict(GOOD))["nbd_plugin"]
    assert coverage_gate.failures(percentages) == ["nbd_plugin was not measured"]
