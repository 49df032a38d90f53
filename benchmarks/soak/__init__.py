"""Hours of sound at many times real time, with everything that can go wrong going wrong.

The real hear, send, archive and broker; only the sound card is a stand-in, see ``stage``.
"""
