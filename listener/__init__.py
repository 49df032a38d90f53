"""Earmark: it listens for one word, throws every other sound away, and seals what follows.

::

    hear      microphone > gate > ring > features > model > trigger > clip > attribution > envelope
                             ^                                                                |
                        mute switch                                                           |
    -- sealed files only --------------------------------------------------------------- spool --
                                                                                              |
    send                                                                                      v
                                                                                            MQTT
    -- sealed messages only ------------------------------------------------------------ broker -
                                                                                              |
    archive                                            clip < the owner's private key < store
"""

__version__ = "0.1.0"
