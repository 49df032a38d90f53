from pathlib import Path

import pytest

from listener.system.sound_cards import SoundCard, capture_cards, other_cards

LISTING = """\
 0 [vc4hdmi        ]: vc4-hdmi - vc4-hdmi
                      vc4-hdmi
 1 [earmark        ]: simple-card - earmark
                      earmark
 2 [Webcam         ]: USB-Audio - HD Webcam C270
                      Logitech HD Webcam C270 at usb-3f980000.usb-1.2, high speed
"""
MEMS = SoundCard(1, "earmark", ("simple-card - earmark", "earmark"))
WEBCAM = SoundCard(
    2,
    "Webcam",
    (
        "USB-Audio - HD Webcam C270",
        "Logitech HD Webcam C270 at usb-3f980000.usb-1.2, high speed",
    ),
)


def machine(root: Path, listing: str = LISTING, *hearing: int) -> Path:
    """A machine with cards; all of them play, and some hear."""
    asound = root / "proc" / "asound"
    for number in range(listing.count("]:")):
        (asound / f"card{number}" / "pcm0p").mkdir(parents=True)
    for number in hearing:
        (asound / f"card{number}" / "pcm0c").mkdir()
    asound.mkdir(parents=True, exist_ok=True)
    (asound / "cards").write_text(listing, "utf-8")
    return root


def test_playback_only_cards_are_left_out(tmp_path: Path) -> None:
    assert capture_cards(machine(tmp_path, LISTING, 1, 2)) == (MEMS, WEBCAM)


@pytest.mark.parametrize("listing", ["--- no soundcards ---\n", "", "\x00nonsense"])
def test_empty_card_list_has_no_cards(tmp_path: Path, listing: str) -> None:
    assert capture_cards(machine(tmp_path, listing)) == ()


def test_machine_without_alsa_has_no_cards(tmp_path: Path) -> None:
    assert capture_cards(tmp_path) == ()


def test_card_that_disappears_during_the_scan_is_left_out(tmp_path: Path) -> None:
    root = machine(tmp_path, LISTING, 1)
    (root / "proc" / "asound" / "card2" / "pcm0p").rmdir()
    (root / "proc" / "asound" / "card2").rmdir()

    assert capture_cards(root) == (MEMS,)


@pytest.mark.parametrize(
    ("wanted", "others"),
    [
        ("earmark_microphone", (WEBCAM,)),
        ("earmark", (WEBCAM,)),
        ("earmark: bcm2835-i2s-adau7002-hifi adau7002-hifi-0 (hw:1,0)", (WEBCAM,)),
        ("hw:2,0", (MEMS,)),
        ("c270", (MEMS,)),
        ("default", (MEMS, WEBCAM)),
        ("1", (MEMS, WEBCAM)),
        ("somebody's", (MEMS, WEBCAM)),
    ],
)
def test_other_cards_excludes_the_configured_card(
    wanted: str, others: tuple[SoundCard, ...]
) -> None:
    assert other_cards((MEMS, WEBCAM), wanted) == others


@pytest.mark.parametrize("wanted", ["default", "0", "webcam", "hw:2,0"])
def test_only_card_is_the_default(wanted: str) -> None:
    assert other_cards((WEBCAM,), wanted) == ()


@pytest.mark.parametrize("wanted", ["earmark_microphone", "earmark", "hw:1,0"])
def test_only_card_is_other_if_another_is_configured(wanted: str) -> None:
    assert other_cards((WEBCAM,), wanted) == (WEBCAM,)


def test_ambiguous_name_excludes_no_card() -> None:
    twin = SoundCard(3, "Webcam_1", WEBCAM.names)

    assert other_cards((WEBCAM, twin), "c270") == (WEBCAM, twin)


def test_card_text_has_id_and_name() -> None:
    assert str(WEBCAM) == "Webcam (USB-Audio - HD Webcam C270)"
    assert str(SoundCard(0, "x", ())) == "x"
