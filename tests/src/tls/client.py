"""A client that says what a file tells it to, byte for byte.

Its arguments are a host, a port and a file with a JSON list. Each item is a connection: what to send, a list
of texts each of which is sent by a call of its own, a byte for each character. Then it reads until it has seen
the text that the item expects.
"""

import json
import socket
import ssl
import sys

HOST, PORT, PLAN = sys.argv[1], int(sys.argv[2]), sys.argv[3]
CONTEXT = ssl._create_unverified_context()

for number, item in enumerate(json.load(open(PLAN))):
    with socket.create_connection((HOST, PORT)) as plain:
        with CONTEXT.wrap_socket(plain) as connection:
            for piece in item["send"]:
                connection.sendall(piece.encode("latin-1"))
            seen = b""
            while item["until"].encode("latin-1") not in seen:
                received = connection.recv(65536)
                if not received:
                    sys.exit(f"connection {number} ended after {seen[-300:]}")
                seen += received
