"""An HTTPS server that answers what files say, and writes down what it was asked.

Its arguments are a port and a directory, in which are:
  certificate.pem  its certificate and key
  answers/NAME     what to answer to a request of /NAME: a JSON list of texts, each of which is sent by a call
                   of its own, a byte for each character. Everything else is answered by its path.
  heard            what it was asked, a JSON line each
"""

import hashlib
import json
import os
import socket
import ssl
import sys
import threading
import time

PORT, DIRECTORY = int(sys.argv[1]), sys.argv[2]
HEARD = open(f"{DIRECTORY}/heard", "a", buffering=1)


class Reader:
    """Reads lines and bytes of a connection."""

    def __init__(self, connection):
        self.connection = connection
        self.held = b""
        self.pause = 0

    def more(self):
        time.sleep(self.pause)
        received = self.connection.recv(16384)
        if not received:
            raise EOFError
        self.held += received

    def line(self):
        while b"\n" not in self.held:
            self.more()
        line, self.held = self.held.split(b"\n", 1)
        return line.strip().decode("latin-1")

    def bytes(self, count):
        parts = []
        while count > len(self.held):
            parts.append(self.held)
            count -= len(self.held)
            self.held = b""
            self.more()
        parts.append(self.held[:count])
        self.held = self.held[count:]
        return b"".join(parts)


def body_of(reader, headers):
    if "chunked" in headers.get("transfer-encoding", ""):
        body = b""
        while size := int(reader.line().split(";")[0], 16):
            body += reader.bytes(size)
            reader.line()
        reader.line()
        return body
    return reader.bytes(int(headers.get("content-length", 0)))


def answer(connection, path):
    name = path.strip("/").split("?")[0].replace("/", "_")
    try:
        with open(f"{DIRECTORY}/answers/{name}") as file:
            pieces = json.load(file)
    except (FileNotFoundError, IsADirectoryError):
        body = json.dumps({"answer": f"the answer to {path}"})
        pieces = [
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}"
        ]
    for piece in pieces:
        connection.sendall(piece.encode("latin-1"))


def serve(connection, context):
    try:
        connection = context.wrap_socket(connection, server_side=True)
        reader = Reader(connection)
        while True:
            method, path, _ = reader.line().split(" ")
            headers = {}
            while line := reader.line():
                name, value = line.split(":", 1)
                headers[name.lower()] = value.strip()
            reader.pause = 0.02 if path.startswith("/slow") else 0
            body = body_of(reader, headers)
            heard = {
                "method": method,
                "path": path,
                "port": connection.getpeername()[1],
                "size": len(body),
                "sha256": hashlib.sha256(body).hexdigest(),
            }
            HEARD.write(json.dumps(heard) + "\n")
            answer(connection, path)
            if headers.get("connection", "").lower() == "close":
                connection.unwrap()
                break
    except (EOFError, OSError, ValueError):
        pass
    finally:
        connection.close()


def main():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{DIRECTORY}/certificate.pem")
    listener = socket.create_server(("0.0.0.0", PORT), backlog=1024)
    print("ready", flush=True)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=(connection, context), daemon=True).start()


main()
