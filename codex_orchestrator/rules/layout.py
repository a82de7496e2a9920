"""Where each file of a run lies (docs/reference/files.md, "Paths")."""

from __future__ import annotations

from pathlib import Path

from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.environment import Environment
from codex_orchestrator.identifiers import is_run_id, stage_file_stem


def source_store(environment: Environment) -> Path:
    """What is kept of the work trees that runs were of: no name that a task can have."""
    return environment.runs_dir / ".source"


@dataclass(frozen=True)
class TaskLayout:
    """A task's folders and the files that its runs share."""

    environment: Environment
    task_id: str

    @property
    def runs_dir(self) -> Path:
        """``.runs/T``."""
        return self.environment.runs_dir / self.task_id

    @property
    def cli_dir(self) -> Path:
        """The folder of the task's runs."""
        return self.runs_dir / "cli"

    @property
    def out_dir(self) -> Path:
        """``out/T``."""
        return self.environment.out_dir / self.task_id

    @property
    def metrics(self) -> Path:
        """JSONL, one line per finished run."""
        return self.runs_dir / "metrics.json"

    @property
    def metrics_summary(self) -> Path:
        """The aggregate of the metrics."""
        return self.runs_dir / "metrics-summary.json"

    @property
    def metrics_pending(self) -> Path:
        """Metrics lines that are not merged yet, one file per run."""
        return self.runs_dir / "metrics.pending"

    @property
    def journal_lock(self) -> Path:
        """Held while records are merged, into whichever of the shared files."""
        return self.runs_dir / ".metrics.lock"

    @property
    def state(self) -> Path:
        """The latest state snapshot."""
        return self.out_dir / "state.json"

    @property
    def state_index(self) -> Path:
        """How much of the history the snapshot covers."""
        return self.out_dir / "runs-index.json"

    @property
    def history(self) -> Path:
        """NDJSON, one RunSummary per run."""
        return self.out_dir / "runs.ndjson"

    @property
    def history_pending(self) -> Path:
        """RunSummaries that are not merged yet, one file per run."""
        return self.out_dir / "runs.pending"

    @property
    def control_plane_dir(self) -> Path:
        """``out/T/control-plane``."""
        return self.out_dir / "control-plane"

    @property
    def drift(self) -> Path:
        """How the requests of the task's runs were found."""
        return self.control_plane_dir / "drift.json"

    @property
    def drift_samples(self) -> Path:
        """NDJSON, one line for each of these requests."""
        return self.control_plane_dir / "samples.ndjson"

    @property
    def drift_pending(self) -> Path:
        """Lines that runs of earlier versions left, and that are not merged yet; one file per run."""
        return self.control_plane_dir / "samples.pending"

    @property
    def pending_dirs(self) -> tuple[Path, ...]:
        """The folders of records that are not merged yet."""
        return tuple(folder for folder, _ in self.pending_places())

    def pending_places(self) -> tuple[tuple[Path, Path], ...]:
        """The same, each with the folder above it that the user has chosen."""
        runs, out = self.environment.runs_dir, self.environment.out_dir
        journals = (self.metrics_pending, runs), (self.history_pending, out), (self.drift_pending, out)
        return (*journals, (self.seals_pending, out))

    @property
    def seals(self) -> Path:
        """NDJSON, one line for each seal, in the order of sealing: a chain."""
        return self.out_dir / "seals.ndjson"

    @property
    def seals_pending(self) -> Path:
        """Seals that are no part of the chain yet, one file per run."""
        return self.out_dir / "seals.pending"

    @property
    def seals_lock(self) -> Path:
        """Held while runs are sealed."""
        return self.out_dir / ".seals.lock"

    @property
    def live_dir(self) -> Path:
        """A file for each run that has not ended, or whose leftovers nobody has swept yet."""
        return self.runs_dir / "live"

    def run(self, run_id: str) -> RunLayout:
        """The layout of one run of this task."""
        return RunLayout(self, run_id)


@dataclass(frozen=True)
class RunLayout:
    """One run's folder and the files in and around it."""

    task: TaskLayout
    run_id: str

    @classmethod
    def at(cls, folder: Path, root: Path) -> RunLayout:
        """The run in a folder ``…/T/cli/R``, of the repo at ``root``, which may be another than this one."""
        task = folder.parent.parent
        return cls(TaskLayout(Environment(root, task.parent, root / "out", root, {}), task.name), folder.name)

    @property
    def base(self) -> Path:
        """The runs folder: what lies between it and a file of the run is no link."""
        return self.task.environment.runs_dir

    @property
    def folder(self) -> Path:
        """``.runs/T/cli/R``, absolute."""
        return self.task.cli_dir / self.run_id

    @property
    def manifest(self) -> Path:
        """The run manifest."""
        return self.folder / "manifest.json"

    @property
    def heartbeat(self) -> Path:
        """One timestamp, replaced every 5 s."""
        return self.folder / ".heartbeat"

    @property
    def runner_log(self) -> Path:
        """All events of the run."""
        return self.folder / "runner.ndjson"

    @property
    def resume_token(self) -> Path:
        """The token that a resume may be asked for."""
        return self.folder / "resume-token.json"

    @property
    def plan(self) -> Path:
        """The resolved pipeline and its digest."""
        return self.folder / "plan.json"

    @property
    def run_summary(self) -> Path:
        """The RunSummary."""
        return self.folder / "run-summary.json"

    @property
    def approvals(self) -> Path:
        """NDJSON, one receipt per decision on a manual stage."""
        return self.folder / "approvals.ndjson"

    @property
    def privacy_log(self) -> Path:
        """NDJSON, one line per secret that the guard found."""
        return self.folder / "privacy-decisions.ndjson"

    @property
    def source(self) -> Path:
        """Of which source the run's evidence is."""
        return self.folder / "source.json"

    @property
    def seal(self) -> Path:
        """What tells whether the run's evidence is unaltered."""
        return self.folder / "seal.json"

    @property
    def signature(self) -> Path:
        """What tells who answers for the seal."""
        return self.folder / "seal.dsse.json"

    @property
    def children(self) -> Path:
        """A file for each run that was started from within one of this run's stages."""
        return self.folder / "children"

    @property
    def lock(self) -> Path:
        """Held by the owner while it lives; names it."""
        return self.folder / "run.lock"

    @property
    def live_marker(self) -> Path:
        """There from before the run's folder is made until its last file is written; names the owner."""
        return self.task.live_dir / f"{self.run_id}.json"

    @property
    def mcp_folder(self) -> Path:
        """The folder where tools of the MCP days look."""
        return self.task.runs_dir / "mcp" / self.run_id

    @property
    def mcp_pointer(self) -> Path:
        """The pointer in that folder."""
        return self.mcp_folder / "manifest.json"

    @property
    def node_summary(self) -> Path | None:
        """The copy of a summary that the Node CLI leaves beside its own runs, where this id may be of one."""
        own = is_run_id(self.run_id)
        return self.task.runs_dir / self.run_id / "manifest.json" if own else None

    @property
    def compat_folder(self) -> Path:
        """The folder where local MCP tools look."""
        return self.task.environment.runs_dir / "local-mcp" / self.run_id

    @property
    def compat_pointer(self) -> Path:
        """The same pointer for local MCP tools."""
        return self.compat_folder / "compat.json"

    def command_log(self, index: int, stage_id: str) -> Path:
        """The events of one stage; ``index`` counts from 1."""
        return self.folder / "commands" / f"{stage_file_stem(index, stage_id)}.ndjson"

    def error_file(self, index: int, stage_id: str) -> Path:
        """A failed stage's error; ``index`` counts from 1."""
        return self.folder / "errors" / f"{stage_file_stem(index, stage_id)}.json"

    def attempt_error_file(self, index: int, stage_id: str, attempt: int) -> Path:
        """The error of an attempt that was followed by another one."""
        return self.folder / "errors" / f"{stage_file_stem(index, stage_id)}.attempt-{attempt}.json"

    def child_record(self, run_id: str) -> Path:
        """What a run that was started from within a stage of this one has left here."""
        return self.children / f"{run_id}.json"

    def relative(self, path: Path) -> str:
        """A path as artefacts name it."""
        return self.task.environment.relative(path)
