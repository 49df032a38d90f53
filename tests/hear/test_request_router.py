from collections.abc import Iterable

from listener.hear.request_router import RequestRouter
from listener.ipc.control import (
    MuteRequest,
    Request,
    ThresholdRequest,
    UnmuteRequest,
    Wakeup,
    WordRequest,
)
from listener.wakeword.sensitivity import Sensitivity


class Source:
    def __init__(self) -> None:
        self.pending: list[Request] = []

    def fileno(self) -> int:
        return 7

    def receive(self) -> Iterable[Request]:
        pending, self.pending = self.pending, []
        return pending


def test_requests_about_sensitivity_are_applied_and_the_others_passed_on() -> None:
    source, changes = Source(), list[str]()
    router = RequestRouter(source)
    sensitivity = Sensitivity({"alexa": 0.5}, may_lower=False, apply=lambda *_: None)
    router.connect(sensitivity, lambda: changes.append("changed"))
    source.pending = [
        MuteRequest(),
        ThresholdRequest(word="alexa", threshold=0.75),
        Wakeup(),
        ThresholdRequest(word="alexa", threshold=0.25),
        ThresholdRequest(word="jarvis", threshold=0.9),
        WordRequest(only="alexa"),
        UnmuteRequest(),
    ]

    assert list(router.receive()) == [MuteRequest(), Wakeup(), UnmuteRequest()]
    assert sensitivity.thresholds == {"alexa": 0.75}
    assert sensitivity.only == "alexa"
    assert (len(changes), router.ignored, router.fileno()) == (2, 2, 7)


def test_requests_before_the_detector_is_there_are_ignored() -> None:
    source = Source()
    source.pending = [WordRequest(), MuteRequest()]
    router = RequestRouter(source)

    assert list(router.receive()) == [MuteRequest()]
    assert router.ignored == 1
