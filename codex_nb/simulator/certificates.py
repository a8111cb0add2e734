"""A certificate authority of the simulator's own, for clients that accept nothing but TLS (needs ``trustme``)."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def make_tls(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """A server context for loopback names, and the file of the authority that clients have to trust."""
    try:
        import trustme
    except ImportError as error:
        message = "TLS needs the trustme package: pip install 'codex-nb[simulator]'"
        raise RuntimeError(message) from error
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost", "::1").configure_cert(context)
    ca_file = folder / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    return context, ca_file
