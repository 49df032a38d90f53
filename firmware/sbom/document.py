"""The JSON document of a bill of materials: CycloneDX 1.6."""

import hashlib
import json
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion

_UNSET: Final = uuid.UUID(int=0)


def render(subject: Component, components: Iterable[Component], date_s: int) -> str:
    """Write the bill of materials; equal arguments give equal bytes.

    Args:
        subject: the package or image.
        components: what it contains.
        date_s: date of the build, in seconds since 1970.

    Returns:
        JSON text that ends with a newline. The serial number is derived from the rest of the text.
    """
    listed = list(components)
    bom = Bom(components=listed, serial_number=_UNSET)
    bom.metadata.component = subject
    bom.metadata.timestamp = datetime.fromtimestamp(date_s, UTC)
    bom.register_dependency(subject, listed)
    outputter = make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6)
    document = json.loads(outputter.output_as_string())
    digest = hashlib.sha256(json.dumps(document, sort_keys=True).encode()).digest()
    document["serialNumber"] = uuid.UUID(bytes=digest[:16], version=4).urn
    return json.dumps(document, indent=1, sort_keys=True) + "\n"
