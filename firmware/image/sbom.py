"""What is in an image, as CycloneDX 1.5: each Debian package and each Python distribution."""

import hashlib
import json
import uuid
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from email.parser import HeaderParser
from urllib.parse import quote

Component = dict[str, object]


def document(name: str, version: str, components: Iterable[Component], date_s: int) -> str:
    """Return the bill of materials; the same for the same words.

    Args:
        name: of the image.
        version: of Earmark in it.
        components: from ``debian`` and ``python``.
        date_s: when it was made, in seconds since 1970.
    """
    listed = sorted(components, key=lambda one: str(one["bom-ref"]))
    digest = hashlib.sha256(json.dumps(listed, sort_keys=True).encode()).digest()
    return json.dumps(
        {
            "bomFormat": "CycloneDX",
            "specVersion": "1.5",
            "serialNumber": f"urn:uuid:{uuid.UUID(bytes=digest[:16], version=4)}",
            "version": 1,
            "metadata": {
                "timestamp": datetime.fromtimestamp(date_s, UTC).isoformat(),
                "component": {"type": "firmware", "name": name, "version": version},
            },
            "components": listed,
        },
        indent=1,
    )


def debian(status: str) -> Iterator[Component]:
    """Yield the packages of dpkg's status file that are installed."""
    for paragraph in status.split("\n\n"):
        fields = HeaderParser().parsestr(paragraph)
        if fields.get("Status") != "install ok installed":
            continue
        name, version = fields["Package"], fields["Version"]
        where = "debian" if name != "earmark" else "earmark"
        purl = (
            f"pkg:deb/{where}/{quote(name)}@{quote(version, safe='')}?arch={fields['Architecture']}"
        )
        source = (fields.get("Source") or name).split(" ")[0]
        yield _component(name, version, purl, {"debian:source": source})


def python(metadata: Iterable[str]) -> Iterator[Component]:
    """Yield the distributions whose METADATA files these are."""
    for text in metadata:
        fields = HeaderParser().parsestr(text)
        name, version = fields["Name"], fields["Version"]
        purl = f"pkg:pypi/{quote(name.lower().replace('_', '-'))}@{quote(version, safe='')}"
        licence = fields.get("License-Expression") or ""
        yield _component(name, version, purl, {"python:licence": licence} if licence else {})


def _component(name: str, version: str, purl: str, about: Mapping[str, str]) -> Component:
    return {
        "type": "library",
        "bom-ref": purl,
        "name": name,
        "version": version,
        "purl": purl,
        "properties": [{"name": key, "value": value} for key, value in sorted(about.items())],
    }
