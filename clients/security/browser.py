"""A headless Chromium, driven over a pipe (Chrome DevTools Protocol), with nothing else installed."""

import fcntl
import itertools
import json
import os
import select
import shutil
import subprocess
import time

PATIENCE_S = 30


def find():
    """The browser of this machine, or None."""
    names = ("chromium", "chromium-browser", "google-chrome", "headless_shell")
    return next(filter(None, map(shutil.which, names)), None)


def _pipe():
    """A pipe whose ends have numbers that a shell does not use itself."""
    ends = os.pipe()
    high = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 20) for end in ends]
    for end in ends:
        os.close(end)
    return high


class Browser:
    """One browser with one page."""

    def __init__(self, program, folder):
        (into, self._write), (self._read, out) = _pipe(), _pipe()
        command = [
            program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
            f"--user-data-dir={folder}", "--remote-debugging-pipe", "about:blank",
        ]
        self.process = subprocess.Popen(
            ["bash", "-c", f'exec "$@" 3<&{into} 4>&{out}', "browser", *command], pass_fds=(into, out),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        os.close(into)
        os.close(out)
        self._numbers, self._rest, self.requests, self.faults = itertools.count(1), b"", [], []
        self._session = None
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self._call(f"{domain}.enable")

    def close(self):
        os.close(self._write)
        os.close(self._read)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _message(self, end):
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._read], [], [], max(0, end - time.monotonic()))
            data = os.read(self._read, 1 << 16) if ready else b""
            assert data, "the browser does not answer"
            self._rest += data
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

    def _call(self, method, **params):
        number, end = next(self._numbers), time.monotonic() + PATIENCE_S
        call = {"id": number, "method": method, "params": params}
        if self._session:
            call["sessionId"] = self._session
        os.write(self._write, json.dumps(call).encode() + b"\0")
        while True:
            message = self._message(end)
            if message.get("id") == number:
                assert "error" not in message, (method, message)
                return message["result"]
            self._note(message)

    def _note(self, message):
        """Keeps what the page asks for, and what goes wrong on it."""
        params = message.get("params", {})
        match message.get("method"):
            case "Network.requestWillBeSent":
                self.requests.append((params["request"]["method"], params["request"]["url"], params["request"]["headers"]))
            case "Runtime.exceptionThrown":
                self.faults.append(params["exceptionDetails"])
            case "Log.entryAdded" if params["entry"]["level"] == "error" and params["entry"]["source"] != "network":
                self.faults.append(params["entry"]["text"])

    def open(self, url):
        self._call("Page.navigate", url=url)

    def ask(self, script):
        """The value of an expression of JavaScript on the page."""
        told = self._call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    def wait(self, script):
        """Asks until the answer is a true one, and returns it."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            if value := self.ask(script):
                return value
            time.sleep(0.05)
        raise AssertionError(f"never true: {script}\n{self.faults}\n{self.ask('document.body.innerText')}")

    def click(self, selector):
        """Clicks on an element as soon as it is there."""
        self.wait(f"!!document.querySelector({json.dumps(selector)})")
        self.ask(f"document.querySelector({json.dumps(selector)}).click()")

    def type(self, selector, text):
        """Writes into a field as a person does: frameworks hear of it."""
        self.wait(f"!!document.querySelector({json.dumps(selector)})")
        self.ask(f"""(() => {{
            const field = document.querySelector({json.dumps(selector)});
            const kind = field.tagName === "SELECT" ? HTMLSelectElement : HTMLInputElement;
            Object.getOwnPropertyDescriptor(kind.prototype, "value").set.call(field, {json.dumps(text)});
            for (const name of ["input", "change", "focusout"]) field.dispatchEvent(new Event(name, {{ bubbles: true }}));
        }})()""")
