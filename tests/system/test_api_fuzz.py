"""The archive's API under schemathesis, over the archive's own HTTPS server.

What is asked follows from a number: the same in each `make test`, another in each `make fuzz`.
"""

import itertools
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import psutil
import pyrage
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import positive_data_acceptance

from listener.archive import openapi
from listener.archive.records import RowMac
from listener.archive.store import FileStore
from listener.envelope import format as form
from listener.household import identity
from listener.household.state import HouseholdStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Household
    from tests.system.conftest import Earmark

    Wait = Callable[[Callable[[], object], str], None]

pytestmark = pytest.mark.system

NUMBER = "EARMARK_FUZZ"
"""Of the first round; each after it has the next."""
EXAMPLES = 60
MOST_MORE = 20
WANTED = {"list", "export", "erase", "log", "keys", "retention"}
CLIPS = 40
MOST_GROWN_BYTES = 16 << 20
_BOTH = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
_SETTINGS = settings(
    max_examples=EXAMPLES,
    database=None,
    derandomize=False,  # Hypothesis would in CI, and each round would ask the same
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


class Fuzzed:
    """An archive that is asked, and what it must keep to."""

    def __init__(self, port: int, ca: Path, household: "Household", pid: int) -> None:
        # It knows some refusals by itself, and not 413: any that is written down is one.
        refusals = {"negative_data_rejection": {"expected-statuses": refused()}}
        config = SchemathesisConfig.from_dict({"checks": refusals})
        self.schema = schemathesis.openapi.from_dict(openapi.describe(), config=config)
        self.process = psutil.Process(pid)
        self._base = f"https://localhost:{port}"
        self._household = household
        self._ca = str(ca)
        self._session = requests.Session()
        self.statuses: set[int] = set()
        self.answered: set[str] = set()

    def close(self) -> None:
        self._session.close()

    def send(self, case: Case[Any]) -> Any:  # noqa: ANN401 - schemathesis' own response
        """Ask, and hold the answer against what is written of it."""
        response = case.call(
            base_url=self._base, session=self._session, verify=self._ca, timeout=40
        )
        assert response.status_code < 500 or response.status_code == 503, response.text
        # A schema knows no calendar and no checksum: what fits it may still be no request (422).
        case.validate_response(response, excluded_checks=[positive_data_acceptance])
        self.statuses.add(response.status_code)
        return response

    def go_on(self, asked: dict[str, Any], ticket: dict[str, Any]) -> None:
        """Prove the request, as its owner would, and look at what comes."""
        secret = self._household.identities[asked["owner"]]
        key = pyrage.x25519.Identity.from_str(secret)
        answer = pyrage.decrypt(ticket["challenge"].encode(), [key]).decode()
        operation = self.schema["/v1/tickets/{ticket}"]["POST"]
        case = operation.Case(
            path_parameters={"ticket": ticket["ticket"]}, body=answer, media_type="text/plain"
        )
        if self.send(case).status_code == 200:
            self.answered.add(asked["request"]["op"])


@pytest.fixture
def fuzzed(
    household: "Household",
    home: Path,
    tmp_path: Path,
    earmark: "Earmark",
    free_port: int,
    wait_until: "Wait",
) -> Iterator[Fuzzed]:
    office = HouseholdStore(home, lambda: datetime.now(UTC))
    office.set_up(lambda register: msgspec.structs.replace(register, hosts=("localhost",)))
    certificate, key = office.service(identity.API)
    (tmp_path / "earmark.toml").write_text(
        f'broker.port = 9\n[archive]\nhost = "127.0.0.1"\nport = {free_port}\n'
        f'certificate_file = "{certificate}"\nkey_file = "{key}"\n'
    )
    store = FileStore(home / "archive", row_mac=RowMac.for_key(household.home.archive_key()))
    for seq in range(1, CLIPS + 1):
        data = household.seal(household.header(seq, "ada" if seq % 2 else "bob"))
        store.keep(form.parse_envelope(data), data, 1_795_334_400)
    store.close()
    earmark.start("archive")
    wait_until((home / "archive.sock").exists, "the archive's socket is there")
    made = Fuzzed(free_port, home / "household" / "ca.crt", household, earmark.pid("archive"))
    yield made
    made.close()
    said = earmark.said("archive")
    assert "Traceback" not in said


def described() -> list[tuple[str, str]]:
    paths = openapi.describe()["paths"].items()
    return [(path, method) for path, methods in paths for method in methods]


def refused() -> list[str]:
    """Return every status that is written down and gives nothing."""
    paths = openapi.describe()["paths"]
    answers = [paths[path][method]["responses"] for path, method in described()]
    written = {status for answer in answers for status in answer}
    return sorted(status for status in written if not status.startswith("2"))


def files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.suffix not in {".log", ".sqlite-shm"}}


def bobs(home: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (home / "archive/clips/bob").iterdir()}


def bare(request: dict[str, Any]) -> dict[str, Any]:
    """Leave out what may be left out: with all of it chance hardly ever makes sense."""
    return {key: value for key, value in request.items() if key in {"op", "clip", "recipient"}}


def make_sense(body: dict[str, Any], owner: str, clip: str, *, is_bare: bool) -> None:
    """Ask for what there is: an invented name or id belongs to no owner."""
    body["owner"] = owner
    if is_bare:
        body["request"] = bare(body["request"])
    if body["request"]["op"] == "erase" and is_bare:
        body["request"]["clips"] = [clip]
    if "clip" in body["request"]:
        body["request"]["clip"] = clip


@pytest.mark.timeout(300)
def test_every_response_is_documented_in_the_schema(
    fuzzed: Fuzzed, home: Path, tmp_path: Path
) -> None:
    before, others = files(tmp_path), bobs(home)
    operations = [fuzzed.schema[path][method.upper()] for path, method in described()]
    assert len(operations) == 4
    asked = [
        st.tuples(one.as_strategy(mode), st.just(mode)) for one in operations for mode in _BOTH
    ]

    @_SETTINGS
    @given(
        asked=st.one_of(asked),
        owner=st.sampled_from(["ada", "ada", "nobody"]),
        clip=st.sampled_from(sorted(path.stem for path in before if path.suffix == ".earmark")),
        is_bare=st.sampled_from([True, True, True, False]),
    )
    def ask(
        asked: tuple[Case[Any], GenerationMode], owner: str, clip: str, *, is_bare: bool
    ) -> None:
        case, mode = asked
        if mode is GenerationMode.POSITIVE and isinstance(case.body, dict):
            make_sense(case.body, owner, clip, is_bare=is_bare)
        response = fuzzed.send(case)
        if response.status_code == 201:
            assert isinstance(case.body, dict)
            fuzzed.go_on(case.body, response.json())

    numbers = itertools.count(int(os.environ.get(NUMBER, "0")))

    def fuzz() -> None:
        seed(next(numbers))(ask)()

    fuzz()  # what is loaded late is loaded now
    memory_bytes, descriptors = fuzzed.process.memory_info().rss, fuzzed.process.num_fds()
    for _ in range(5):
        fuzz()

    for _ in range(MOST_MORE):  # what chance asks for differs; each kind comes through in the end
        if fuzzed.answered >= WANTED:
            break
        fuzz()

    assert fuzzed.process.is_running()
    assert fuzzed.process.memory_info().rss - memory_bytes < MOST_GROWN_BYTES
    assert fuzzed.process.num_fds() <= descriptors + 4
    assert files(tmp_path) <= before, "nothing was written that was not there"
    assert bobs(home) == others, "what was never asked for is untouched"
    assert fuzzed.statuses >= {200, 201, 404, 422}
    assert fuzzed.answered >= WANTED
