"""Bills of materials: valid CycloneDX 1.6, the same bytes from the same package."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.model.component import ComponentType
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from firmware import wheels
from firmware.deb import __main__ as deb
from firmware.programs import BuildError
from firmware.sbom import __main__ as sbom
from firmware.sbom import components, document
from firmware.wheels import ROOT, Pin
from tests.firmware.packages import DATE_S, small_wheel

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
OWN_METADATA = (
    "Metadata-Version: 2.4\nName: earmark\nVersion: 0.1.0\nLicense-Expression: Apache-2.0\n\n"
)


def made() -> str:
    image = components.subject(ComponentType.FIRMWARE, "image", "1.0")
    listed = [*components.python([METADATA]), *components.debian(STATUS)]
    return document.render(image, listed, 1_795_305_600)


def assert_valid(text: str) -> None:
    """Validate against the schema of CycloneDX 1.6, with no property that it does not define."""
    assert json.loads(text)["specVersion"] == "1.6"
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None


def own_wheel(folder: Path) -> Path:
    """Make a wheel of Earmark that has its metadata and the manifests of its models."""
    wheel = folder / "earmark-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr(zipfile.ZipInfo("earmark-0.1.0.dist-info/METADATA"), OWN_METADATA)
        for manifest in sorted((ROOT / "models").glob("*/manifest.toml")):
            name = f"earmark_models/{manifest.parent.name}/manifest.toml"
            file.writestr(zipfile.ZipInfo(name), manifest.read_bytes())
    return wheel


@pytest.fixture
def contents(tmp_path: Path) -> Path:
    """What a package contains: two wheels, and a lock file that lists them."""
    folder = tmp_path / "contents"
    for name in ("wheels", "lock"):
        (folder / name).mkdir(parents=True)
    files = (own_wheel(folder / "wheels"), small_wheel(folder / "wheels"))
    versions = {"earmark": "0.1.0", "nothing": "1.0"}
    pins = [
        Pin(name, versions[name], wheels.sha256(file))
        for name, file in zip(versions, files, strict=True)
    ]
    (folder / "lock" / "3.13-x86_64.txt").write_text("".join(f"{pin}\n" for pin in pins))
    (folder / "version").write_text("0.1.0\n")
    return folder


def bill_of(package: Path, contents: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(DATE_S))
    package.write_bytes(b"package")
    text = sbom.write(package, contents).read_text("utf-8")
    assert_valid(text)
    found: dict[str, Any] = json.loads(text)
    return found


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


def test_the_document_of_an_image_is_valid() -> None:
    assert_valid(made())


def test_the_validator_refuses_what_the_schema_does_not_define() -> None:
    wrong = json.loads(made()) | {"surprise": 1}

    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(wrong)) is not None


def test_other_content_has_another_serial_number() -> None:
    image = components.subject(ComponentType.FIRMWARE, "image", "1.0")
    other = document.render(image, components.python([METADATA]), 1_795_305_600)

    assert json.loads(other)["serialNumber"] != json.loads(made())["serialNumber"]


def test_every_wheel_is_listed_with_its_hash_and_licence(
    contents: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bill = bill_of(tmp_path / "earmark_0.1.0_amd64.deb", contents, monkeypatch)
    listed = {one["name"]: one for one in bill["components"] if one["type"] == "library"}

    assert set(listed) == {"earmark", "nothing"}
    for name, file in (("earmark", own_wheel(tmp_path)), ("nothing", small_wheel(tmp_path))):
        assert listed[name]["hashes"] == [{"alg": "SHA-256", "content": wheels.sha256(file)}]
        assert listed[name]["purl"].endswith(f"?file_name={file.name}")
    assert listed["earmark"]["licenses"] == [{"license": {"id": "Apache-2.0"}}]
    assert bill["metadata"]["component"]["name"] == "earmark_0.1.0_amd64.deb"
    assert bill["metadata"]["component"]["version"] == "0.1.0"


def test_every_model_is_listed_with_licence_and_hashes(
    contents: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bill = bill_of(tmp_path / "earmark.release", contents, monkeypatch)
    kind = "machine-learning-model"
    listed = {one["name"]: one for one in bill["components"] if one["type"] == kind}

    assert set(listed) == {path.parent.name for path in (ROOT / "models").glob("*/manifest.toml")}
    assert all(len(model["licenses"]) == 1 for model in listed.values())
    assert {"license": {"id": "CC-BY-NC-SA-4.0"}} in listed["alexa"]["licenses"]
    for file in listed["embedding"]["components"]:
        (stated,) = file["hashes"]
        assert stated["content"] == wheels.sha256(ROOT / "models" / "embedding" / file["name"])


def test_the_same_package_gives_the_same_bytes(
    contents: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(DATE_S))
    package = tmp_path / "earmark.release"
    package.write_bytes(b"package")

    first = sbom.write(package, contents).read_bytes()

    assert sbom.write(package, contents).read_bytes() == first


def test_a_package_that_lacks_a_locked_wheel_is_refused(
    contents: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small_wheel(contents / "wheels").unlink()
    package = tmp_path / "earmark.release"
    package.write_bytes(b"package")

    assert sbom.main([str(package), "--contents", str(contents)]) == 1

    assert "lacks nothing 1.0" in capsys.readouterr().err
    assert not list(tmp_path.glob("*.sbom.json"))


def test_a_folder_without_earmark_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="has 0 wheels of Earmark"):
        sbom.read(tmp_path)


@pytest.mark.parametrize(
    ("metadata", "licence"),
    [
        ("License-Expression: MIT OR Apache-2.0", [{"expression": "MIT OR Apache-2.0"}]),
        ("License: MIT", [{"license": {"id": "MIT"}}]),
        (
            "License: UNKNOWN\nClassifier: License :: OSI Approved :: BSD License",
            [{"license": {"name": "BSD License"}}],
        ),
        ("License: " + 65 * "x", None),
        ("", None),
    ],
)
def test_a_licence_is_read_from_the_field_that_states_it(
    metadata: str, licence: list[dict[str, Any]] | None
) -> None:
    text = f"Metadata-Version: 2.4\nName: it\nVersion: 1\n{metadata}\n\n".replace("\n\n\n", "\n\n")
    image = components.subject(ComponentType.FIRMWARE, "image", "1.0")

    written = document.render(image, components.python([text]), DATE_S)

    assert_valid(written)
    assert json.loads(written)["components"][0].get("licenses") == licence


@pytest.mark.system
def test_the_bill_of_a_debian_package_lists_the_wheels_inside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(DATE_S))
    carried = (own_wheel(tmp_path), small_wheel(tmp_path))
    tree = tmp_path / "tree"
    deb.fill(tree, carried, {"3.13-x86_64.txt": [Pin("nothing", "1.0", wheels.sha256(carried[1]))]})
    package = deb.pack(tree, "amd64", tmp_path, DATE_S)

    assert sbom.main([str(package)]) == 0

    text = package.with_name(f"{package.name}.sbom.json").read_text("utf-8")
    assert_valid(text)
    files = {
        one.get("purl", "").partition("file_name=")[2] for one in json.loads(text)["components"]
    }
    assert {file.name for file in carried} <= files
