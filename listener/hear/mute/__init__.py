"""What shuts the microphone: a switch, software, a fault."""
