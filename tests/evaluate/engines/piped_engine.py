"""An engine for the tests of the pipe: its score is the loudness of each 80 ms. Standard library.

    python piped_engine.py [FAULT]

It is also the example of the protocol in docs/research/engines.md.
"""

import array
import base64
import json
import sys
import time

STEP = 1280


def say(line: str) -> None:
    """Answer."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main(fault: str) -> None:
    """Answer each line with one."""
    hello = json.loads(sys.stdin.readline())
    if fault == "silent":
        time.sleep(60)
    words = ["other", *hello["words"]] if fault != "ignorant" else ["other"]
    answer = {
        "name": "loudness",
        "version": "1",
        "words": words,
        "thresholds": dict.fromkeys(words, 0.5) if fault != "careless" else {},
        "step_samples": STEP,
        "first_end_sample": STEP,
    }
    say(json.dumps(answer) if fault != "babbling" else "hello")
    pending = array.array("h")
    for line in sys.stdin:
        asked = json.loads(line)
        scores = []
        if "start" in asked:
            pending = array.array("h")
        if "sound" in asked:
            if fault == "dying":
                raise SystemExit(3)
            pending.frombytes(base64.b64decode(asked["sound"]))
        while len(pending) >= STEP:
            loudest = max(map(abs, pending[:STEP])) / 32768
            del pending[:STEP]
            scores.append(
                [0.0] * (len(words) - len(hello["words"])) + [loudest] * len(hello["words"])
            )
        if fault == "narrow":
            scores = [row[:1] for row in scores]
        if fault == "loud":
            scores = [[score + 2 for score in row] for row in scores]
        say(json.dumps({"scores": scores}))
    if fault == "lingering":
        time.sleep(60)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "")
