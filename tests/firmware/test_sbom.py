import json

from firmware.image import sbom

STATUS = """Package: adduser
Status: install ok installed
Architecture: all
Version: 3.152

Package: gone
Status: deinstall ok config-files
Architecture: arm64
Version: 1

Package: libssl3t64
Status: install ok installed
Architecture: arm64
Source: openssl (3.5.1-1)
Version: 3.5.1-1+deb13u1
"""
METADATA = "Metadata-Version: 2.4\nName: paho-mqtt\nVersion: 2.1.0\nLicense-Expression: EPL-2.0\n\n"


def made() -> str:
    return sbom.document(
        "image", "1.0", [*sbom.python([METADATA]), *sbom.debian(STATUS)], 1_795_305_600
    )


def test_installed_packages_are_listed_with_their_source() -> None:
    components = {one["name"]: one for one in json.loads(made())["components"]}

    assert set(components) == {"adduser", "libssl3t64", "paho-mqtt"}
    assert components["libssl3t64"]["purl"] == (
        "pkg:deb/debian/libssl3t64@3.5.1-1%2Bdeb13u1?arch=arm64"
    )
    assert {"name": "debian:source", "value": "openssl"} in components["libssl3t64"]["properties"]
    assert components["paho-mqtt"]["purl"] == "pkg:pypi/paho-mqtt@2.1.0"


def test_the_same_content_makes_the_same_document() -> None:
    assert made() == made()
    assert json.loads(made())["metadata"]["timestamp"] == "2026-11-22T00:00:00+00:00"
