"""Earmark, a wake-word listener that encrypts each clip to its owner and discards other audio.

The public Python interface is `listener.api`. Data flow:

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
