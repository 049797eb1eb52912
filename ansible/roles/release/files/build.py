"""Builds a release on the control node: Basalt's wheel and all it needs, in one tar file.

    build.py SOURCE CACHE PYTHON [INDEX_URL]

Its name is that of the sources' content, so nothing is built twice and nothing old is taken for
new. Prints JSON: id, file, built.
"""

import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

_PARTS = ("appliance", "nbd_plugin", "systemd", "pyproject.toml")
_PAGES = ("README.md", "CHANGELOG.md", "LICENSE")
_LEFT_OUT = ("__pycache__", ".egg-info")


def main(source: Path, cache: Path, python: str, index_url: str = "") -> None:
    ident = _ident(source)
    file = cache / f"{ident}.tar"
    if file.is_file():
        print(json.dumps({"id": ident, "file": str(file), "built": False}))
        return
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        Path(folder, "source").mkdir()
        words = [python, "-m", "venv", f"{folder}/venv"]
        subprocess.run(words, check=True, stdout=sys.stderr)
        words = [f"{folder}/venv/bin/pip", "wheel", "--quiet", "--wheel-dir", f"{folder}/wheels"]
        words += ["--index-url", index_url] if index_url else []
        # From a copy: setuptools builds in the source, and takes what an earlier build left.
        for part in _PARTS + _PAGES:
            copy = shutil.copytree if (source / part).is_dir() else shutil.copy
            copy(source / part, Path(folder, "source", part))
        subprocess.run([*words, f"{folder}/source"], check=True, stdout=sys.stderr)
        unfinished = Path(folder, "release.tar")
        with tarfile.open(unfinished, "w") as tar:
            for wheel in sorted(Path(folder, "wheels").iterdir()):
                tar.add(wheel, wheel.name)
        unfinished.rename(file)
    print(json.dumps({"id": ident, "file": str(file), "built": True}))


def _ident(source: Path) -> str:
    """Version and a hash over every file that goes into the wheel."""
    digest = hashlib.sha256()
    for part in _PARTS + _PAGES:
        top = source / part
        for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
            if path.is_file() and not any(word in str(path) for word in _LEFT_OUT):
                digest.update(str(path.relative_to(source)).encode() + b"\0")
                digest.update(hashlib.sha256(path.read_bytes()).digest())
    version = next(
        line.split('"')[1]
        for line in (source / "pyproject.toml").read_text(encoding="utf-8").splitlines()
        if line.startswith("version = ")
    )
    return f"{version}-{digest.hexdigest()[:12]}"


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
