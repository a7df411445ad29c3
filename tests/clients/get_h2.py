"""Send a GET to the URL in the arguments with Python's h2, and print the response's content."""
from __future__ import annotations

import socket
import ssl
import sys
from urllib.parse import SplitResult, urlsplit

import h2.connection
import h2.events


def connect(url: SplitResult) -> socket.socket:
    stream = socket.create_connection((url.hostname, url.port), timeout=10)
    if url.scheme == "http":
        return stream
    context = ssl.create_default_context()
    context.set_alpn_protocols(["h2"])
    return context.wrap_socket(stream, server_hostname=url.hostname)


def get(url: SplitResult) -> bytes:
    connection = h2.connection.H2Connection()
    connection.initiate_connection()
    fields = [(":method", "GET"), (":path", url.path), (":scheme", url.scheme), (":authority", url.netloc)]
    connection.send_headers(1, fields, end_stream=True)
    body = b""
    with connect(url) as stream:
        while True:
            stream.sendall(connection.data_to_send())
            for event in connection.receive_data(stream.recv(65536)):
                if isinstance(event, h2.events.DataReceived):
                    body += event.data
                elif isinstance(event, h2.events.StreamEnded):
                    return body


print(get(urlsplit(sys.argv[1])).decode(), end="")
