"""The machine: systemd, sound cards, diagnostic findings, backoff."""
