"""List the licences of all locked packages in docs/licences.md, as their own metadata states them; part of `make lock`.

STATED has those of packages for other systems, which are not installed here. A licence that asks for more than a notice
needs a sentence in CONDITIONS.
"""

import argparse
import re
from collections.abc import Iterable
from importlib.metadata import PackageMetadata, PackageNotFoundError, metadata

from locks import FOLDER, read_lock

FILE = FOLDER.parent / "docs" / "licences.md"
STATED = {
    "ansicon": "MPL-2.0",
    "appnope": "BSD-2-Clause",
    "audioop-lts": "PSF-2.0",
    "axe-playwright-python": "MIT AND MPL-2.0",  # the package, and axe-core in it
    "colorama": "BSD-3-Clause",
    "httpx2-jsfetch": "BSD-3-Clause",
    "pywin32": "PSF-2.0 AND LGPL-2.1-or-later AND MIT AND HPND",  # the package, its adodbapi, MAPI stub and Scintilla
}
# Of libraries in their wheels, which the metadata leaves out but the folder licenses/ has.
BUNDLED = {
    "numpy": "GPL-3.0-or-later WITH GCC-exception-3.1",
    "pillow-heif": "GPL-2.0-only AND LGPL-3.0-only",
    "scikit-learn": "GPL-3.0-or-later WITH GCC-exception-3.1",
    "scipy": "GPL-3.0-or-later WITH GCC-exception-3.1",
}
# Names in the free text of older packages, and in classifiers.
IDENTIFIERS = {
    "apache": "Apache-2.0",
    "apache 2.0": "Apache-2.0",
    "apache 2.0 license": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "bsd": "BSD-3-Clause",
    "bsd license": "BSD-3-Clause",
    "3-clause bsd license": "BSD-3-Clause",
    "isc license (iscl)": "ISC",
    "mit license": "MIT",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "mpl": "MPL-2.0",
    "mpl 2.0": "MPL-2.0",
    "python software foundation license": "PSF-2.0",
}
PERMISSIVE = {
    "0BSD", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0",
    "CNRI-Python", "HPND", "ISC", "MIT", "MIT-0", "MIT-CMU", "PSF-2.0", "Unlicense", "Zlib",
}  # fmt: skip
CONDITIONS = {
    "GPL-2.0-only": "x265, an encoder in the wheel of pillow-heif, which reads HEIC photos for a training. Anyone who "
    "passes that wheel on, for example in a container, must do so under the GPL. Serving does not need it.",
    "GPL-3.0-or-later WITH GCC-exception-3.1": "Runtime libraries of GCC in the wheels. The exception leaves programs "
    "that use them free of conditions.",
    "LGPL-3.0-only": "libheif and libde265 in the wheel of pillow-heif. Anyone who passes it on must let others "
    "replace them.",
    "LGPL-2.1-or-later": "Only `adodbapi`, a part of pywin32 that nothing here imports; pywin32 is only installed on "
    "Windows, for agents (MCP). Anyone who passes it on must let others replace that part.",
    "MPL-2.0": "Anyone who passes on a changed file of such a package must publish that file. This project changes "
    "none, and the licence asks nothing of code beside it.",
}


class UnknownLicenceError(ValueError):
    """A package does not state its licence, or states one that nobody has looked at yet."""


def find_licence(name: str) -> str:
    """Return the licence of a package as an SPDX expression.

    Raises:
        UnknownLicenceError: nothing states it.
    """
    try:
        stated = STATED[name] if name in STATED else read_licence(metadata(name))
    except PackageNotFoundError:
        raise UnknownLicenceError(f"{name} is not installed here; look its licence up, and add it to STATED.") from None
    return f"{stated} AND {BUNDLED[name]}" if name in BUNDLED else stated


def read_licence(about: PackageMetadata) -> str:
    """Return the licence in the metadata of a package: an expression, a known name, or its classifiers."""
    if expression := about.get("License-Expression"):
        return str(expression)
    text = str(about.get("License") or "").strip()
    classifiers = [one.split(" :: ")[-1] for one in about.get_all("Classifier", ()) if one.startswith("License ::")]
    for stated in ([text], classifiers):
        found = [one if split_licence(one) <= KNOWN else IDENTIFIERS.get(one.lower(), "") for one in stated]
        if all(found) and found:
            return " AND ".join(sorted(set(found)))
    raise UnknownLicenceError(
        f"{about['Name']} states its licence as {text[:80]!r} and {classifiers}; add it to STATED."
    )


def split_licence(expression: str) -> set[str]:
    """Return the licences in an SPDX expression."""
    return {part.strip(" ()") for part in re.split(r" AND | OR ", expression)}


KNOWN = {*PERMISSIVE, *CONDITIONS}


def find_unknown(expression: str) -> set[str]:
    """Return the licences in an expression that are neither permissive nor explained."""
    return split_licence(expression) - KNOWN


def make_table(names: Iterable[str]) -> str:
    """Return the rows of a table of packages, one for each licence.

    Raises:
        UnknownLicenceError: the licence of a package is unknown, or nobody has looked at it yet.
    """
    rows: dict[str, list[str]] = {}
    for name in sorted(set(names)):
        licence = find_licence(name)
        if unknown := find_unknown(licence):
            raise UnknownLicenceError(f"{name} is under {', '.join(unknown)}: say in CONDITIONS what that asks for.")
        rows.setdefault(licence, []).append(name)
    return "".join(f"| {licence} | {', '.join(found)} |\n" for licence, found in sorted(rows.items()))


def make_document() -> str:
    """Return docs/licences.md."""
    serving = {package.name for package in read_lock("demo")}
    others = {package.name for package in read_lock("all")} - serving
    head = "| licence | packages |\n|---|---|\n"
    conditions = "".join(f"- {licence}: {text}\n" for licence, text in CONDITIONS.items())
    return f"""# Licences of the packages

Written by `make lock`, from the metadata of the packages in `locks/`. Our own code is under Apache-2.0, and each model
under the terms of its data (`spaces/*/model/LICENSE.md`). Of the JavaScript libraries that the static site loads,
onnxruntime-web and client-zip are under MIT, and @huggingface/tokenizers under Apache-2.0.

To serve the gallery:

{head}{make_table(serving)}
To train, test and check, in addition:

{head}{make_table(others)}
torch and torchvision, which the lock leaves out, are under BSD-3-Clause and the licences of what they contain. On
Linux, torch's build for CUDA brings libraries of NVIDIA (`nvidia-*`, `cuda-*`), most of which are not open source:
their own licence agreements apply. Its build for CPUs has none of them, and serving needs neither.

What is asked for beyond a notice:

{conditions}"""


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    FILE.write_text(make_document(), encoding="utf-8", newline="\n")
    print(f"Wrote {FILE.relative_to(FOLDER.parent)}.")
