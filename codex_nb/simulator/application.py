"""The addresses of the simulator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tornado.web import Application

from codex_nb.simulator import backend, issuer, responses
from codex_nb.simulator.handling import Handler, NotHere

if TYPE_CHECKING:
    from tornado.routing import _RuleList

    from codex_nb.simulator.world import World

_ADDRESSES: tuple[tuple[str, type[Handler]], ...] = (
    (r"/api/accounts/deviceauth/usercode", issuer.DeviceUserCode),
    (r"/api/accounts/deviceauth/token", issuer.DeviceToken),
    (r"/codex/device", issuer.DevicePage),
    (r"/oauth/authorize", issuer.Authorize),
    (r"/oauth/token", issuer.Token),
    (r"/oauth/revoke", issuer.Revoke),
    (r"/api/accounts/v1/user-auth-credential/whoami", issuer.WhoAmI),
    (r"/(?:api/accounts|backend-api)/v1/agent/([^/]+)/task/register", issuer.AgentTask),
    (r"/backend-api/wham/agent-identities/jwks", backend.AgentKeys),
    (r"/backend-api/wham/accounts/check", backend.AccountsCheck),
    (r"/backend-api/wham/usage", backend.WhamUsage),
    (r"/backend-api/wham/rate-limit-reset-credits", backend.ResetCredits),
    (r"/backend-api/wham/settings/user", backend.UserSettings),
    (r"/backend-api/ps/plugins/.*", backend.InstalledPlugins),
    (r"/backend-api/ps/mcp", backend.AppTools),
    (r"/backend-api/codex/analytics-events/events", backend.Analytics),
    (r"/backend-api/codex/models", backend.Models),
    (r"/backend-api/codex/responses", responses.ChatGptResponses),
    (r"/v1/models", backend.ApiModels),
    (r"/v1/responses", responses.ApiResponses),
    (r"/v1/responses/compact", responses.Compact),
    (r".*", NotHere),
)


def make_application(world: World) -> Application:
    """The application over a state."""
    rules: _RuleList = [(pattern, handler, {"world": world}) for pattern, handler in _ADDRESSES]
    return Application(rules, log_function=_silent)


def _silent(_: object) -> None:
    """Log no requests: they are recorded."""
