"""TLS as Mozilla's modern profile has it, with a post-quantum key exchange first, and certificates that change while running."""

from __future__ import annotations

import logging
import os
import time

from OpenSSL import SSL

from securechat.certificates import CertificateFiles

logger = logging.getLogger(__name__)

LOOK_EVERY_SECONDS = 1.0  # At the files: thousands may connect meanwhile.
GROUPS = b"X25519MLKEM768:X25519:P-256:P-384"


class TLSContexts:
    """The context for each new connection; made again soon after the certificate's file or its key's is another one."""

    def __init__(self, files: CertificateFiles) -> None:
        self._files = files
        self._version = self._version_on_disk()
        self._context = self._make()
        self._look_at = 0.0

    def context(self) -> SSL.Context:
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + LOOK_EVERY_SECONDS
            self._look()
        return self._context

    def _look(self) -> None:
        version = self._version_on_disk()
        if version != self._version:
            self._version = version
            try:
                self._context = self._make()
            except SSL.Error:
                logger.exception("The new certificate cannot be used; the old one stays.")

    def _make(self) -> SSL.Context:
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_min_proto_version(SSL.TLS1_3_VERSION)
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        context.set_mode(SSL.MODE_RELEASE_BUFFERS)  # An idle connection needs none.
        context.use_certificate_chain_file(str(self._files.certificate))
        context.use_privatekey_file(str(self._files.key))
        context.check_privatekey()
        context.set_alpn_select_callback(_choose_protocol)
        _set_groups(context)
        return context

    def _version_on_disk(self) -> tuple[tuple[int, int], ...]:
        try:
            both = [os.stat(path) for path in (self._files.certificate, self._files.key)]
        except FileNotFoundError:
            return self._version if hasattr(self, "_version") else ()
        return tuple((status.st_mtime_ns, status.st_ino) for status in both)


def _choose_protocol(connection: SSL.Connection, offered: list[bytes]) -> bytes | object:
    return b"http/1.1" if b"http/1.1" in offered else SSL.NO_OVERLAPPING_PROTOCOLS


def _set_groups(context: SSL.Context) -> None:
    """pyOpenSSL has no name for it. An OpenSSL without ML-KEM keeps its own list, which begins with X25519."""
    if SSL._lib.SSL_CTX_set1_curves_list(context._context, GROUPS) != 1:
        SSL._openssl_assert(
            SSL._lib.SSL_CTX_set1_curves_list(context._context, GROUPS.partition(b":")[2]) == 1
        )
