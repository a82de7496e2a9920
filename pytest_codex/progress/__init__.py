"""Progress for people (docs/reference/command-line.md, "What is shown").

A consumer of the hooks that other plugins have too; it decides nothing about a run.

    board          the state of all stages, which of them fit on the screen, and the first failure
    lines          the wording of all lines
    screen         which forms of progress are shown, the stream written to, and plain lines on it
    live           one view at the bottom of a terminal
    pytest_writer  pytest's terminal writer: patient with slow readers, printing above the live view
    heartbeat      lines for stages that are silent
    github         groups, annotations, summaries and outputs of GitHub Actions
    progress       the plugin, for `session` (``start``) and `reporting` (pytest)
"""
