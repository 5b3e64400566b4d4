"""Write what the gallery is served with as an SBOM in CycloneDX's JSON: python -m locks.sbom FILE."""

import sys
from collections.abc import Sequence
from pathlib import Path

from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import LicenseExpression
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from locks import Locked, read_lock
from locks.licences import find_licence
from shared import __version__


def make_component(package: Locked) -> Component:
    """Return a package with its licence, and the hashes of all files that the lock allows, for all systems."""
    return Component(
        type=ComponentType.LIBRARY,
        name=package.name,
        version=package.version,
        bom_ref=f"{package.name}=={package.version}",
        purl=PackageURL("pypi", version=package.version, name=package.name),
        licenses=[LicenseExpression(find_licence(package.name))],
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=one) for one in package.hashes],
    )


def make_sbom() -> str:
    """Return the SBOM of the demo's lock as JSON."""
    bom, packages = Bom(), read_lock("demo")
    gallery = Component(
        type=ComponentType.APPLICATION,
        name="model-gallery",
        version=__version__,
        bom_ref="model-gallery",
        licenses=[LicenseExpression("Apache-2.0")],
    )
    bom.metadata.component = gallery
    components = {package.name: make_component(package) for package in packages}
    for component in components.values():
        bom.components.add(component)
    for package in packages:
        for name in package.needed_by & components.keys():
            bom.register_dependency(components[name], [components[package.name]])
        if not package.needed_by & components.keys():
            bom.register_dependency(gallery, [components[package.name]])
    return str(JsonV1Dot6(bom).output_as_string(indent=2))


def main(argv: Sequence[str]) -> None:
    """Write the SBOM to the file in `argv`."""
    path = Path(argv[0])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{make_sbom()}\n", encoding="utf-8", newline="\n")
    print(f"Wrote {path}.")


if __name__ == "__main__":
    main(sys.argv[1:])
