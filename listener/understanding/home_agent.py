"""Carries commands out by itself: things over MQTT, timers, time and date."""

import threading
import time
from collections.abc import Callable
from datetime import datetime

from listener.assist.recogniser import Announcement, Result
