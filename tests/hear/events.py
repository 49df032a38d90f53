"""One of each event that hear can tell."""

from listener.audio.pcm import GapReason
from listener.hear import events
from listener.hear.microphone.protocol import Cause

EVENTS: tuple[events.Event, ...] = (
    events.StartedEvent(
        files=("scène.flac",),
        device=None,
        words=("alexa",),
        thresholds={"alexa": 0.5},
        keeper="ada",
        switch="none",
        fast=False,
    ),
    events.WakeEvent(time_s=12.48, word="alexa", score=0.97),
    events.NearMissEvent(time_s=1.0, word="alexa", score=0.3),
    events.SealedEvent(
        time_s=11.0,
        length_s=3.2,
        word="alexa",
        owner="ada",
        clip="972f65a6-2da0-4f23-938c-f28584275226",
        seq=1,
        bytes=70_900,
        end_reason="silence",
    ),
    events.NotKeptEvent(time_s=1.0, reason="muted"),
    events.MutedEvent(time_s=40.0, cause="hardware"),
    events.UnmutedEvent(time_s=50.0, muted_s=10.0),
    events.InterruptedEvent(time_s=3.0, reason=GapReason.START),
    events.MicrophoneOpenEvent(time_s=0.0, rate_hz=48_000, channels=2),
    events.MicrophoneLostEvent(time_s=4.0, cause=Cause.GONE),
    events.EndedEvent(
        heard_s=50.0,
        discarded_s=46.8,
        sealed_s=3.2,
        muted_s=10.0,
        wakes=1,
        near_misses=1,
        sealed=1,
        unattributed=0,
        abandoned=0,
        lost=0,
        broken=0,
        losses=0,
        overruns=0,
    ),
)
