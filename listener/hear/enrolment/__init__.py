"""Enrolment of an owner's voice at the microphone, for ``earmark owner enrol``."""
