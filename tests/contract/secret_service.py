"""A Secret Service in memory on its own D-Bus: the keyring that both programs use on a Linux desktop.

Implements what clients use of the freedesktop Secret Service API, draft 0.2: sessions (plain, and the Diffie-Hellman
session that both programs prefer), one unlocked collection, and items found by their attributes.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from jeepney import HeaderFields, Message, MessageType, new_error, new_method_return
from jeepney.bus_messages import message_bus
from jeepney.io.blocking import open_dbus_connection
from secretstorage.dhcrypto import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SERVICE = "/org/freedesktop/secrets"
COLLECTION = f"{SERVICE}/collection/login"
DEFAULT = f"{SERVICE}/aliases/default"
DIFFIE_HELLMAN = "dh-ietf1024-sha256-aes128-cbc-pkcs7"
Answer = tuple[str, tuple[Any, ...]]


@dataclass
class Item:
    """One entry of the keyring."""

    attributes: dict[str, str]
    label: str
    secret: bytes
    content_type: str = "text/plain"


@dataclass
class SecretService:
    """The state, and what each method does to it."""

    items: dict[str, Item] = field(default_factory=dict)
    sessions: dict[str, bytes | None] = field(default_factory=dict)
    made: int = 0

    def answer(self, path: str, interface: str, method: str, body: tuple[Any, ...]) -> Answer:
        """Carry out one call; LookupError for what there is not."""
        kind = interface.rpartition(".")[2]
        handler: Callable[..., Answer] | None = getattr(self, f"{kind}_{method}".lower(), None)
        if handler is None:
            raise LookupError(f"{interface}.{method}")
        return handler(path, *body)

    # org.freedesktop.Secret.Service

    def service_opensession(self, _: str, algorithm: str, value: tuple[str, Any]) -> Answer:
        path = f"{SERVICE}/session/{len(self.sessions) + 1}"
        if algorithm == "plain":
            self.sessions[path] = None
            return "vo", (("s", ""), path)
        if algorithm != DIFFIE_HELLMAN:
            raise LookupError(algorithm)
        ours = Session()
        ours.set_server_public_key(int.from_bytes(bytes(value[1]), "big"))
        self.sessions[path] = ours.aes_key
        return "vo", (("ay", ours.my_public_key.to_bytes(128, "big")), path)

    def service_searchitems(self, _: str, attributes: dict[str, str]) -> Answer:
        return "aoao", (self.found(attributes), [])

    def service_unlock(self, _: str, paths: list[str]) -> Answer:
        return "aoo", (paths, "/")

    service_lock = service_unlock

    def service_getsecrets(self, _: str, paths: list[str], session: str) -> Answer:
        return "a{o(oayays)}", ({path: self.sealed(self.items[path], session) for path in paths},)

    def service_readalias(self, _: str, name: str) -> Answer:
        return "o", (COLLECTION if name == "default" else "/",)

    # org.freedesktop.Secret.Collection

    def collection_searchitems(self, _: str, attributes: dict[str, str]) -> Answer:
        return "ao", (self.found(attributes),)

    def collection_createitem(
        self, _: str, facts: dict[str, Any], secret: tuple[Any, ...], replace: bool
    ) -> Answer:
        attributes = dict(facts["org.freedesktop.Secret.Item.Attributes"][1])
        label = facts.get("org.freedesktop.Secret.Item.Label", ("s", ""))[1]
        same = [path for path, item in self.items.items() if replace and item.attributes == attributes]
        self.made += not same
        path = same[0] if same else f"{COLLECTION}/{self.made}"
        self.items[path] = Item(attributes, label, b"")
        self.item_setsecret(path, secret)
        return "oo", (path, "/")

    # org.freedesktop.Secret.Item

    def item_getsecret(self, path: str, session: str) -> Answer:
        return "(oayays)", (self.sealed(self.items[path], session),)

    def item_setsecret(self, path: str, secret: tuple[str, Any, Any, str]) -> Answer:
        session, nonce, value, content_type = secret
        key, data = self.sessions[session], bytes(value)
        if key is not None:
            decryptor = Cipher(algorithms.AES(key), modes.CBC(bytes(nonce))).decryptor()
            unpadder = padding.PKCS7(128).unpadder()
            data = unpadder.update(decryptor.update(data) + decryptor.finalize()) + unpadder.finalize()
        self.items[path].secret, self.items[path].content_type = data, content_type
        return "", ()

    def item_delete(self, path: str) -> Answer:
        del self.items[path]
        return "o", ("/",)

    def session_close(self, path: str) -> Answer:
        self.sessions.pop(path, None)
        return "", ()

    # org.freedesktop.DBus.Properties

    def properties_get(self, path: str, _: str, name: str) -> Answer:
        return "v", (self.properties(path)[name],)

    def properties_getall(self, path: str, _: str) -> Answer:
        return "a{sv}", (self.properties(path),)

    def properties_set(self, path: str, _: str, name: str, value: tuple[str, Any]) -> Answer:
        if name == "Attributes":
            self.items[path].attributes = dict(value[1])
        return "", ()

    def properties(self, path: str) -> dict[str, tuple[str, Any]]:
        times = {"Created": ("t", 0), "Modified": ("t", 0), "Locked": ("b", False)}
        if path == SERVICE:
            return {"Collections": ("ao", [COLLECTION])}
        if path in (COLLECTION, DEFAULT):
            return {"Items": ("ao", list(self.items)), "Label": ("s", "Login"), **times}
        item = self.items[path]
        return {
            "Attributes": ("a{ss}", item.attributes),
            "Label": ("s", item.label),
            "Type": ("s", ""),
            **times,
        }

    def found(self, attributes: dict[str, str]) -> list[str]:
        return [path for path, item in self.items.items() if attributes.items() <= item.attributes.items()]

    def sealed(self, item: Item, session: str) -> tuple[str, bytes, bytes, str]:
        key = self.sessions[session]
        if key is None:
            return session, b"", item.secret, item.content_type
        nonce = secrets.token_bytes(16)
        padder = padding.PKCS7(128).padder()
        encryptor = Cipher(algorithms.AES(key), modes.CBC(nonce)).encryptor()
        data = encryptor.update(padder.update(item.secret) + padder.finalize()) + encryptor.finalize()
        return session, nonce, data, item.content_type


def reply_to(service: SecretService, call: Message) -> Message:
    fields = call.header.fields
    path, method = fields[HeaderFields.path], fields[HeaderFields.member]
    interface = fields.get(HeaderFields.interface, "")
    try:
        signature, body = service.answer(path, interface, method, call.body)
    except KeyError:
        return new_error(call, "org.freedesktop.Secret.Error.NoSuchObject", "s", (path,))
    except LookupError as error:
        return new_error(call, "org.freedesktop.DBus.Error.UnknownMethod", "s", (str(error),))
    return new_method_return(call, signature or None, body)


@contextmanager
def desktop(folder: Path) -> Iterator[tuple[SecretService, str]]:
    """Run a bus and a Secret Service on it; gives the service and the bus's address."""
    address = f"unix:path={folder / 'bus'}"
    command = [
        "dbus-daemon",
        "--session",
        "--nofork",
        "--nopidfile",
        f"--address={address}",
        "--print-address",
    ]
    service = SecretService()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={"PATH": os.environ["PATH"]}
    ) as daemon:
        assert daemon.stdout is not None
        assert daemon.stdout.readline().startswith("unix:path=")
        with open_dbus_connection(bus=address) as connection:
            connection.send_and_get_reply(message_bus.RequestName("org.freedesktop.secrets"))
            thread = threading.Thread(target=serve, args=(connection, service))
            thread.start()
            try:
                yield service, address
            finally:
                daemon.terminate()
                thread.join()


def serve(connection: Any, service: SecretService) -> None:
    """Answer until the bus is gone."""
    while True:
        try:
            call = connection.receive()
        except (ConnectionError, EOFError):
            return
        if call.header.message_type is MessageType.method_call:
            connection.send(reply_to(service, call))
