"""What a secret is called where it was taken out."""

from __future__ import annotations

OPENAI_KEY = "an OpenAI key"
JSON_WEB_TOKEN = "a JSON web token"  # noqa: S105  (a name, as all of these)
GITHUB_TOKEN = "a GitHub token"  # noqa: S105
GITLAB_TOKEN = "a GitLab token"  # noqa: S105
AWS_KEY = "an AWS key"
GOOGLE_KEY = "a Google key"
GOOGLE_TOKEN = "a Google token"  # noqa: S105
SLACK_TOKEN = "a Slack token"  # noqa: S105
HUGGING_FACE_TOKEN = "a Hugging Face token"  # noqa: S105
STRIPE_KEY = "a Stripe key"
PYPI_TOKEN = "a PyPI token"  # noqa: S105
NPM_TOKEN = "an npm token"  # noqa: S105
DATABRICKS_TOKEN = "a Databricks token"  # noqa: S105
PERSONAL_ACCESS_TOKEN = "a personal access token"  # noqa: S105
PRIVATE_KEY = "a private key"
BEARER_TOKEN = "a bearer token"  # noqa: S105
PASSWORD_IN_ADDRESS = "a password in an address"  # noqa: S105
ASSIGNED = "an assigned secret"
ENCODED = "an encoded secret"
LOGIN_TOKEN = "the login's token"  # noqa: S105
LOGIN_REFRESH_TOKEN = "the login's refresh token"  # noqa: S105


def password_in_variable(variable: str) -> str:
    """Name a password that stands in a variable's address."""
    return f"the password in ${variable}"
