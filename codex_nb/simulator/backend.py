"""The ChatGPT backend around ``/responses``: accounts, models, usage, settings and the quiet corners."""

from __future__ import annotations

from codex_nb.simulator.handling import ApiHandler, ChatGptHandler, Handler


class AccountsCheck(ChatGptHandler):
    """``GET /wham/accounts/check``: where the workspace lives."""

    def get(self) -> None:
        """Name the person's account."""
        person = self.person
        account = {
            "id": person.account_id,
            "workspace_backend_origin": person.backend_origin,
            "account_routing_override": person.routing_override,
        }
        self.write_json(
            {
                "accounts": [account],
                "account_ordering": [person.account_id],
                "default_account_id": person.account_id,
            }
        )


class Models(ChatGptHandler):
    """``GET /codex/models``: what the account may use."""

    def get(self) -> None:
        """Give the catalog with its etag."""
        catalog = self.world.catalog
        self.set_header("etag", catalog.etag)
        self.write_json({"models": catalog.entries})


class ApiModels(ApiHandler):
    """``GET /v1/models``."""

    def get(self) -> None:
        """Give the list in the API's shape."""
        self.write_json(self.world.catalog.api_list())


class WhamUsage(ChatGptHandler):
    """``GET /wham/usage``: plan and limits."""

    def get(self) -> None:
        """Name plan, windows and credits."""
        person = self.person
        self.write_json(
            {
                "user_id": person.user_id,
                "account_id": person.account_id,
                "email": person.email,
                "plan_type": person.plan,
                **self.world.limits.usage(self.world.clock()),
            }
        )


class ResetCredits(ChatGptHandler):
    """``GET /wham/rate-limit-reset-credits``: none."""

    def get(self) -> None:
        """Say that there are none."""
        self.write_json({"credits": [], "available_count": 0, "total_earned_count": 0})


class UserSettings(ChatGptHandler):
    """``GET /wham/settings/user``."""

    def get(self) -> None:
        """Give no settings at all."""
        self.write_json({})


class InstalledPlugins(ChatGptHandler):
    """``GET /ps/plugins/…``: none."""

    def get(self, *_: str) -> None:
        """Give an empty list."""
        self.write_json({"enabled": False, "plugins": [], "pagination": {"next_page_token": None}})


class AppTools(Handler):
    """``POST /ps/mcp``: an MCP server (JSON-RPC over HTTP) without any tool."""

    def post(self) -> None:
        """Answer what a client asks when it starts; notifications need no answer."""
        call = self.json_body
        results = {
            "initialize": {
                "protocolVersion": (call.get("params") or {}).get("protocolVersion"),
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "codex-nb-simulator", "version": "1"},
            },
            "tools/list": {"tools": []},
            "ping": {},
        }
        if "id" not in call:
            self.set_status(202)
        elif call.get("method") in results:
            self.write_json({"jsonrpc": "2.0", "id": call["id"], "result": results[call["method"]]})
        else:
            error = {"code": -32601, "message": "Method not found"}
            self.write_json({"jsonrpc": "2.0", "id": call["id"], "error": error})


class Analytics(Handler):
    """``POST /codex/analytics-events/events``: taken and forgotten."""

    def post(self) -> None:
        """Thank for the events."""
        self.write_json({}, 202)


class AgentKeys(Handler):
    """``GET /wham/agent-identities/jwks``: the key that verifies agent identities."""

    def get(self) -> None:
        """Give the public key."""
        self.write_json(self.world.agents.jwks())
