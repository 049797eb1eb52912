"""What all tests share: Hypothesis without timed assertions."""

import hypothesis

hypothesis.settings.register_profile("basalt", deadline=None, print_blob=True)
hypothesis.settings.load_profile("basalt")
