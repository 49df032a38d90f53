"""MQTT between devices and archive: topics, payloads, and the client of the broker."""
