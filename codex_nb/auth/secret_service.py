"""The login's entry in a Linux keyring, found and made so that the Codex CLI finds it too.

The Secret Service knows entries by their attributes. The CLI's library asks for ``service``, ``username`` and
``target``; Python's ``keyring`` sets no ``target``, so what it saved would lie beside the CLI's entry as a second one,
and the CLI would go on with a login that is spent. So an entry that is there is changed in place, and a new one is made
with the CLI's attributes.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

BACKEND = "keyring.backends.SecretService"
CHAIN = "keyring.backends.chainer"


class SecretServiceEntry:
    """Reads, writes and deletes entries through the ``keyring`` library's Secret Service backend."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend

    def get_password(self, service: str, username: str) -> str | None:
        """Read the entry; the CLI's own when there are several."""
        collection = self._backend.get_preferred_collection()
        with closing(collection.connection):
            for item in self._items(collection, service, username):
                return str(item.get_secret().decode("utf-8"))
        return None

    def set_password(self, service: str, username: str, value: str) -> None:
        """Change every entry of this name, or make the one that the CLI would make."""
        collection = self._backend.get_preferred_collection()
        with closing(collection.connection):
            items = list(self._items(collection, service, username))
            for item in items:
                item.set_secret(value.encode("utf-8"))
            if not items:
                attributes = {**_query(service, username), "target": "default", "application": "rust-keyring"}
                collection.create_item(f"{username}@{service}:default", attributes, value.encode("utf-8"))

    def delete_password(self, service: str, username: str) -> None:
        """Delete every entry of this name."""
        collection = self._backend.get_preferred_collection()
        with closing(collection.connection):
            for item in list(self._items(collection, service, username)):
                item.delete()

    def _items(self, collection: Any, service: str, username: str) -> Iterator[Any]:
        found = list(collection.search_items(_query(service, username)))
        for item in sorted(found, key=lambda item: "target" not in item.get_attributes()):
            self._backend.unlock(item)
            yield item


def suited_to_the_cli(backend: Any) -> Any:
    """Give the backend as it is, or one that names Secret Service entries as the CLI does."""
    candidates = list(backend.backends) if type(backend).__module__ == CHAIN else [backend]
    for candidate in candidates:
        if type(candidate).__module__ == BACKEND:
            return SecretServiceEntry(candidate)
    return backend


def _query(service: str, username: str) -> dict[str, str]:
    return {"service": service, "username": username}
