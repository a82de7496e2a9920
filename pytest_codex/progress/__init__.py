"""Progress for people (docs/reference/command-line.md, "What is shown").

A consumer of the hooks that other plugins have too; it decides nothing about a run.

    display        which forms of progress are shown
    board          the state of all stages, and which of them fit on the screen
    lines          the wording of all lines
    screen         the stream written to, and plain lines on it
    live           one view at the bottom of a terminal
    pytest_writer  pytest's terminal writer: patient with slow readers, printing above the live view
    heartbeat      lines for stages that are silent
    failures       the first failure, and what followed from it
    github_*       groups, annotations, summaries and outputs of GitHub Actions
    progress       the plugin, for `session` (``start``) and `reporting` (pytest)
"""
