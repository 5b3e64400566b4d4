"""Write the locks again, with the newest versions that pyproject.toml and the Spaces allow: make lock.

Each lock is a whole environment. pip installs it with --no-deps, and refuses a file whose hash is not in it:

    demo    to serve the gallery; also for its container and, without hashes, for Spaces
    test    to run the tests that need neither torch nor a browser
    check   to lint, and to check types, licences and known vulnerabilities
    all     to train, and to run all tests

Left out of `all` are torch, torchvision and what only torch's build for CUDA needs. There are several builds of them
with the same version, for CPUs and for each version of CUDA, from different registries. Which one is right depends on
the machine, and so does its hash. `make test-all` installs them last, in the versions of pyproject.toml. pip itself is
left out, too: every environment has one.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from locks import FOLDER, parse_lock

ROOT = FOLDER.parent
EXTRAS = {
    "all": ("training", "deploy", "mcp", "scale", "test", "browser", "docs", "notebooks", "check"),
    "demo": ("deploy",),
    "test": ("deploy", "test"),
    "check": ("deploy", "check"),
}
HEADER = "# By `make lock`; see locks/refresh.py. Install it with: pip install --require-hashes --no-deps -r {path}\n"
OUR_FILES = re.compile(r"^ +#   -[cr] .*\n| -r \S+wanted\.txt$", re.MULTILINE)  # among what needs a package
LEFT_OUT = re.compile(r"torch|torchvision|triton|(nvidia|cuda)-[\w-]+|pip")


def make_lock(name: str, before: str) -> str:
    """Return the text of a lock.

    Args:
        name: its name.
        before: the text of a lock whose versions this one shall have, or "".
    """
    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder) / "constraints.txt"
        constraints.write_text(before, encoding="utf-8")
        wanted = Path(folder) / "wanted.txt"
        wanted.write_text("setuptools>=77\n", encoding="utf-8")  # builds the project itself
        command = [
            sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.11",
            "--generate-hashes", "--no-header", "--only-binary", ":all:", "--constraints", str(constraints),
            *(word for extra in EXTRAS[name] for word in ("--extra", extra)),
            str(wanted), "spaces/gallery/requirements.txt", "pyproject.toml",
        ]  # fmt: skip
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, encoding="utf-8", check=True)
    return OUR_FILES.sub("", done.stdout)


def main() -> None:
    """Write all locks."""
    before = ""
    for name in EXTRAS:
        text = make_lock(name, before)
        before = before or text
        kept = [package.text for package in parse_lock(text) if not LEFT_OUT.fullmatch(package.name)]
        path = FOLDER / f"{name}.txt"
        path.write_text(HEADER.format(path=f"locks/{name}.txt") + "".join(kept), encoding="utf-8", newline="\n")
        print(f"locks/{name}.txt has {len(kept)} packages.")


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    main()
