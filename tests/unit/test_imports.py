"""What nbdkit's Python can load: it knows the standard library and python3-libnbd, no .venv."""

import sys

import grimp
import pytest

PURE = ("appliance.common", "appliance.domain", "appliance.protocol", "nbd_plugin")


@pytest.fixture(scope="module")
def graph():
    return grimp.build_graph(
        "appliance", "nbd_plugin", include_external_packages=True, cache_dir=None
    )


@pytest.mark.parametrize("package", PURE)
def test_pure_packages_import_the_standard_library_only(graph, package):
    modules = {package, *graph.find_descendants(package)}
    imported = {
        name.partition(".")[0]
        for module in modules
        for name in graph.find_modules_directly_imported_by(module)
    }
    allowed = {*sys.stdlib_module_names, "appliance"}
    if package == "nbd_plugin":
        allowed |= {"nbd_plugin", "nbd", "nbdkit"}
    assert len(modules) > 1
    assert imported <= allowed
