"""Look for known vulnerabilities in the locked packages, with pip-audit and the data of OSV; part of `make check`."""

import contextlib
import json
import subprocess
import sys
import tempfile
import threading
import tomllib
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from locks import FOLDER, read_lock

SERVICE = "https://api.osv.dev"
PATIENCE = 3.0  # seconds to wait for the service


def is_reachable(address: str) -> bool:
    """Return True if a server answers, whatever it says."""
    answered = threading.Event()

    def ask() -> None:
        with contextlib.suppress(OSError):
            with contextlib.suppress(urllib.error.HTTPError):
                urllib.request.urlopen(address, timeout=PATIENCE).close()  # noqa: S310 - always https, but in tests
            answered.set()

    threading.Thread(target=ask, daemon=True).start()
    return answered.wait(PATIENCE)  # looking up the name may take longer


def list_requirements() -> list[str]:
    """Return all pinned packages: those of the lock, and what it leaves out."""
    project = tomllib.loads((FOLDER.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    torch = [line for line in project["optional-dependencies"]["training"] if line.startswith("torch")]
    return [*(package.requirement for package in read_lock("all")), *torch]


def find_vulnerable(report: dict[str, Any]) -> list[str]:
    """Return a line for each vulnerability in a report of pip-audit."""
    return [
        f"{package['name']} {package['version']}: {entry['id']}, fixed in "
        f"{' or '.join(entry['fix_versions']) or 'no version'}"
        for package in report["dependencies"]
        for entry in package.get("vulns", ())
    ]


def main() -> int:
    """Print what is known; return 1 if anything is, and 0 also if nothing could be asked."""
    if not is_reachable(SERVICE):
        print(f"pip-audit is skipped: {SERVICE} cannot be reached from here.")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        wanted, report = Path(folder) / "requirements.txt", Path(folder) / "report.json"
        wanted.write_text("\n".join(list_requirements()), encoding="utf-8")
        command = [
            sys.executable, "-m", "pip_audit", "--requirement", str(wanted), "--no-deps", "--disable-pip",
            "--vulnerability-service", "osv", "--progress-spinner", "off", "--format", "json", "--output", str(report),
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
        if not report.is_file():
            print(f"pip-audit is skipped, because it failed: {done.stderr.strip()[-300:]}")
            return 0
        found = find_vulnerable(json.loads(report.read_text(encoding="utf-8")))
    print("\n".join(found) or "No locked package has a known vulnerability.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
