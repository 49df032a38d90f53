"""From source to a speaker: lock files, the Debian package, images. Nothing here runs on one."""
