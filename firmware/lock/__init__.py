"""Lock files: for each Python and machine, the wheels that a speaker runs, each by its hash."""
