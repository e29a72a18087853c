"""Answers requests over TLS: CERTIFICATE. Says its port once it listens."""
import socket, ssl, sys, threading

TEXT = b'{"answer":"yes"}'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
ANSWER = HEAD % len(TEXT) + TEXT


def serve(connection):
    buffer = bytearray(1 << 18)
    data = b""
    while True:
        while b"\r\n\r\n" not in data:
            more = connection.recv(1 << 16)
            if not more:
                return
            data += more
        head, _, data = data.partition(b"\r\n\r\n")
        left = 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                left = int(line.partition(b":")[2])
        taken = min(left, len(data))
        data, left = data[taken:], left - taken
        while left:
            size = connection.recv_into(buffer, min(left, len(buffer)))
            if not size:
                return
            left -= size
        connection.sendall(ANSWER)


def accept(plain):
    try:
        with context.wrap_socket(plain, server_side=True) as connection:
            serve(connection)
    except OSError:
        pass


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1])
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
while True:
    threading.Thread(target=accept, args=(listener.accept()[0],), daemon=True).start()
