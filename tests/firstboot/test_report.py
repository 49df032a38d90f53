from listener.errors import ConfigError, Unavailable
from listener.firstboot.report import FirstBootReport


def test_report_begins_with_the_state_of_the_setup() -> None:
    report = FirstBootReport(taken=["device.name = hall"])
    assert report.text().startswith("Earmark: this speaker is set up\n")
    report.todo.append("answer")
    assert "one step is left for you" in report.text()
    report.waiting.append("joining")
    assert "the setup is not complete yet" in report.text()
    report.fault(ConfigError("no such word", "did you mean words?"))
    assert "there is an error" in report.text()
    assert "- no such word. Hint: did you mean words?." in report.text()


def test_text_to_copy_is_not_wrapped() -> None:
    key = "ed25519:" + "A" * 100

    text = FirstBootReport(speaker=[f"the public key of this speaker is {key}"]).text()

    assert key in text
    command = "age -d -i ada.key earmark-challenge.txt " * 3
    assert f"\n        {command}\n" in FirstBootReport(todo=[f"Open it:\n{command}"]).text()


def test_empty_sections_are_omitted() -> None:
    assert FirstBootReport().text() == "Earmark: this speaker is set up\n"


def test_report_of_a_wrong_file_asks_for_a_correction() -> None:
    text = FirstBootReport.render_wrong_file(ConfigError("earmark.toml is empty")).text()

    assert "- earmark.toml is empty." in text
    assert "Correct earmark.toml" in text
    assert "Nothing of it was applied" in " ".join(text.split())
    assert "Done:" not in text


def test_report_has_three_steps_for_the_owner() -> None:
    report = FirstBootReport()

    report.ask("ada")

    assert len(report.todo) == 3
    assert "\n        age -d -i ada.key earmark-challenge.txt\n" in report.text()
    assert '\n        [owner]\n        answer = "ada:..."\n' in report.text()


def test_report_of_an_unavailable_household() -> None:
    report = FirstBootReport()

    report.wait_for_household(Unavailable("no answer"), "hall")

    assert "joining the household: no answer" in report.text()
    assert "\n        earmark household add-device hall\n" in report.text()
