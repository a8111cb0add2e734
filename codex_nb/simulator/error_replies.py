"""The backend's error replies: status, headers and body in the formats of the real services."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from codex_nb.simulator.scenario import Cut, End, Reply

if TYPE_CHECKING:
    from collections.abc import Mapping

    from codex_nb.simulator.scenario import Step


_ACCESS_TOKEN_ERRORS = {
    "expired": ("token_expired", "Provided authentication token is expired. Please try signing in again."),
    "revoked": (
        "token_invalidated",
        "Your authentication token has been invalidated. Please try signing in again.",
    ),
    "unknown": ("token_invalid", "Could not parse your authentication token. Please try signing in again."),
}

_REFRESH_TOKEN_MESSAGES = {
    "refresh_token_reused": (
        "Your refresh token has already been used to generate a new access token. Please try signing in again."
    ),
    "refresh_token_expired": "Your refresh token has expired. Please try signing in again.",
    "refresh_token_invalidated": "Your refresh token has been revoked. Please try signing in again.",
}


def error_body(message: str, code: str | None, kind: str | None = "invalid_request_error") -> dict[str, Any]:
    """The error object of the API."""
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def unauthorized(problem: str = "expired", *, times: int | None = 1, path: str = "/responses") -> Reply:
    """401 of the ChatGPT backend: the token is "expired", "revoked", "unknown" or "missing"."""
    if problem == "missing":
        return Reply(path, times=times, status=401, body={"detail": "Unauthorized"})
    code, message = _ACCESS_TOKEN_ERRORS[problem]
    body = {**error_body(message, code, None), "status": 401}
    headers = {"x-openai-authorization-error": code}
    return Reply(path, times=times, status=401, headers=headers, body=body)


def incorrect_api_key(key: str) -> Reply:
    """401 of the API; only the first and last characters of the key are shown."""
    if not key:
        return Reply(status=401, body=error_body("You didn't provide an API key.", None))
    message = f"Incorrect API key provided: {key[:3]}{'*' * 8}{key[-4:]}."
    return Reply(status=401, body=error_body(message, "invalid_api_key"))


def refresh_rejected(code: str, *, times: int | None = 1) -> Reply:
    """401 of the token endpoint, with one of its three codes for a refresh token."""
    body = error_body(_REFRESH_TOKEN_MESSAGES[code], code)
    return Reply("/oauth/token", times=times, status=401, body=body)


def usage_limit_reached(plan: str = "plus", resets_at: int | None = None, *, times: int | None = 1) -> Reply:
    """429: the usage limit of the plan is reached."""
    error: dict[str, Any] = {
        "type": "usage_limit_reached",
        "message": "The usage limit has been reached",
        "plan_type": plan,
        "resets_at": resets_at,
    }
    return Reply(times=times, status=429, body={"error": error})


def usage_not_included(*, times: int | None = 1) -> Reply:
    """429: the plan does not include Codex."""
    body = {"error": {"type": "usage_not_included", "message": "Codex is not included in your plan"}}
    return Reply(times=times, status=429, body=body)


def rate_limited(retry_after_s: float | None = None, *, times: int | None = 1) -> Reply:
    """429: too many requests in a short time."""
    headers = {} if retry_after_s is None else {"retry-after": f"{retry_after_s:g}"}
    body = error_body("Rate limit reached for requests", "rate_limit_exceeded", "requests")
    return Reply(times=times, status=429, headers=headers, body=body)


def server_error(status: int = 500, *, times: int | None = 1, path: str = "/responses") -> Reply:
    """A server error with the error object of the API."""
    message = "The server had an error while processing your request. Sorry about that!"
    return Reply(path, times=times, status=status, body=error_body(message, None, "server_error"))


def overloaded(*, times: int | None = 1) -> Reply:
    """503: the model is overloaded."""
    body = error_body("The engine is currently overloaded, please try again later", "server_is_overloaded")
    return Reply(times=times, status=503, body=body)


def context_length_exceeded(*, times: int | None = 1) -> Reply:
    """400: the input exceeds the context window."""
    message = "Your input exceeds the context window of this model. Please adjust your input and try again."
    return Reply(times=times, status=400, body=error_body(message, "context_length_exceeded"))


def unsupported_model(model: object, *, is_chatgpt: bool) -> Reply:
    """400 of the ChatGPT backend or 404 of the API: the account does not have this model."""
    if is_chatgpt:
        text = f"The '{model}' model is not supported when using Codex with a ChatGPT account."
        return Reply(status=400, body={"detail": text})
    message = f"The model `{model}` does not exist or you do not have access to it."
    return Reply(status=404, body=error_body(message, "model_not_found"))


def previous_response_not_found(response_id: object, *, times: int | None = 1) -> Reply:
    """400: the response that a request follows is not here (any more)."""
    message = f"Previous response with id '{response_id}' not found."
    body = error_body(message, "previous_response_not_found")
    body["error"]["param"] = "previous_response_id"
    return Reply(times=times, status=400, body=body)


def websocket_connection_limit_reached(*, times: int | None = 1) -> Reply:
    """400 in a frame: the websocket has been open for too long."""
    message = "Responses websocket connection limit reached (60 minutes). Create a new websocket connection."
    body = error_body(message, "websocket_connection_limit_reached")
    return Reply(times=times, status=400, body=body)


def bad_request(message: str, code: str | None = None) -> Reply:
    """400 with the error object of the API."""
    return Reply(status=400, body=error_body(message, code))


def detail(status: int, text: str) -> Reply:
    """An error in the short form of the ChatGPT backend."""
    return Reply(status=status, body={"detail": text})


def failed(code: str, message: str, *before: Step, times: int | None = 1) -> Reply:
    """A stream that ends with ``response.failed`` after the steps ``before``."""
    error: Mapping[str, Any] = {"code": code, "message": message}
    return Reply(times=times, stream=(*before, End("failed", error=error)))


def cut(*before: Step, times: int | None = 1) -> Reply:
    """A stream whose connection is closed after the steps ``before``."""
    return Reply(times=times, stream=(*before, Cut()))
