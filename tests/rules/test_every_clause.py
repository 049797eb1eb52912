"""Each clause has a test, and the table in README.md says which."""

import importlib.util
from pathlib import Path

from tests.rules import clauses

_HERE = Path(__file__).parent


def _shown() -> dict[str, tuple[str, str]]:
    """By clause: (where its test is, what it says without the clause)."""
    found: dict[str, tuple[str, str]] = {}
    for file in sorted(_HERE.glob("test_r*.py")):
        spec = importlib.util.spec_from_file_location(f"looked_at_{file.stem}", file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        for name, test in vars(module).items():
            text = getattr(test, "clause", None)
            if name.startswith("test_") and text is not None:
                assert text not in found, text
                found[text] = (f"{file.name}: {name}", test.without)
    return found


def test_each_clause_has_its_test_and_each_test_its_clause():
    assert sorted(_shown()) == sorted(clauses.CLAUSES)


def test_the_table_is_true():
    shown = _shown()
    rows = [f"| {text} | `{shown[text][0]}` | {shown[text][1]} |" for text in clauses.CLAUSES]
    assert "\n".join(rows) in (_HERE / "README.md").read_text(encoding="utf-8")
