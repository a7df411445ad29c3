"""A TLS client by OpenSSL itself, which can say what Python's ssl cannot: KeyUpdate, records of any size."""
from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import socket
from typing import Iterator

from waiting import SLOW

TLS_1_2, TLS_1_3 = 0x0303, 0x0304
SECONDS = int(20 * SLOW)  # how long a call waits for the daemon
_SET_MIN_VERSION, _SET_MAX_VERSION = 123, 124
_WANT_READ, _WANT_WRITE, _SYSCALL = 2, 3, 5  # SSL_get_error's
_LIBRARY = ctypes.CDLL("libssl.so.3", use_errno=True)
_ERRORS = ctypes.CDLL("libcrypto.so.3")
for _name in ("TLS_client_method", "SSL_CTX_new", "SSL_new"):
    getattr(_LIBRARY, _name).restype = ctypes.c_void_p
_ERRORS.ERR_peek_error.restype = ctypes.c_ulong
_ERRORS.ERR_reason_error_string.argtypes, _ERRORS.ERR_reason_error_string.restype = [ctypes.c_ulong], ctypes.c_char_p


class OpenSslClient:
    """A connection behind its handshake; blocking. If the daemon does nothing for SECONDS, that is a TimeoutError."""

    def __init__(self, address: tuple[str, int], version: int = TLS_1_3) -> None:
        self.reason = ""  # why the last call that failed did
        self.socket = socket.create_connection(address)
        # In blocking mode, as OpenSSL wants it, yet with an end.
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
        """Call it until no signal interrupts it. Return its result, or 0 with the reason if it failed."""
        while True:
            _ERRORS.ERR_clear_error()  # Python's ssl may have left some to this thread
            ctypes.set_errno(0)
            result = getattr(_LIBRARY, name)(self._ssl, *arguments)
            if result > 0:
                return result
            number = ctypes.get_errno()
            error = _LIBRARY.SSL_get_error(self._ssl, result)
            if error not in (_WANT_READ, _WANT_WRITE):
                break
            if number != errno.EINTR:
                raise TimeoutError(f"{name}: nothing happened for {SECONDS} s: {os.strerror(number)}")
        words = _ERRORS.ERR_reason_error_string(_ERRORS.ERR_peek_error())
        self.reason = f"{name}: SSL_get_error {error}, {os.strerror(number) if error == _SYSCALL else words}"
        return 0

    def _do(self, name: str, *arguments: object) -> None:
        """Call what has to succeed while the connection lasts."""
        if not self._try(name, *arguments):
            raise ConnectionError(self.reason)

    def send(self, data: bytes) -> None:
        """In one record, if it is not longer than one may be."""
        self._do("SSL_write", data, len(data))

    @contextlib.contextmanager
    def in_one_segment(self) -> Iterator[None]:
        """What is sent meanwhile arrives at once, if it has room in a segment."""
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        yield
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)

    def receive(self, size: int = 1 << 16) -> bytes:
        """What comes next; nothing at the end, of which the reason tells."""
        buffer = ctypes.create_string_buffer(size)
        length = self._try("SSL_read", buffer, size)
        return buffer.raw[:length]

    def update_keys(self, both: bool) -> None:
        """Say KeyUpdate; that the server has to say one, too, if ${both}."""
        assert _LIBRARY.SSL_key_update(self._ssl, int(both)) == 1
        self._do("SSL_do_handshake")

    def end(self) -> None:
        """Say close_notify, and go on."""
        _LIBRARY.SSL_shutdown(self._ssl)
