"""The files that a new task begins with, for people to fill in."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping

from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.tasks.evidence import MANIFEST_LABEL, METRICS_LABEL, PENDING, TOKEN_LABEL
from codex_orchestrator.tasks.mirrors import checklist_of


@dataclass(frozen=True)
class NewTask:
    """A task that is about to be created.

    Attributes:
        name: ``<id>-<slug>``.
        bare_id: The id alone.
        slug: The slug.
        title: Its name for people.
        today: The day that its spec counts as reviewed.
    """

    name: str
    bare_id: str
    slug: str
    title: str
    today: dt.date

    @property
    def documents(self) -> dict[str, str]:
        """The paths of its documents, by kind."""
        return {
            "PRD": f"docs/PRD-{self.slug}.md",
            "Tech spec": f"docs/TECH_SPEC-{self.slug}.md",
            "Action plan": f"docs/ACTION_PLAN-{self.slug}.md",
            "Mini-spec": f"tasks/specs/{self.name}.md",
            "Checklist": checklist_of(self.name),
        }

    def files(self) -> dict[str, str]:
        """The texts of these documents by their paths."""
        paths = self.documents
        texts = {
            "PRD": _PRD,
            "Tech spec": _TECH_SPEC,
            "Action plan": _ACTION_PLAN,
            "Mini-spec": _MINI_SPEC,
            "Checklist": _CHECKLIST,
        }
        words = {
            "@NAME@": self.name,
            "@TITLE@": self.title,
            # A JSON string is a YAML scalar, whatever is in it.
            "@QUOTED@": json.dumps(self.title, ensure_ascii=False),
            "@TODAY@": self.today.isoformat(),
            "@CHECKLIST@": paths["Checklist"],
            "@DOCUMENTS@": "\n".join(
                f"- {what}: `{path}`" for what, path in paths.items() if what != "Checklist"
            ),
            "@EVIDENCE@": "\n".join(
                f"- {label}: {PENDING}" for label in (MANIFEST_LABEL, METRICS_LABEL, TOKEN_LABEL)
            ),
            "@SPEC@": paths["Mini-spec"],
        }
        return {paths[what]: _filled_in(text, words) for what, text in texts.items()}


def _filled_in(text: str, words: Mapping[str, str]) -> str:
    # The title goes last: it may hold anything, also what looks like a word to fill in.
    for word in sorted(words, key=lambda word: word in ("@TITLE@", "@QUOTED@")):
        text = text.replace(word, words[word])
    return text


_CHECKLIST = """\
# Task @NAME@

What lies between the two marks is copied by `codex-orchestrator task sync`. Edit it here, and tick a box only
together with the manifest of the run that shows it.

<!-- begin task @NAME@ -->
## @TITLE@ (@NAME@)

@DOCUMENTS@
@EVIDENCE@

### Checklist

- [ ] PRD, tech spec, action plan and mini-spec are written and agreed on.
- [ ] The change is made, with its tests.
- [ ] The pipeline has succeeded.
- [ ] The review is done and its findings are settled.
<!-- end task @NAME@ -->
"""

_PRD = """\
# PRD: @TITLE@ (task @NAME@)

## Summary

- Problem statement:
- Desired outcome:

## Goals

-

## Non-goals

-

## Stakeholders

- Product:
- Engineering:

## Metrics and guardrails

- How success is measured:
- What must not get worse:

## User experience

- Who it is for:
- What they do with it:

## Technical considerations

- Mini-spec: `@SPEC@`

## Documentation and evidence

- Checklist, with the newest run: `@CHECKLIST@`

## Open questions

-

## Approvals

- Product: pending
- Engineering: pending
"""

_TECH_SPEC = """\
# Technical spec: @TITLE@ (task @NAME@)

## Scope

-

## Architecture

-

## Interfaces and data

-

## Failure and recovery

-

## Verification

- Tests:
- Evidence: `@CHECKLIST@`

## Open questions

-
"""

_ACTION_PLAN = """\
# Action plan: @TITLE@ (task @NAME@)

## Status

- Current phase: planning
- Checklist, with the newest run: `@CHECKLIST@`

## Milestones

1. Milestone:
   - Tasks:

## Risks

- Risk:
  - What is done about it:

## Next review

- Date:
- Agenda:
"""

_MINI_SPEC = """\
---
id: @NAME@
title: @QUOTED@
relates_to: @CHECKLIST@
risk: medium
last_review: @TODAY@
---

# @TITLE@

## Summary

- Objective:
- Constraints:

## Proposed changes

-

## Impact

- User impact:
- Operational risk:
- Security and privacy:

## Rollout

- Before:
- Testing:
- Steps:

## Open questions

-

## Approvals

- Reviewer: pending
"""
