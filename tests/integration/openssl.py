"""A TLS client on OpenSSL itself, for what Python's ssl module cannot do: KeyUpdate, and control of the records."""
from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import socket
from typing import Iterator

from waiting import SLOW

TLS_1_2, TLS_1_3 = 0x0303, 0x0304
SECONDS = int(20 * SLOW)  # the time limit of each call
_SET_MIN_VERSION, _SET_MAX_VERSION = 123, 124
_WANT_READ, _WANT_WRITE, _SYSCALL = 2, 3, 5  # results of SSL_get_error
_LIBRARY = ctypes.CDLL("libssl.so.3", use_errno=True)
_ERRORS = ctypes.CDLL("libcrypto.so.3")
for _name in ("TLS_client_method", "SSL_CTX_new", "SSL_new"):
    getattr(_LIBRARY, _name).restype = ctypes.c_void_p
_ERRORS.ERR_peek_error.restype = ctypes.c_ulong
_ERRORS.ERR_reason_error_string.argtypes, _ERRORS.ERR_reason_error_string.restype = [ctypes.c_ulong], ctypes.c_char_p


class OpenSslClient:
    """A connection whose handshake is done; blocking. A call without progress for SECONDS raises TimeoutError."""

    def __init__(self, address: tuple[str, int], version: int = TLS_1_3) -> None:
        self.reason = ""  # why the last failed call failed
        self.socket = socket.create_connection(address)
        # A blocking socket, as OpenSSL expects, but with a time limit.
        for limit in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            self.socket.setsockopt(socket.SOL_SOCKET, limit, SECONDS.to_bytes(8, "little") + bytes(8))
        self._context = ctypes.c_void_p(_LIBRARY.SSL_CTX_new(ctypes.c_void_p(_LIBRARY.TLS_client_method())))
        self._ssl = ctypes.c_void_p(_LIBRARY.SSL_new(self._context))
        for limit in (_SET_MIN_VERSION, _SET_MAX_VERSION):
            assert _LIBRARY.SSL_ctrl(self._ssl, limit, ctypes.c_long(version), None) == 1
        assert _LIBRARY.SSL_set_alpn_protos(self._ssl, b"\x02h2", 3) == 0
        assert _LIBRARY.SSL_set_fd(self._ssl, self.socket.fileno()) == 1
        self._do("SSL_connect")

    def close(self) -> None:
        _LIBRARY.SSL_free(self._ssl)
        _LIBRARY.SSL_CTX_free(self._context)
        self.socket.close()

    def _try(self, name: str, *arguments: object) -> int:
        """Call it again as long as signals interrupt it. Return its result, or 0 and set the reason if it failed."""
        while True:
            _ERRORS.ERR_clear_error()  # Python's ssl may have left errors in this thread's queue
            ctypes.set_errno(0)
            result = getattr(_LIBRARY, name)(self._ssl, *arguments)
            if result > 0:
                return result
            number = ctypes.get_errno()
            error = _LIBRARY.SSL_get_error(self._ssl, result)
            if error not in (_WANT_READ, _WANT_WRITE):
                break
            if number != errno.EINTR:
                raise TimeoutError(f"{name}: no progress for {SECONDS} s: {os.strerror(number)}")
        words = _ERRORS.ERR_reason_error_string(_ERRORS.ERR_peek_error())
        self.reason = f"{name}: SSL_get_error {error}, {os.strerror(number) if error == _SYSCALL else words}"
        return 0

    def _do(self, name: str, *arguments: object) -> None:
        """Call it; raise a ConnectionError if it fails."""
        if not self._try(name, *arguments):
            raise ConnectionError(self.reason)

    def send(self, data: bytes) -> None:
        """Send data in one record if it fits into one."""
        self._do("SSL_write", data, len(data))

    @contextlib.contextmanager
    def in_one_segment(self) -> Iterator[None]:
        """Hold back data with TCP_CORK, so that it is sent in one segment if it fits into one."""
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        yield
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)

    def receive(self, size: int = 1 << 16) -> bytes:
        """The next data; empty at the end of the connection, with the cause in `reason`."""
        buffer = ctypes.create_string_buffer(size)
        length = self._try("SSL_read", buffer, size)
        return buffer.raw[:length]

    def update_keys(self, both: bool) -> None:
        """Send KeyUpdate; with `both`, request one from the server, too."""
        assert _LIBRARY.SSL_key_update(self._ssl, int(both)) == 1
        self._do("SSL_do_handshake")

    def end(self) -> None:
        """Send close_notify; the socket stays open."""
        _LIBRARY.SSL_shutdown(self._ssl)
