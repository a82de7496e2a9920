"""Progress for people (docs/reference/command-line.md, "What is shown").

A consumer of the hooks that other plugins have too; it decides nothing about a run.

    manner      what is shown, by where it goes and what was asked for
    board       how all stages stand, and which of them there is room for
    lines       the words
    paper       where it goes
    plain live  lines, or one view at the bottom of a terminal; above: what others print meanwhile
    heartbeat   lines for stages that are silent
    stream      what stages print, as they print it
    ending      the first failure, and what followed from it
    github ci   groups, annotations and summaries of GitHub Actions
    progress    the plugin, for `session` (``start``) and `reporting` (pytest)
"""
