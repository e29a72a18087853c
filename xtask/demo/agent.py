"""A small AI agent: it asks a model what to do next, and does it.

usage: agent.py MODEL_URL PROMPT

Talks to any endpoint that speaks OpenAI's chat completions with tools, over TLS. Says what it does on
standard output, a JSON object on a line.
"""

import http.client
import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

PATIENCE = 20  # seconds, for each thing that is waited for


def tool(name, description, argument):
    parameters = {"type": "object", "properties": {argument: {"type": "string"}}, "required": [argument]}
    function = {"name": name, "description": description, "parameters": parameters}
    return {"type": "function", "function": function}


TOOLS = [
    tool("run_command", "Run a shell command and return its output.", "command"),
    tool("fetch_url", "Fetch a URL and return its body.", "url"),
]

# Whatever proxy the environment names, the agent asks the host itself.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def say(event, **what):
    now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    print(json.dumps({"boot_time_ns": now, "event": event, **what}), flush=True)


def run_command(command):
    done = subprocess.run(
        ["sh", "-c", command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=PATIENCE,
        check=False,
    )
    if done.returncode < 0:
        return f"ended by {signal.Signals(-done.returncode).name}"
    return done.stdout.decode(errors="replace").strip()


def fetch_url(url):
    body = b""
    with OPENER.open(url, timeout=PATIENCE) as response:
        while chunk := response.read1(4096):
            if not body:
                say("receiving", url=url)
            body += chunk
    return body.decode(errors="replace").strip()


def call(function):
    """Does what the model asked for. What goes wrong is an answer too."""
    name, arguments = function["name"], json.loads(function["arguments"])
    say("call", tool=name, argument=next(iter(arguments.values()), ""))
    try:
        result = {"run_command": run_command, "fetch_url": fetch_url}[name](**arguments)
    except urllib.error.URLError as error:
        result = f"error: {error.reason}"
    except (OSError, http.client.HTTPException, subprocess.SubprocessError) as error:
        result = f"error: {error}"
    say("result", tool=name, text=result)
    return result


def main(url, prompt):
    address = urllib.parse.urlsplit(url)
    model = http.client.HTTPSConnection(address.netloc, timeout=PATIENCE)
    messages = [{"role": "user", "content": prompt}]
    say("prompt", text=prompt)
    while True:
        body = json.dumps({"model": "demo-1", "messages": messages, "tools": TOOLS})
        model.request("POST", address.path, body, {"Content-Type": "application/json"})
        message = json.load(model.getresponse())["choices"][0]["message"]
        messages.append(message)
        if not message.get("tool_calls"):
            say("answer", text=message["content"])
            return
        say("thought", text=message["content"])
        for wanted in message["tool_calls"]:
            result = call(wanted["function"])
            messages.append({"role": "tool", "tool_call_id": wanted["id"], "content": result})


main(*sys.argv[1:])
