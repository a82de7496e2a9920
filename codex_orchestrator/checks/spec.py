"""The spec guard: changed code needs a changed spec, and every spec a recent review.

The rules are in docs/reference/guards.md, section "Spec guard".
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from codex_orchestrator import places, sources
from codex_orchestrator.checks.changes import ChangeRequest, read_changes
from codex_orchestrator.checks.counting import left_out_notices
from codex_orchestrator.checks.report import Fault, Report, counted, encodable
from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.errors import Misplaced, UsageError
from codex_orchestrator.text import printable

CODE_FOLDERS = ("src", "app", "server", "migrations")
SPECS_FOLDER = "tasks/specs"
TASK_INDEX = "tasks/index.json"
MAX_REVIEW_AGE_DAYS = 30

# Front matter is a handful of lines; a spec's body may be of any size and is not read.
_FRONT_MATTER_BYTES = 65_536
_PATHS_IN_MESSAGE = 5
_LINE_END = re.compile(r"\r\n|\r|\n")
_FENCE = re.compile(r"(---|\.\.\.)\s*")
_LAST_REVIEW = re.compile(r"last_review\s*:(.*)")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


@dataclass(frozen=True)
class SpecGuardRequest:
    """What to check.

    Attributes:
        change: The change, with the configured code paths beside `CODE_FOLDERS` (``guards.spec.paths``).
        today: The date that reviews are judged at.
    """

    change: ChangeRequest
    today: dt.date


@dataclass(frozen=True, kw_only=True)
class SpecGuardReport(Report):
    """What was found: first the change rule, then the specs by path.

    Attributes:
        base: Full hash of the commit compared with; None where changes were not checked.
        base_source: What named it; None like `base`.
        why_unchecked: Why changes were not checked, in one sentence; None where they were.
        checked_specs: How many spec files were read.
        changed_code: Changed code paths, sorted.
    """

    GUARD = "spec"
    LABEL = "spec-guard"

    base: str | None
    base_source: str | None
    why_unchecked: str | None = None
    checked_specs: int
    changed_code: tuple[str, ...]

    def details(self) -> dict[str, object]:
        """Base, specs and changed code."""
        return {
            "base": self.base,
            "base_source": self.base_source,
            "checked_specs": self.checked_specs,
            "changed_code": [encodable(path) for path in self.changed_code],
        }

    @property
    def unchecked(self) -> str | None:
        """Without a commit to compare with, no change is seen."""
        return self.why_unchecked

    def scope(self) -> str:
        """How many specs were read, and what changed since when."""
        checked = f"{counted(self.checked_specs, 'spec')} checked"
        if self.base is None:
            return f"{checked}; changes not checked"
        files = counted(len(self.changed_code), "code file")
        return f"{checked}; {files} changed since {self.base[:12]} ({self.base_source})"


def check_specs(request: SpecGuardRequest) -> SpecGuardReport:
    """Check the changes since the base, and every spec.

    Raises:
        UsageError: A bad base or code path, or a repository or specs folder that cannot be read.
    """
    root = request.change.root
    folders = code_paths(request.change.settings.spec.paths)
    changes = read_changes(request.change)
    left_out = (out for out in changes.left_out if any(_lies_in(out.path, one) for one in folders))
    code, change_fault = judge_changes(changes.paths, folders)
    findings = [] if change_fault is None else [change_fault.at(SPECS_FOLDER)]
    specs = tuple(_spec_files(root))
    for path in specs:
        fault = _judge_file(root / path, root, request.today)
        if fault is not None:
            findings.append(fault.at(path))
    base = changes.base
    return SpecGuardReport(
        findings=tuple(findings),
        notices=(*changes.notices, *left_out_notices(left_out)),
        base=base.commit if base else None,
        base_source=base.source if base else None,
        why_unchecked=changes.unchecked,
        checked_specs=len(specs),
        changed_code=code,
    )


def code_paths(extra: Iterable[str]) -> tuple[str, ...]:
    """`CODE_FOLDERS` and the `extra` folders or files, normalised; ``.`` stands for the whole guarded folder.

    Raises:
        UsageError: An extra path is empty, absolute or leads out of the guarded folder.
    """
    found = list(CODE_FOLDERS)
    for path in extra:
        parts = [part for part in path.split("/") if part not in ("", ".")]
        if not path.strip() or path.startswith("/") or ".." in parts:
            raise UsageError(
                f'guards.spec.paths: "{printable(path)}" is not a path inside the repository.',
                hint='Give folders or files relative to the root, such as "lib" or "tools/release.py".',
            )
        found.append("/".join(parts) or ".")
    return tuple(dict.fromkeys(found))


def judge_changes(changed: Iterable[str], code_paths: Iterable[str]) -> tuple[tuple[str, ...], Fault | None]:
    """The changed code among `changed`, and what is wrong when no spec changed with it."""
    paths = tuple(changed)
    folders = tuple(code_paths)
    spec_changed = any(_is_spec_path(path) for path in paths)
    code = tuple(
        path for path in paths if not _is_spec_path(path) and any(_lies_in(path, one) for one in folders)
    )
    if not code or spec_changed:
        return code, None
    shown = ", ".join(printable(path) for path in code[:_PATHS_IN_MESSAGE])
    more = f" and {len(code) - _PATHS_IN_MESSAGE} more" if len(code) > _PATHS_IN_MESSAGE else ""
    message = f"Code changed without a change under {SPECS_FOLDER}/ or to {TASK_INDEX}: {shown}{more}."
    return code, Fault("code-without-spec", message, f"Update the spec of this work under {SPECS_FOLDER}/.")


def judge_front_matter(text: str, today: dt.date) -> Fault | None:
    """What is wrong with the front matter of a spec that starts with `text`, or None."""
    lines = _LINE_END.split(text)
    end = next((n for n, line in enumerate(lines) if n > 0 and _FENCE.fullmatch(line)), None)
    if not lines or lines[0].rstrip() != "---" or end is None:
        return _fault(
            "spec-front-matter", "There is no front matter between two lines of three dashes.", today
        )
    matches = [match for line in lines[1:end] if (match := _LAST_REVIEW.fullmatch(line))]
    if not matches:
        return _fault("spec-last-review-missing", "The front matter has no last_review.", today)
    if len(matches) > 1:
        return _fault("spec-last-review-invalid", f"last_review is given {len(matches)} times.", today)
    return _judge_review(_scalar(matches[0][1]), today)


def _judge_review(value: str, today: dt.date) -> Fault | None:
    try:
        reviewed = dt.date.fromisoformat(value) if _DATE.fullmatch(value) else None
    except ValueError:
        reviewed = None
    if reviewed is None:
        shown = printable(value[:40])
        message = f'last_review "{shown}" is not a date of the form YYYY-MM-DD.'
        return _fault("spec-last-review-invalid", message, today)
    age = (today - reviewed).days
    if age < 0:
        message = f"last_review {value} is in the future (today is {today.isoformat()})."
        return _fault("spec-last-review-future", message, today)
    if age > MAX_REVIEW_AGE_DAYS:
        message = f"last_review {value} is {age} days old, more than {MAX_REVIEW_AGE_DAYS}."
        return _fault("spec-last-review-stale", message, today)
    return None


def _fault(rule: str, message: str, today: dt.date) -> Fault:
    hint = f"Review the spec, then set last_review: {today.isoformat()} in its front matter."
    return Fault(rule, message, hint)


def _scalar(raw: str) -> str:
    """A YAML scalar as written after its key: without quotes, and without a comment after it."""
    value = raw.strip()
    quoted = re.fullmatch(r"""(['"])(.*?)\1(\s+#.*)?""", value)
    return quoted[2] if quoted else re.sub(r"(^|\s+)#.*", "", value)


def _is_spec_path(path: str) -> bool:
    return path == TASK_INDEX or _lies_in(path, SPECS_FOLDER)


def _lies_in(path: str, folder: str) -> bool:
    # An embedded repository is listed by git with a slash at its end.
    return folder == "." or path.rstrip("/") == folder or path.startswith(folder + "/")


def _spec_files(root: Path) -> Iterator[str]:
    """Every Markdown file below the specs folder but the READMEs, sorted, as paths relative to `root`."""
    top = root / SPECS_FOLDER
    if sources.kind(top, root=root) != "folder":
        return
    real = sources.within(top, root)
    try:
        for path, kind in places.walked(real, below=sources.within(root, root)):
            if kind != "folder" and path.name.lower().endswith(".md") and path.name != "README.md":
                yield (top / path.relative_to(real)).relative_to(root).as_posix()
    except OSError as error:
        # What cannot be listed would otherwise pass unseen.
        raise UsageError(f"{printable(str(error.filename))} cannot be listed: {error.strerror}.") from error


def _judge_file(path: Path, root: Path, today: dt.date) -> Fault | None:
    hint = "Put a readable file in its place, or remove it."
    try:
        with sources.open_stream(path, root=root) as stream:
            head = stream.read(_FRONT_MATTER_BYTES)
    except (Misplaced, FileNotFoundError):
        return Fault("spec-unreadable", "The spec is not a regular file.", hint)
    except OSError as error:
        return Fault("spec-unreadable", f"The spec cannot be read: {error.strerror}.", hint)
    # Only last_review matters, and that is ASCII: stray bytes elsewhere are no finding of this guard.
    return judge_front_matter(head.decode("utf-8-sig", "replace"), today)
