"""What the scripts beside it start: the service on data of its own, nginx on a configuration, and how to ask both."""

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import contextmanager
from http.client import HTTPConnection, RemoteDisconnected
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug" / "termbase"
PROGRAMS = os.environ["PATH"] + ":/usr/sbin:/usr/local/sbin:/opt/homebrew/bin"
NGINX = shutil.which("nginx", path=PROGRAMS)
TOKEN = "tb_0123456789abcdefghijklmnopqrstuv"


class Server:
    def __init__(self, address):
        self.address = urlsplit(address).netloc
        self.connection = HTTPConnection(self.address, timeout=20)

    def ask(self, path, method="GET", body=None, **headers):
        """Status, headers and body, redirects not followed."""
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            self.connection.request(method, path, body, headers)
            answer = self.connection.getresponse()
        except (RemoteDisconnected, ConnectionError):
            # nginx ends a connection after a thousand requests, and when it reloads; a service that was started again has none.
            self.connection.close()
            self.connection.request(method, path, body, headers)
            answer = self.connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()

    def json(self, path):
        status, _, body = self.ask(path)
        assert status == 200, (path, status, body)
        return json.loads(body)

    def edit(self, method, path, document=None):
        body = json.dumps(document) if document is not None else None
        kind = {"Content-Type": "application/json"} if body else {}
        status, _, answer = self.ask(path, method, body, Authorization=f"Bearer {TOKEN}", **kind)
        assert status in (200, 201, 204), (method, path, status, answer)
        return json.loads(answer) if answer else None


def build():
    assert NGINX, "nginx is not installed: apt-get install nginx-light"
    subprocess.run(["cargo", "build", "--quiet"], cwd=ROOT, check=True)


def environment(folder, **settings):
    """Nothing of ours but what is said."""
    own = {name: os.environ[name] for name in ["PATH", "HOME", "PG_BIN_DIR"] if name in os.environ}
    own |= {"TERMBASE_LISTEN": "127.0.0.1:0", "TERMBASE_DATA_DIR": f"{folder}/data"}
    return own | {"TERMBASE_ADMIN_TOKEN": TOKEN, "TERMBASE_LOG": "warn"} | settings


@contextmanager
def service(folder, environment):
    """The service on the data in a folder, from when it listens."""
    with subprocess.Popen([PROGRAM], cwd=folder, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            said = (line.rpartition(" listens on ") for line in process.stdout)
            yield Server(next(address.strip() for _, listens, address in said if listens))
        finally:
            process.terminate()


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def start(words, port, stderr=None):
    """A server that is told to stay in the foreground, from when it takes connections."""
    process = subprocess.Popen(words, stderr=stderr)
    try:
        wait_for(f"{words[0]} on port {port}", lambda: process.poll() is not None or takes_connections(port))
        assert process.poll() is None, f"{words[0]} does not start"
    except BaseException:
        process.kill()
        raise
    return process


def start_nginx(folder, configuration, port):
    return start([NGINX, "-p", folder, "-c", configuration, "-e", "stderr", "-g", "daemon off;"], port)


def takes_connections(port):
    try:
        socket.create_connection(("127.0.0.1", port)).close()
        return True
    except ConnectionRefusedError:
        return False


def wait_for(what, condition, seconds=60):
    """What the condition gives once that is something, and after how many seconds."""
    began = time.monotonic()
    while not (found := condition()):
        assert time.monotonic() < began + seconds, f"waited {seconds} s in vain: {what}"
        time.sleep(0.01)
    return found, time.monotonic() - began


def stop(process, how=signal.SIGTERM):
    process.send_signal(how)
    process.wait(timeout=60)
