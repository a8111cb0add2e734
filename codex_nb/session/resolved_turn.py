"""What is resolved before a turn begins: credentials, model, thread, effort."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from codex_nb.config.settings import ApprovalPolicy
from codex_nb.responses.request import ResponsesRequest
from codex_nb.session.events import Notice, TurnStarted
from codex_nb.session.notebook_context import describe_redactions
from codex_nb.words import context as words_of_context
from codex_nb.words import conversation as words

if TYPE_CHECKING:
    from codex_nb.auth.credentials import Credentials
    from codex_nb.config.settings import Settings
    from codex_nb.responses.models import Model, ReasoningChoice
    from codex_nb.session.notebook_context import TurnRequest
    from codex_nb.session.prompt import TurnInput
    from codex_nb.session.thread import Thread


@dataclass(frozen=True)
class ResolvedTurn:
    """The choices of one turn, each made by the nearest that has an opinion: the question, the settings, the model."""

    turn_id: str
    request: TurnRequest
    thread: Thread
    credentials: Credentials
    model: Model
    settings: Settings

    @property
    def effort(self) -> str | None:
        """The wished-for effort, None to leave it to the model."""
        return self.request.effort or (None if self.unfit_effort else self.settings.effort)

    @property
    def unfit_effort(self) -> str | None:
        """The settings' effort if the chosen model lacks it: it was chosen with another model in mind."""
        wished = self.settings.effort
        return wished if self.request.effort is None and wished and self.model.lacks(wished) else None

    @property
    def choice(self) -> ReasoningChoice:
        """What is sent of the wishes; raises ConfigError for an effort that the model lacks."""
        settings, summary = self.settings, self.settings.summary
        if summary is None and settings.provider.is_built_in and self.credentials.is_chatgpt_backend:
            summary = "auto"  # the answer's reasoning is shown, and a plan pays nothing for it
        return self.model.reasoning(effort=self.effort, summary=summary, verbosity=settings.verbosity)

    @property
    def started(self) -> TurnStarted:
        """The first event of the turn."""
        return TurnStarted(
            turn_id=self.turn_id,
            thread=self.thread.name,
            model=self.model.slug,
            effort=self.choice.effort,
            account=self.credentials.label,
            plan=self.credentials.account.plan,
            billing=self.credentials.billing,
        )

    @property
    def template(self) -> ResponsesRequest:
        """The request of each step, without input and tools; raises like :attr:`choice`."""
        choice = self.choice
        return ResponsesRequest(
            model=self.model.slug,
            input=(),
            parallel_tool_calls=self.model.supports_parallel_tool_calls,
            effort=choice.effort,
            summary=choice.summary,
            verbosity=choice.verbosity,
            service_tier=self.settings.service_tier,
            prompt_cache_key=self.thread.thread_id,
            thread_id=self.thread.thread_id,
            turn_id=self.turn_id,
            is_lite=self.model.is_lite,
            throttle=self.request.throttle,
        )

    def notices(self, opening: TurnInput) -> tuple[Notice, ...]:
        """The quiet lines that the turn begins with: what was cut, what was taken out, what runs unasked."""
        request, notices = self.request, []
        if request.context is not None and request.context.not_sent:
            notices.append(Notice("context", words_of_context.left_out("; ".join(request.context.not_sent))))
        notices += [Notice("context", problem) for problem in opening.problems]
        if told := describe_redactions(opening.redactions):
            notices.append(Notice("redacted", told))
        if opening.images_unsent:
            count = opening.images_unsent
            model = self.model.slug
            told = words.image_not_sent(model) if count == 1 else words.images_not_sent(model, str(count))
            notices.append(Notice("hint", told))
        if unfit := self.unfit_effort:
            used = self.choice.effort
            told = f"{self.model.slug} does not offer the configured effort {unfit!r}"
            notices.append(
                Notice("hint", f"{told}; it answers with its default{f', {used}' if used else ''}.")
            )
        if request.approval is ApprovalPolicy.ALL and len(request.tools):
            notices.append(Notice("hint", words.ALL_ALLOWED))
        return tuple(notices)
