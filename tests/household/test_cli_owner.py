import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pyrage
import pytest

from listener.cli import main
from listener.storage.home import Home

Earmark = Callable[..., tuple[int, str, str]]


@pytest.fixture
def ada() -> pyrage.x25519.Identity:
    return pyrage.x25519.Identity.generate()


if TYPE_CHECKING:
    from tests.conftest import Household


def test_add_challenge_confirm_activates_an_owner(
    earmark: Earmark, home: Path, ada: pyrage.x25519.Identity
) -> None:
    added = earmark("owner", "add", "ada", "--key", str(ada.to_public()))
    challenge = earmark("owner", "challenge", "ada")
    before = Home(home).roster().active_owners()
    answer = pyrage.decrypt(challenge[1].encode(), [ada]).decode()
    confirmed = earmark("owner", "confirm", "ada", answer)

    assert [added[0], challenge[0], confirmed[0]] == [0, 0, 0]
    assert before == {}
    assert Home(home).roster().active_owners() == {"ada": str(ada.to_public())}
    assert answer.startswith("ada:")


def test_add_shows_the_fingerprint_and_the_next_step(
    earmark: Earmark, home: Path, ada: pyrage.x25519.Identity
) -> None:
    code, out, _ = earmark("owner", "add", "ada", "--key", str(ada.to_public()))

    owner = Home(home).roster().owner("ada")
    assert code == 0
    assert owner is not None
    assert owner.okey in out
    assert "earmark owner challenge ada | age -d -i ada.key" in out


def test_challenge_is_the_only_standard_output(
    earmark: Earmark, ada: pyrage.x25519.Identity
) -> None:
    earmark("owner", "add", "ada", "--key", str(ada.to_public()))

    _, out, err = earmark("owner", "challenge", "ada")

    assert out.startswith("-----BEGIN AGE ENCRYPTED FILE-----\n")
    assert out.endswith("-----END AGE ENCRYPTED FILE-----\n")
    assert "24 hours" in err


def test_wrong_answer_exits_with_1(earmark: Earmark, ada: pyrage.x25519.Identity) -> None:
    earmark("owner", "add", "ada", "--key", str(ada.to_public()))
    earmark("owner", "challenge", "ada")

    code, out, err = earmark("owner", "confirm", "ada", "ada:aaaa")

    assert (code, out) == (1, "")
    assert "earmark: error: this is not the answer" in err
    assert "earmark: hint: " in err


def test_adding_an_active_owner_again_says_so(
    earmark: Earmark, ada: pyrage.x25519.Identity
) -> None:
    key = str(ada.to_public())
    earmark("owner", "add", "ada", "--key", key)
    challenge = earmark("owner", "challenge", "ada")[1]
    earmark("owner", "confirm", "ada", pyrage.decrypt(challenge.encode(), [ada]).decode())

    code, out, _ = earmark("owner", "add", "ada", "--key", key)

    assert code == 0
    assert "active already" in out


def test_list_shows_each_owners_state(earmark: Earmark, ada: pyrage.x25519.Identity) -> None:
    bob = pyrage.x25519.Identity.generate()
    earmark("owner", "add", "ada", "--key", str(ada.to_public()))
    challenge = earmark("owner", "challenge", "ada")[1]
    earmark("owner", "confirm", "ada", pyrage.decrypt(challenge.encode(), [ada]).decode())
    earmark("owner", "add", "bob", "--key", str(bob.to_public()))
    earmark("owner", "add", "cleo", "--key", str(pyrage.x25519.Identity.generate().to_public()))
    earmark("owner", "challenge", "cleo")

    people = earmark("owner", "list")[1]
    objects = [json.loads(line) for line in earmark("owner", "list", "--json")[1].splitlines()]

    assert [line.split(maxsplit=2)[2] for line in people.splitlines()] == [
        "active",
        "not confirmed",
        "challenged",
    ]
    assert [(told["owner"], told["active"], told["challenged"]) for told in objects] == [
        ("ada", True, False),
        ("bob", False, False),
        ("cleo", False, True),
    ]
    assert objects[0]["recipient"] == str(ada.to_public())


def test_empty_list_shows_a_hint(earmark: Earmark) -> None:
    assert "earmark owner --help" in earmark("owner", "list")[1]
    assert earmark("owner", "list", "--json") == (0, "", "")


def test_forget_prints_what_remains(
    earmark: Earmark, home: Path, tmp_path: Path, ada: pyrage.x25519.Identity
) -> None:
    settings = tmp_path / "earmark.toml"
    settings.write_text('[attribution]\nkeeper = "ada"\n')
    earmark("owner", "add", "ada", "--key", str(ada.to_public()))

    code, out, _ = earmark("owner", "forget", "ada", "--config", str(settings))

    assert code == 0
    assert "stay in the archive" in out
    assert "keeper of this device" in out
    assert Home(home).roster().owners == ()
    assert earmark("owner", "forget", "ada")[0] == 2


def test_forget_of_another_owner_does_not_mention_the_keeper(
    earmark: Earmark, ada: pyrage.x25519.Identity
) -> None:
    earmark("owner", "add", "ada", "--key", str(ada.to_public()))

    assert "keeper" not in earmark("owner", "forget", "ada")[1]


def test_secret_key_on_the_command_line_is_not_printed(
    earmark: Earmark, ada: pyrage.x25519.Identity
) -> None:
    code, out, err = earmark("owner", "add", "ada", "--key", str(ada))

    assert code == 78
    assert "secret key" in err
    assert str(ada) not in out + err


def test_help_shows_the_whole_procedure(
    earmark: Earmark, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = earmark("owner", "--help")
    assert code == 0
    for step in ("age-keygen -o", "owner add", "owner challenge", "age -d -i", "owner confirm"):
        assert step in out
    assert earmark("owner")[0] == 2
    assert capsys.readouterr().err == ""


def read(challenge: str, identity: pyrage.x25519.Identity) -> str:
    return bytes(pyrage.decrypt(challenge.encode(), [identity])).decode().strip()


def test_new_key_replaces_the_old_after_both_are_confirmed(
    home: Path, household: "Household", capsys: pytest.CaptureFixture[str]
) -> None:
    old = pyrage.x25519.Identity.from_str(household.identities["ada"])
    new = pyrage.x25519.Identity.generate()
    where = ("--home", str(home))
    assert main.main(["owner", "new-key", "ada", "--key", str(new.to_public()), *where]) == 0
    assert Home(home).roster().active_owners()["ada"] == str(old.to_public())
    capsys.readouterr()

    assert main.main(["owner", "challenge", "ada", *where]) == 0
    end = "-----END AGE ENCRYPTED FILE-----\n"
    first, second, rest = capsys.readouterr().out.split(end)
    assert rest == ""
    answers = [read(first + end, old), read(second + end, new)]
    assert main.main(["owner", "confirm", "ada", answers[1], *where]) == 1
    assert main.main(["owner", "confirm", "ada", *answers, *where]) == 0

    roster = Home(home).roster()
    assert roster.active_owners()["ada"] == str(new.to_public())
    assert roster.owner_keys()["ada"] == (str(new.to_public()), str(old.to_public()))


def test_challenge_present_needs_only_the_new_key(
    home: Path, household: "Household", capsys: pytest.CaptureFixture[str]
) -> None:
    del household
    new = pyrage.x25519.Identity.generate()
    where = ("--home", str(home))
    main.main(["owner", "new-key", "ada", "--key", str(new.to_public()), *where])
    capsys.readouterr()

    assert main.main(["owner", "challenge", "ada", "--present", *where]) == 0
    answer = read(capsys.readouterr().out, new)
    assert main.main(["owner", "confirm", "ada", answer, *where]) == 0

    assert Home(home).roster().active_owners()["ada"] == str(new.to_public())
