"""Fetch the JavaScript libraries of spaces/browser, and their licences.

    python -m hub.vendor

They are pinned by version and SHA-256, and never committed. npm fetches them where it is installed, else a public CDN
does: only the hash decides. WebAssembly is stored compressed, as a page downloads it.
"""

import argparse
import gzip
import hashlib
import http.client
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.request
import zlib
from dataclasses import dataclass
from pathlib import Path

from hub.client import PublishError

FOLDER = Path(__file__).resolve().parent.parent / "spaces/browser/vendor"
CDN = "https://cdn.jsdelivr.net/npm"
TIMEOUT = 60  # seconds without an answer
NPM_TIMEOUT = 600  # seconds for a package


@dataclass(frozen=True)
class Library:
    """A file of an npm package, and its SHA-256."""

    package: str
    version: str
    path: str
    sha256: str

    @property
    def name(self) -> str:
        """The names of the package, without its owner, and of the file."""
        return f"{self.package.rsplit('/', maxsplit=1)[-1]}/{self.path.rsplit('/', maxsplit=1)[-1]}"

    @property
    def is_packed(self) -> bool:
        """Whether it is stored compressed."""
        return self.path.endswith(".wasm")

    @property
    def stored_name(self) -> str:
        """The name, and .gz if it is stored compressed."""
        return f"{self.name}.gz" if self.is_packed else self.name

    @property
    def is_licence(self) -> bool:
        """Whether it is the text of the package's licence."""
        return self.path.startswith("LICENSE")


LIBRARIES = tuple(
    Library(*fields)
    for fields in (
        ("onnxruntime-web", "1.30.0", "dist/ort.wasm.min.mjs",
         "219e6a1fc8a9938268d18efca3c91d310bd2f4a59bbd13744df5b2b7fc6cee3b"),
        ("onnxruntime-web", "1.30.0", "dist/ort-wasm-simd-threaded.mjs",
         "e13f7f94fc51b4ca72b12faeb1ee95f4ace6dfbc8939bc718aabdc0a27c4299b"),
        ("onnxruntime-web", "1.30.0", "dist/ort-wasm-simd-threaded.wasm",
         "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2"),
        ("@huggingface/tokenizers", "0.2.0", "dist/tokenizers.min.mjs",
         "258e46332101335ce8d95aed7745b19ac3b46d37f3e159a89cf894c2ea9b1d3a"),
        ("@huggingface/tokenizers", "0.2.0", "LICENSE",
         "c71d239df91726fc519c6eb72d318ec65820627232b2f796219e87dcf35d0ab4"),
        ("client-zip", "2.5.0", "index.js",
         "e3925f8d6cffe101eb1c8f8e0afdd7ce76bfe00d6c316dd64971dbb5e18746d3"),
        ("client-zip", "2.5.0", "LICENSE.txt",
         "83a2636dca08f6f9449270dadebf88b54ff574198057c8764f019e23fd9dc596"),
    )
)  # fmt: skip


def fetch_libraries(folder: Path = FOLDER) -> list[Path]:
    """Fetch the libraries that are missing in a folder, or that differ from their hash; return the paths of all.

    Raises:
        PublishError: one cannot be fetched, or is not the pinned file.
    """
    paths = []
    for library in LIBRARIES:
        path = folder / library.stored_name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not is_pinned(path, library):
            print(f"Fetching {library.package} {library.version}: {library.name}", flush=True)
            part = path.with_name(f"{path.name}.{os.getpid()}")  # another process may read the file meanwhile
            content = fetch(library)
            part.write_bytes(gzip.compress(content, mtime=0) if library.is_packed else content)
            part.replace(path)
        paths.append(path)
    return paths


def is_pinned(path: Path, library: Library) -> bool:
    """Return whether a stored file is there, and the pinned one."""
    try:
        content = path.read_bytes()
        return hash_bytes(gzip.decompress(content) if library.is_packed else content) == library.sha256
    except (OSError, EOFError, zlib.error):
        return False


def fetch(library: Library) -> bytes:
    """Fetch one file with npm, or from the CDN.

    Raises:
        PublishError: it cannot be fetched, or is not the pinned file.
    """
    content = fetch_with_npm(library) or fetch_from_cdn(library)
    if hash_bytes(content) != library.sha256:
        raise PublishError(f"{library.name} is not the pinned file of {library.package} {library.version}; try again.")
    return content


def fetch_with_npm(library: Library) -> bytes | None:
    """Return the file from the package that npm fetches; None without npm, or if it fails."""
    npm = shutil.which("npm")  # on Windows it is npm.cmd
    if not npm:
        return None
    with tempfile.TemporaryDirectory() as folder:
        command = [npm, "pack", "--silent", f"{library.package}@{library.version}"]
        try:
            done = subprocess.run(  # noqa: S603 - no user input
                command, cwd=folder, capture_output=True, check=False, timeout=NPM_TIMEOUT
            )
        except subprocess.TimeoutExpired:
            return None
        found = next(Path(folder).glob("*.tgz"), None)
        if done.returncode or found is None:
            return None
        with tarfile.open(fileobj=io.BytesIO(found.read_bytes())) as archive:
            member = archive.extractfile(f"package/{library.path}")
            return member.read() if member else None


def fetch_from_cdn(library: Library) -> bytes:
    """Return the file from the CDN.

    Raises:
        PublishError: it cannot be fetched.
    """
    try:
        address = f"{CDN}/{library.package}@{library.version}/{library.path}"
        with urllib.request.urlopen(address, timeout=TIMEOUT) as response:  # noqa: S310 - always https
            content: bytes = response.read()
            return content
    except (OSError, http.client.HTTPException) as error:
        raise PublishError(
            f"{library.name} can be fetched neither with npm nor from {CDN} ({error}); install npm, or try again."
        ) from error


def hash_bytes(content: bytes) -> str:
    """Return the SHA-256 of some bytes as 64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    try:
        fetch_libraries()
    except PublishError as error:
        sys.exit(str(error))
