"""Components of a bill of materials: Debian packages, Python distributions, wheels and models."""

import hashlib
import tomllib
import zipfile
from collections.abc import Iterable, Iterator
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path
from typing import Final

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import License
from packageurl import PackageURL

from firmware.programs import BuildError

MODELS: Final = "earmark_models/"
"""Folder of the model manifests in Earmark's wheel."""
_LICENCE_CLASSIFIER: Final = "License :: "
_LONGEST_LICENCE: Final = 64
"""A longer field ``License`` holds the text of a licence, and not its name."""


def subject(kind: ComponentType, name: str, version: str, file: Path | None = None) -> Component:
    """Describe the subject of a bill of materials.

    Args:
        kind: application or firmware.
        name: of the package or image.
        version: of Earmark.
        file: the package, whose hash is recorded.
    """
    return Component(
        type=kind,
        name=name,
        version=version,
        bom_ref=f"{name}@{version}",
        hashes=[] if file is None else [_sha256(hashlib.sha256(file.read_bytes()).hexdigest())],
    )


def debian(status: str) -> Iterator[Component]:
    """Yield the packages that are installed according to dpkg's status file."""
    for paragraph in status.split("\n\n"):
        fields = HeaderParser().parsestr(paragraph)
        if fields.get("Status") != "install ok installed":
            continue
        name, version = fields["Package"], fields["Version"]
        vendor = "debian" if name != "earmark" else "earmark"
        purl = PackageURL("deb", vendor, name, version, {"arch": fields["Architecture"]})
        source = (fields.get("Source") or name).split(" ")[0]
        yield _library(purl, properties=[Property(name="debian:source", value=source)])


def python(metadata: Iterable[str]) -> Iterator[Component]:
    """Yield the distributions that METADATA files describe (PyPA core metadata 2.4)."""
    for text in metadata:
        fields = HeaderParser().parsestr(text)
        yield _library(_pypi(fields), licenses=_licences(fields))


def wheel(file: Path) -> Component:
    """Describe a wheel: name, version, licence and SHA-256.

    Raises:
        BuildError: the file has no METADATA.
    """
    with zipfile.ZipFile(file) as archive:
        names = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        if len(names) != 1:
            raise BuildError(f"{file.name} is not a wheel: it has {len(names)} METADATA files")
        fields = HeaderParser().parsestr(archive.read(names[0]).decode("utf-8", "replace"))
    return _library(
        _pypi(fields, file.name),
        hashes=[_sha256(hashlib.sha256(file.read_bytes()).hexdigest())],
        licenses=_licences(fields),
    )


def models(own_wheel: Path) -> Iterator[Component]:
    """Yield each model that a manifest in Earmark's own wheel describes, with its files."""
    with zipfile.ZipFile(own_wheel) as archive:
        for name in sorted(archive.namelist()):
            if name.startswith(MODELS) and name.endswith("/manifest.toml"):
                yield _model(archive.read(name).decode("utf-8"))


def _model(manifest: str) -> Component:
    table = tomllib.loads(manifest)
    package = table.get("package", {"name": "earmark", "version": ""})
    name, version = table["name"], package["version"] or None
    return Component(
        type=ComponentType.MACHINE_LEARNING_MODEL,
        name=name,
        version=version,
        bom_ref=f"model:{name}",
        description=table["origin"],
        licenses=[LicenseFactory().make_from_string(table["licence"])],
        properties=[Property(name="earmark:package", value=package["name"])],
        components=[
            Component(
                type=ComponentType.FILE,
                name=file["path"],
                bom_ref=f"model:{name}/{file['path']}",
                hashes=[_sha256(file["sha256"])],
            )
            for file in table["files"]
        ],
    )


def _library(
    purl: PackageURL,
    *,
    hashes: Iterable[HashType] = (),
    licenses: Iterable[License] = (),
    properties: Iterable[Property] = (),
) -> Component:
    return Component(
        type=ComponentType.LIBRARY,
        name=purl.name,
        version=purl.version,
        bom_ref=purl.to_string(),
        purl=purl,
        hashes=hashes,
        licenses=licenses,
        properties=properties,
    )


def _pypi(fields: Message, file_name: str = "") -> PackageURL:
    name = fields["Name"].lower().replace("_", "-")
    qualifiers = {"file_name": file_name} if file_name else None
    return PackageURL("pypi", None, name, fields["Version"], qualifiers)


def _licences(fields: Message) -> list[License]:
    """Return the licence as an SPDX expression or identifier where the metadata has one."""
    stated = fields.get("License-Expression") or fields.get("License") or ""
    if stated and stated != "UNKNOWN" and len(stated) <= _LONGEST_LICENCE and "\n" not in stated:
        return [LicenseFactory().make_from_string(stated)]
    classifiers = fields.get_all("Classifier") or []
    names = [
        classifier.rpartition(" :: ")[2]
        for classifier in classifiers
        if classifier.startswith(_LICENCE_CLASSIFIER)
    ]
    return [LicenseFactory().make_with_name(name) for name in sorted(set(names))]


def _sha256(digest: str) -> HashType:
    return HashType(alg=HashAlgorithm.SHA_256, content=digest)
