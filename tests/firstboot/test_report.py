from listener.errors import ConfigError, Unavailable
from listener.firstboot.report import FirstBootReport


def test_a_report_says_first_whether_anything_is_left_to_do() -> None:
    report = FirstBootReport(taken=["device.name = hall"])
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

    text = FirstBootReport(speaker=[f"the public key of this speaker is {key}"]).text()

    assert key in text
    command = "age -d -i ada.key earmark-challenge.txt " * 3
    assert f"\n        {command}\n" in FirstBootReport(todo=[f"Open it:\n{command}"]).text()


def test_what_there_is_nothing_to_say_of_is_left_out() -> None:
    assert FirstBootReport().text() == "Earmark: this speaker is set up\n"


def test_a_wrong_file_is_to_be_mended_and_nothing_of_it_counts() -> None:
    text = FirstBootReport.render_wrong_file(ConfigError("earmark.toml is empty")).text()

    assert "- earmark.toml is empty." in text
    assert "Mend earmark.toml" in text
    assert "Nothing of it was taken in" in " ".join(text.split())
    assert "Taken in:" not in text


def test_an_owner_is_told_in_three_steps_what_to_type() -> None:
    report = FirstBootReport()

    report.ask("ada")

    assert len(report.todo) == 3
    assert "\n        age -d -i ada.key earmark-challenge.txt\n" in report.text()
    assert '\n        [owner]\n        answer = "ada:..."\n' in report.text()


def test_a_household_that_is_not_there_is_waited_for() -> None:
    report = FirstBootReport()

    report.wait_for_household(Unavailable("nobody answers"), "hall")

    assert "joining the household: nobody answers" in report.text()
    assert "\n        earmark household add-device hall\n" in report.text()
