"""What all tests share: Hypothesis without timed assertions, and the slowest first."""

import hypothesis
import pytest

hypothesis.settings.register_profile("basalt", deadline=None, print_blob=True)
hypothesis.settings.load_profile("basalt")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The slow ones first, so that none of them is left over for one core at the end."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
