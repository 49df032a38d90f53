"""What the room sees and hears of all this: the lamp and the chime."""
