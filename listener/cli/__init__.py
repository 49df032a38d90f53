"""The commands of ``earmark``, one file each: arguments, calls, printing."""
