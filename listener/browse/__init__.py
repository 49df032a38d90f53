"""The server of ``earmark clips browse``: the browser page on the owner's own computer."""
