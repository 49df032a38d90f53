from listener.errors import ConfigError
from listener.firstboot.report import Report


def test_a_report_says_first_whether_anything_is_left_to_do() -> None:
    report = Report(taken=["device.name = hall"])
    assert report.text().startswith("Earmark: this speaker is set up\n")
    report.todo.append("answer")
    assert "one step is left, and it is yours" in report.text()
    report.waiting.append("joining")
    assert "not everything is done yet" in report.text()
    report.fault(ConfigError("no such word", "did you mean words?"))
    assert "something is wrong" in report.text()
    assert "- no such word. Hint: did you mean words?." in report.text()


def test_what_is_to_be_copied_stays_in_one_piece() -> None:
    key = "ed25519:" + "A" * 100

    text = Report(speaker=[f"the public key of this speaker is {key}"]).text()

    assert key in text
    command = "age -d -i ada.key earmark-challenge.txt " * 3
    assert f"\n        {command}\n" in Report(todo=[f"Open it:\n{command}"]).text()


def test_what_there_is_nothing_to_say_of_is_left_out() -> None:
    assert Report().text() == "Earmark: this speaker is set up\n"
