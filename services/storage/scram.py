"""PostgreSQL's SCRAM-SHA-256 verifier (RFC 5803): no password travels in a statement."""

import base64
import hashlib
import hmac
import os

ITERATIONS = 4096


def verifier(password: str, salt: bytes | None = None) -> str:
    """Return what ``alter role … password`` stores for a password (ASCII, as ours are)."""
    salt = salt or os.urandom(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, ITERATIONS)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    stored_key = hashlib.sha256(client_key).digest()
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    return f"SCRAM-SHA-256${ITERATIONS}:{_text(salt)}${_text(stored_key)}:{_text(server_key)}"


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()
