"""An owner's key on their own computer: key card, words of a recovery sheet, and the sheet."""
