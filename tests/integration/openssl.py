"""A TLS client by OpenSSL itself, which can say what Python's ssl cannot: KeyUpdate, records of any size."""
from __future__ import annotations

import ctypes
import socket

from waiting import SLOW

TLS_1_2, TLS_1_3 = 0x0303, 0x0304
_SET_MIN_VERSION, _SET_MAX_VERSION = 123, 124
_LIBRARY = ctypes.CDLL("libssl.so.3")
for _name in ("TLS_client_method", "SSL_CTX_new", "SSL_new"):
    getattr(_LIBRARY, _name).restype = ctypes.c_void_p


class OpenSslClient:
    """A connection behind its handshake; blocking."""

    def __init__(self, address: tuple[str, int], version: int = TLS_1_3) -> None:
        self.socket = socket.create_connection(address)
        # In blocking mode, as OpenSSL wants it, yet with an end.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, int(20 * SLOW).to_bytes(8, "little") + bytes(8))
        self._context = ctypes.c_void_p(_LIBRARY.SSL_CTX_new(ctypes.c_void_p(_LIBRARY.TLS_client_method())))
        self._ssl = ctypes.c_void_p(_LIBRARY.SSL_new(self._context))
        for limit in (_SET_MIN_VERSION, _SET_MAX_VERSION):
            assert _LIBRARY.SSL_ctrl(self._ssl, limit, ctypes.c_long(version), None) == 1
        assert _LIBRARY.SSL_set_alpn_protos(self._ssl, b"\x02h2", 3) == 0
        assert _LIBRARY.SSL_set_fd(self._ssl, self.socket.fileno()) == 1
        assert _LIBRARY.SSL_connect(self._ssl) == 1

    def close(self) -> None:
        _LIBRARY.SSL_free(self._ssl)
        _LIBRARY.SSL_CTX_free(self._context)
        self.socket.close()

    def send(self, data: bytes) -> bool:
        """In one record, if it is not longer than one may be."""
        return _LIBRARY.SSL_write(self._ssl, data, len(data)) == len(data)

    def receive(self, size: int = 1 << 16) -> bytes:
        """What comes next; nothing at the end."""
        buffer = ctypes.create_string_buffer(size)
        length = _LIBRARY.SSL_read(self._ssl, buffer, size)
        return buffer.raw[:max(length, 0)]

    def update_keys(self, both: bool) -> bool:
        """Say KeyUpdate; that the server has to say one, too, if ${both}."""
        return _LIBRARY.SSL_key_update(self._ssl, int(both)) == 1 and _LIBRARY.SSL_do_handshake(self._ssl) == 1

    def end(self) -> None:
        """Say close_notify, and go on."""
        _LIBRARY.SSL_shutdown(self._ssl)
