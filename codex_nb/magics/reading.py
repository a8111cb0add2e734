"""The notebook as it was read for one question, and what the user keeps out of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from codex_nb.host.frontend import front_end
from codex_nb.host.notebook import read_notebook, runs_of
from codex_nb.session.mentions import mentions_in, variables_in
from codex_nb.tools.hiding import hidden_in

if TYPE_CHECKING:
    from codex_nb.host.notebook import DocumentPort
    from codex_nb.magics.workspace import Workspace
    from codex_nb.notebook import NotebookSnapshot, Run
    from codex_nb.tools.hiding import Hidden

TAGS_UNSEEN = (
    "Cell tags are not visible in this run. "
    "To keep a cell out, use the comment line # codex-skip instead of the tag."
)


@dataclass(frozen=True)
class NotebookReading:
    """``snapshot`` is None where nothing is there to be read; ``prompt`` is the user's own."""

    workspace: Workspace
    prompt: str
    snapshot: NotebookSnapshot | None = None

    @property
    def runs(self) -> tuple[Run, ...]:
        """What ran in this kernel by now, in the order of time."""
        return runs_of(self.workspace.shell, self.workspace.recorder)

    def hidden(self) -> Hidden:
        """Decide what is kept out at this moment, without what the prompt mentions; on the main thread."""
        return hidden_in(self.snapshot, self.runs).allowing(variables_in(self.prompt))

    @property
    def sees_no_tags(self) -> bool:
        """Whether a notebook is run whose tags nobody tells: nbclient and papermill send a cell's code alone."""
        end = front_end(self.workspace.shell)
        is_headless = end.has_kernel and end.cell_id is None and not end.allows_input
        return is_headless and self.snapshot is not None and self.snapshot.origin == "kernel"


def read_for(workspace: Workspace, prompt: str, document: DocumentPort | None) -> NotebookReading:
    """Read the notebook as it is now; what the prompt mentions is read whole."""
    if workspace.shell is None:
        return NotebookReading(workspace, prompt)
    whole = [int(each.target) for each in mentions_in(prompt) if each.kind == "cell"]
    snapshot = read_notebook(workspace.shell, document, workspace.recorder, workspace.environ, whole=whole)
    return NotebookReading(workspace, prompt, snapshot)
