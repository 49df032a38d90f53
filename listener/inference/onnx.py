"""The neural networks in onnxruntime: embeddings, heads, second opinions and voice activity.

The only module that imports onnxruntime. Sessions run on the CPU with one thread, on buffers that
are bound once where a network runs at every step. The Linux wheels of onnxruntime carry telemetry
that is on by default; it is switched off before the first import and once more after it.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from listener.audio.pcm import SAMPLE_RATE_HZ, Samples
from listener.errors import ModelRefused
from listener.inference.refusals import explain_refusal
from listener.quantities import quantity
from listener.wakeword.embedding import FEATURES, STEP_FRAMES
from listener.wakeword.features import BANDS, Floats
from listener.wakeword.manifest import Model
from listener.wakeword.micro_features import CHANNELS, Whole
from listener.wakeword.second_opinion import OPINION_FRAMES

Session: TypeAlias = Any  # onnxruntime ships no types; this is its InferenceSession,
Binding: TypeAlias = Any  # and this its IOBinding
_Past: TypeAlias = dict[str, Floats]  # the cached columns of a network, by input

LONGEST_WINDOW_FRAMES: Final = 1 << 10
"""Upper limit of a head's window, in embeddings."""

SPEECH_STEP_SAMPLES: Final = 512
"""New samples of one step of the speech network: 32 ms at 16 kHz."""
_CONTEXT_SAMPLES: Final = 64
"""Samples of the previous step that the speech network takes again."""
_STATE_SHAPE: Final = (2, 1, 128)
_FULL_SCALE: Final = np.float32(32_768)

GROUP_STEPS: Final = (9, 3)
"""Numbers of steps that the embedding network takes at once when it catches up. 9 are those of a
frame, see ``streaming.pace_steps``."""

_TRIAL_SCALES: Final = (0.0, 0.05, 1.0, 20.0)
"""Scales of the embeddings on which a batch is compared with single windows. Embeddings of speech
have about 20; a head may be saturated at one scale, and then all its scores are equal."""
_TRIAL_RELATIVE: Final = 1e-3
_TRIAL_ABSOLUTE: Final = 1e-5


def open_session(
    data: bytes, name: str, *, keeps_memory: bool, packs_weights: bool = True
) -> Session:
    """Load a network.

    Args:
        data: an ONNX file.
        name: name for messages.
        keeps_memory: keep the runtime's memory arena between runs; a large network is then a tenth
            faster. Without it, memory is freed, and overwritten, after each run.
        packs_weights: also hold the weights of matrix products in the order in which they are
            read. For a small network this costs memory (0.5 MiB for a word, its second opinion and
            the speech model together) and gains no measurable time.

    Raises:
        ModelRefused: onnxruntime cannot load it.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime  # noqa: PLC0415 - only after its telemetry is off, and only where needed

    onnxruntime.disable_telemetry_events()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.enable_cpu_mem_arena = keeps_memory
    if not packs_weights:
        options.add_session_config_entry("session.disable_prepacking", "1")
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the exception classes differ by version
        raise explain_refusal(data, name, str(error)) from error


def bind_input(binding: Binding, name: str, buffer: Floats) -> None:
    """Bind an input to ``buffer``, which must live as long as the binding."""
    binding.bind_input(name, "cpu", 0, np.float32, buffer.shape, buffer.ctypes.data)


def bind_output(binding: Binding, name: str, buffer: Floats) -> None:
    """Bind an output to ``buffer``, which must live as long as the binding."""
    binding.bind_output(name, "cpu", 0, np.float32, buffer.shape, buffer.ctypes.data)


class StreamNet:
    """The streaming embedding network, on buffers that are bound once.

    Two sets of cached columns alternate as input and output, so nothing is copied between steps.
    The file for any number of steps takes groups of `GROUP_STEPS`, too, for two thirds of the time
    of single steps, on the same columns.
    Implements ``wakeword.embedding.Network``. Not safe for use by several threads.
    """

    def __init__(self, data: bytes, name: str) -> None:
        """Load the network.

        Args:
            data: an ONNX file, for steps of 8 or 4 mel frames, or for any number of steps of 8.
            name: name for messages.

        Raises:
            ModelRefused: it is not a streaming embedding network.
        """
        session = open_session(data, name, keeps_memory=True)
        shapes = {node.name: tuple(node.shape) for node in session.get_inputs()}
        frames = shapes.get("mel", (0, 0, 0, 0))[2]
        past = {name: shape for name, shape in shapes.items() if name != "mel"}
        names = {node.name for node in session.get_outputs()}
        if shapes.get("mel") != (1, 1, frames, BANDS) or names != {
            "embedding",
            *map(_next_input, past),
        }:
            raise ModelRefused(f"{name} is not a streaming embedding network")
        takes_groups = not isinstance(frames, int)
        self.hop_frames: int = STEP_FRAMES if takes_groups else frames
        """Mel frames in a step."""
        # onnxruntime stores only the addresses; these references keep the buffers alive.
        self._mel = np.zeros((1, 1, self.hop_frames, BANDS), np.float32)
        self._embedding = np.zeros((1, FEATURES), np.float32)
        self._result: Floats = self._embedding[0]
        self._columns = tuple(
            {name: np.zeros(shape, np.float32) for name, shape in past.items()} for _ in range(2)
        )
        self._turns = self._bind(session, self._mel, self._embedding)
        self._run = session.run_with_iobinding
        self._turn = 0
        self._groups = self._bind_groups(session) if takes_groups else ()

    def step(self, mel: Floats) -> Floats:
        """See ``Network.step``."""
        np.copyto(self._mel[0, 0], mel)
        self._run(self._turns[self._turn])
        self._turn ^= 1
        return self._result

    def steps(self, mels: Sequence[Floats]) -> Iterator[Floats]:
        """See ``Network.steps``."""
        first = 0
        for group in self._groups:
            while len(mels) - first >= group.steps:
                for place, mel in zip(group.places, mels[first:], strict=False):
                    np.copyto(place, mel)
                first += group.steps
                group.run(group.turns[self._turn])
                self._turn ^= 1
                yield from group.embeddings
        for mel in mels[first:]:
            yield self.step(mel)

    def state(self) -> tuple[Floats, ...]:
        """See ``Network.state``."""
        return tuple(column.copy() for column in self._columns[self._turn].values())

    def resume(self, state: tuple[Floats, ...]) -> None:
        """See ``Network.resume``."""
        self._set_columns(state)
        # A run over silence overwrites intermediate results in the runtime's own memory.
        for group in self._groups:
            group.mel[:] = 0
            group.run(group.turns[self._turn])
            group.embeddings[:] = 0
        self._mel[:] = 0
        self._run(self._turns[self._turn])
        self._set_columns(state)
        self._embedding[:] = 0

    def _set_columns(self, state: tuple[Floats, ...]) -> None:
        for columns in self._columns:
            for column, start in zip(columns.values(), state, strict=True):
                column[:] = start

    def _bind(self, session: Session, mel: Floats, embeddings: Floats) -> tuple[Binding, ...]:
        """Return the bindings of a session for both turns of the columns."""
        bindings = []
        for before, after in (self._columns, self._columns[::-1]):
            binding = session.io_binding()
            for name, buffer in (("mel", mel), *before.items()):
                bind_input(binding, name, buffer)
            outputs = {_next_input(name): buffer for name, buffer in after.items()}
            for name, buffer in (("embedding", embeddings), *outputs.items()):
                bind_output(binding, name, buffer)
            bindings.append(binding)
        return tuple(bindings)

    def _bind_groups(self, session: Session) -> tuple["_Group", ...]:
        """Bind the network for each number of steps that it takes at once."""
        groups = []
        for steps in GROUP_STEPS:
            mel = np.zeros((1, 1, steps * STEP_FRAMES, BANDS), np.float32)
            embeddings = np.zeros((steps, FEATURES), np.float32)
            turns = self._bind(session, mel, embeddings)
            places = tuple(mel.reshape(steps, STEP_FRAMES, BANDS))
            run = session.run_with_iobinding
            # The runtime plans its memory at the first run; later ones use the same places.
            run(turns[0])
            groups.append(_Group(steps, mel, places, embeddings, turns, run))
        return tuple(groups)


@dataclass(frozen=True, slots=True)
class _Group:
    """The embedding network for a fixed number of steps, on buffers that are bound once."""

    steps: int
    mel: Floats
    """Shape (1, 1, steps * 8, 32)."""
    places: tuple[Floats, ...]
    """The same by step, shape (8, 32) each."""
    embeddings: Floats
    """Shape (steps, 96)."""
    turns: tuple[Binding, ...]
    """Binding for each turn of the columns."""
    run: Callable[[Binding], None]


class LongNet:
    """The embedding network for any number of steps at once.

    Implements ``wakeword.batch.LongNetwork``. Not safe for use by several threads.
    """

    def __init__(self, data: bytes, name: str) -> None:
        """Load the network.

        Args:
            data: an ONNX file.
            name: name for messages.

        Raises:
            ModelRefused: it is not such a network.
        """
        self._session = open_session(data, name, keeps_memory=True)
        shapes = {node.name: tuple(node.shape) for node in self._session.get_inputs()}
        past = {name: shape for name, shape in shapes.items() if name != "mel"}
        self._outputs = ["embedding", *map(_next_input, past)]
        names = {node.name for node in self._session.get_outputs()}
        if shapes.get("mel") != (1, 1, "frames", BANDS) or names != set(self._outputs):
            raise ModelRefused(f"{name} is not a batch embedding network")
        self._past = {name: np.zeros(shape, np.float32) for name, shape in past.items()}

    def steps(self, mel: Floats) -> Floats:
        """See ``LongNetwork.steps``."""
        outputs = self._session.run(self._outputs, {"mel": mel[None, None], **self._past})
        embeddings: Floats = outputs[0]
        self._past = dict(zip(self._past, outputs[1:], strict=True))
        return embeddings

    def state(self) -> _Past:
        """See ``LongNetwork.state``."""
        return self._past

    def resume(self, state: _Past) -> None:
        """See ``LongNetwork.resume``."""
        self._past = state


class HeadNet:
    """A head in openWakeWord's format. Not safe for use by several threads."""

    def __init__(self, data: bytes, name: str) -> None:
        """Load the head.

        Args:
            data: an ONNX file.
            name: name for messages.

        Raises:
            ModelRefused: it is not a head; the message gives the difference.
        """
        session = open_session(data, name, keeps_memory=False, packs_weights=False)
        inputs, outputs = session.get_inputs(), session.get_outputs()
        hint = "use an openWakeWord head: float32, input (1, n, 96), output (1, classes)"
        if len(inputs) != 1 or len(outputs) != 1:
            raise ModelRefused(
                f"{name} has {quantity(len(inputs), 'input')} and"
                f" {quantity(len(outputs), 'output')}, not one of each",
                hint,
            )
        shape, result = inputs[0].shape, outputs[0].shape
        if {inputs[0].type, outputs[0].type} != {"tensor(float)"}:
            raise ModelRefused(f"{name} takes {inputs[0].type}, gives {outputs[0].type}", hint)
        # A symbolic first axis takes any number of windows at once.
        if not (
            _shape_matches(shape, (1, None, FEATURES)) and 1 <= shape[1] <= LONGEST_WINDOW_FRAMES
        ):
            raise ModelRefused(f"{name} takes the shape {shape}", hint)
        if not _shape_matches(result, (1, None)) or result[1] < 1:
            raise ModelRefused(f"{name} gives the shape {result}", hint)
        self.window_frames: int = shape[1]
        """Embeddings in a window."""
        self.outputs: int = result[1]
        """Number of outputs; 1 for most heads."""
        self.has_batch_axis: bool = not isinstance(shape[0], int)
        """Whether its batch axis is symbolic."""
        self._window = np.zeros((1, shape[1], FEATURES), np.float32)
        scores = np.zeros((1, result[1]), np.float32)
        self._result: Floats = scores[0]
        self._binding = session.io_binding()
        bind_input(self._binding, inputs[0].name, self._window)
        bind_output(self._binding, outputs[0].name, scores)
        self._run = session.run_with_iobinding
        self._session = session

    def score(self, window: Floats) -> Floats:
        """See ``Head.score`` of ``listener/wakeword/streaming.py``."""
        np.copyto(self._window[0], window)
        self._run(self._binding)
        return self._result

    def over(self, embeddings: Floats) -> "Windows":
        """See ``ManyHead.over`` of ``listener/wakeword/batch.py``."""
        windows = len(embeddings) - self.window_frames + 1
        return Windows(
            self._session,
            embeddings,
            self.window_frames,
            self.outputs,
            takes_batches=self.takes_batches(windows),
        )

    def takes_batches(self, windows: int) -> bool:
        """Return whether the head gives a batch the scores that it gives single windows.

        A symbolic batch axis does not promise it: heads that were traced with a batch of one have
        constant shapes or states inside, and fail, or score only the first window. Both are run
        here on the same random embeddings, and any difference means no.

        Args:
            windows: windows in a batch, at least 1.
        """
        if not self.has_batch_axis:
            return False
        (source,) = self._session.get_inputs()
        rng = np.random.default_rng(1)
        is_varied = False
        for scale in _TRIAL_SCALES:
            batch = scale * rng.standard_normal((windows, self.window_frames, FEATURES))
            batch = batch.astype(np.float32)
            single = np.stack([self.score(window).copy() for window in batch])
            try:
                (together,) = self._session.run(None, {source.name: batch})
            except Exception:  # noqa: BLE001 - onnxruntime raises its own kinds, by version
                return False
            if together.shape != single.shape or not np.allclose(
                together, single, _TRIAL_RELATIVE, _TRIAL_ABSOLUTE
            ):
                return False
            is_varied |= windows == 1 or float(np.ptp(single, axis=0).max()) > 10 * _TRIAL_ABSOLUTE
        # Where all windows score alike, the comparison has shown nothing.
        return is_varied

    def wipe(self) -> None:
        """See ``Head.wipe``."""
        self._window[:] = 0
        self._result[:] = 0


class Windows:
    """A head on all windows of a buffer of embeddings. Not safe for use by several threads."""

    def __init__(
        self,
        session: Session,
        embeddings: Floats,
        window_frames: int,
        outputs: int,
        *,
        takes_batches: bool,
    ) -> None:
        (source,), (result,) = session.get_inputs(), session.get_outputs()
        self._session, self._input = session, source.name
        self._window_frames = window_frames
        self._embeddings = embeddings
        self._takes_batches = takes_batches
        self._results = np.zeros((len(embeddings) + 1, outputs), np.float32)
        # A window is contiguous in the buffer, so the network reads it in place.
        self._bindings: list[Binding] = []
        for end in range(window_frames, len(embeddings) + 1):
            binding = session.io_binding()
            window = embeddings[end - window_frames : end][None]
            bind_input(binding, source.name, window)
            bind_output(binding, result.name, self._results[end : end + 1])
            self._bindings.append(binding)

    def score(self, first_end: int, last_end: int) -> Floats:
        """See ``Scorer.score`` of ``listener/wakeword/batch.py``."""
        if self._takes_batches:
            reach = self._embeddings[first_end - self._window_frames : last_end]
            windows = sliding_window_view(reach, self._window_frames, axis=0).transpose(0, 2, 1)
            outputs: Floats = self._session.run(None, {self._input: windows})[0]
            return outputs
        run = self._session.run_with_iobinding
        for end in range(first_end, last_end + 1):
            run(self._bindings[end - self._window_frames])
        return self._results[first_end : last_end + 1]


class OpinionNet:
    """A microWakeWord network as ``models/microwakeword`` has it.

    Implements ``wakeword.second_opinion.OpinionNetwork``. Not safe for use by several threads.
    """

    def __init__(self, data: bytes, name: str) -> None:
        """Load the network.

        Args:
            data: an ONNX file.
            name: name for messages.

        Raises:
            ModelRefused: it is not such a network.
        """
        self._session = open_session(data, name, keeps_memory=False, packs_weights=False)
        inputs = [(node.name, node.shape) for node in self._session.get_inputs()]
        outputs = [(node.name, node.shape) for node in self._session.get_outputs()]
        if inputs != [("features", [1, "frames", CHANNELS])] or outputs != [
            ("probabilities", ["steps"])
        ]:
            raise ModelRefused(f"{name} is not a network for a second opinion")
        self._features = np.zeros((1, OPINION_FRAMES, CHANNELS), np.float32)

    def probabilities(self, features: Whole) -> Floats:
        """See ``OpinionNetwork.probabilities``."""
        np.copyto(self._features[0], features, casting="unsafe")
        (probabilities,) = self._session.run(None, {"features": self._features})
        result: Floats = probabilities
        return result

    def wipe(self) -> None:
        """See ``OpinionNetwork.wipe``."""
        self._features[:] = 0


class SpeechNet:
    """Silero's voice activity detector, release 6. Not safe for use by several threads."""

    def __init__(self, model: Model) -> None:
        """Load the network.

        Raises:
            ModelRefused: it is not Silero's network.
        """
        self._session = open_session(
            model.data, model.name, keeps_memory=False, packs_weights=False
        )
        names = {node.name for node in self._session.get_inputs()}
        if names != {"input", "sr", "state"}:
            raise ModelRefused(f"{model.name} is not a Silero voice activity detector")
        self._rate = np.array(SAMPLE_RATE_HZ, np.int64)
        self._window = np.zeros((1, _CONTEXT_SAMPLES + SPEECH_STEP_SAMPLES), np.float32)
        """The end of the previous step, and the step that is being filled."""
        self._filled = _CONTEXT_SAMPLES
        self._state = np.zeros(_STATE_SHAPE, np.float32)

    def reset(self) -> None:
        """Overwrite the audio and the state of the network."""
        self._window.fill(0)
        self._filled = _CONTEXT_SAMPLES
        self._state = np.zeros(_STATE_SHAPE, np.float32)

    def probability(self, samples: Samples) -> float:
        """Return the highest probability of speech in the steps that ``samples`` completes.

        Args:
            samples: int16, shape (n,), following the previous call's; n at least
                `SPEECH_STEP_SAMPLES`, so that they complete a step.

        Returns:
            0 to 1.
        """
        highest = 0.0
        window = self._window
        while len(samples):
            count = min(len(samples), window.shape[1] - self._filled)
            end = self._filled + count
            step = window[0, self._filled : end]
            # In two operations: one would convert in a temporary of at most 1 KiB, which the C
            # library does not overwrite when it is freed.
            step[:] = samples[:count]
            step /= _FULL_SCALE
            samples = samples[count:]
            self._filled = end
            if end == window.shape[1]:
                output, self._state = self._session.run(
                    None, {"input": window, "sr": self._rate, "state": self._state}
                )
                highest = max(highest, float(output[0, 0]))
                window[0, :_CONTEXT_SAMPLES] = window[0, -_CONTEXT_SAMPLES:]
                self._filled = _CONTEXT_SAMPLES
        return highest


def _next_input(past: str) -> str:
    """Return the name of the output that is the input ``past`` of the next step."""
    return past.replace("past.", "next.", 1)


def _shape_matches(shape: Sequence[Any], expected: tuple[int | None, ...]) -> bool:
    """Return whether shapes agree; None takes any number, a symbolic axis only matches 1."""
    return len(shape) == len(expected) and all(
        isinstance(actual, int)
        if wanted is None
        else actual == wanted or (wanted == 1 and not isinstance(actual, int))
        for actual, wanted in zip(shape, expected, strict=True)
    )
