"""Talks over TLS to PORT of this host: `calls N`, `writes SIZE N`, or `pace MB_PER_S SECONDS`.

Prints what it reached, in MB a second."""
import json, socket, ssl, sys, time

port, what, first, *rest = sys.argv[1:]
context = ssl._create_unverified_context()
plain = socket.create_connection(("127.0.0.1", int(port)))
# Else the last record of a request waits for an acknowledgement that the server delays.
plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
connection = context.wrap_socket(plain)


def head(length):
    text = "POST /v1/sessions HTTP/1.1\r\nHost: api.example.com\r\n"
    return f"{text}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n".encode()


def call(request):
    connection.sendall(request)
    assert connection.recv(4096).endswith(b'"yes"}')


start, sent = time.monotonic(), 0
if what == "calls":
    request = head(16) + b'{"question":"?"}'
    for _ in range(int(first)):
        call(request)
elif what == "writes":
    size, times = int(first), int(rest[0])
    piece = (b"[" + b"1," * size)[:size]
    connection.sendall(head(size * times))
    for _ in range(times):
        connection.sendall(piece)
    connection.recv(4096)
else:
    rate, seconds = float(first) * 1e6, float(rest[0])
    text = "The report of the customer should be in the table, not in the log. "
    session = {"model": "m", "messages": [{"role": "user", "content": text * 15}] * 62}
    request = json.dumps(session).encode()
    request = head(len(request)) + request
    while (now := time.monotonic() - start) < seconds:
        if sent > rate * now:
            time.sleep(0.001)
            continue
        call(request)
        sent += len(request)
print(sent / 1e6 / (time.monotonic() - start))
