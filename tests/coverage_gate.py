"""Prints branch coverage of every package and fails where it is below what is promised.

Called by `make test` after the tests; reads the data files that all processes left.
"""

import json
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import coverage

ROOT = Path(__file__).parents[1]

#: Least percentage of lines and branches together, by package.
STRICT = dict.fromkeys(("appliance/domain", "appliance/protocol", "nbd_plugin"), 96.0)
OTHERS = 85.0


def measured(config: Path, data_file: Path) -> dict[str, dict]:
    """coverage.py's summary of each file, its path relative to the root."""
    cov = coverage.Coverage(config_file=str(config), data_file=str(data_file))
    cov.combine()
    cov.save()
    cov.report(show_missing=True, skip_covered=True)
    with tempfile.NamedTemporaryFile(suffix=".json") as report:
        cov.json_report(outfile=report.name)
        files = json.load(report)["files"]
    return {
        Path(name).resolve().relative_to(ROOT).as_posix(): of["summary"]
        for name, of in files.items()
    }


def by_package(files: dict[str, dict]) -> dict[str, float]:
    """Percentage by package: ``appliance/<name>`` or ``nbd_plugin``, with all below it."""
    done: dict[str, int] = defaultdict(int)
    all_: dict[str, int] = defaultdict(int)
    for name, summary in files.items():
        parts = Path(name).parts
        package = "/".join(parts[:2]) if parts[0] == "appliance" and len(parts) > 2 else parts[0]
        done[package] += summary["covered_lines"] + summary["covered_branches"]
        all_[package] += summary["num_statements"] + summary["num_branches"]
    return {package: 100.0 * done[package] / count for package, count in all_.items() if count}


def failures(percentages: dict[str, float]) -> list[str]:
    """A sentence for each package that is below its limit, or was not measured at all."""
    found = [f"{package} was not measured" for package in STRICT if package not in percentages]
    for package, percentage in sorted(percentages.items()):
        limit = STRICT.get(package, OTHERS)
        if percentage < limit:
            found.append(f"{package} is covered to {percentage:.1f} %, below {limit:.0f} %")
    return found


def main() -> int:
    files = measured(ROOT / "pyproject.toml", Path(sys.argv[1]))
    percentages = by_package(files)
    print("\nbranch coverage, all processes:")
    for package, percentage in sorted(percentages.items()):
        print(f"  {package:<24} {percentage:6.1f} %  (at least {STRICT.get(package, OTHERS):.0f})")
    found = failures(percentages)
    for sentence in found:
        print(f"coverage: {sentence}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
