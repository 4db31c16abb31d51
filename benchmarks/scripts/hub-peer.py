#!/usr/bin/env python3
"""Compares downloads of this library with those of huggingface_hub, on a local server that speaks the hub's protocol.

Needs huggingface_hub and a build (mvn -DskipTests package). Everything lies in a temporary folder and is deleted.

    python benchmarks/scripts/hub-peer.py            # each reads what the other wrote, and waits for the other's lock
    python benchmarks/scripts/hub-peer.py --large    # a file of 1 GB as well, its connection cut ten times
"""

import argparse
import fcntl
import hashlib
import http.server
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODEL = ROOT / "llara-core/src/test/resources/stories260k"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
TOKEN = "hf_localTokenForThisScript"
MEGABYTE = 1 << 20

FETCH = """
import io.llara.ModelSource;

public class Fetch {
  public static void main(String[] args) {
    System.out.println(ModelSource.hub(args[0]).resolve());
  }
}
"""


class Repository:
    """The files of one repository on disk, how often to cut, and what was asked."""

    def __init__(self, folder):
        self.folder = folder
        self.cuts = 0
        self.cut_after = 0
        self.requests = []
        self.hashes = {}

    def content(self, name):
        path = self.folder / name
        if name not in self.hashes:
            size = path.stat().st_size
            lfs = name.endswith(".safetensors")
            digest = hashlib.sha256() if lfs else hashlib.sha1(b"blob %d\0" % size)
            with open(path, "rb") as file:
                while block := file.read(MEGABYTE):
                    digest.update(block)
            self.hashes[name] = (path, size, digest.hexdigest(), lfs)
        return self.hashes[name]


def handler(repository, storage_port):
    """Answers as the hub does; as its storage if there is no port of one."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args):
            pass

        def do_HEAD(self):
            self.answer(False)

        def do_GET(self):
            self.answer(True)

        def model(self, files):
            siblings = [{"rfilename": name} for name in files]
            return {"id": "org/name", "sha": COMMIT, "siblings": siblings, "private": False, "tags": [], "downloads": 0, "likes": 0}

        def tree(self, files):
            entries = []
            for name in files:
                _, size, digest, lfs = repository.content(name)
                entry = {"type": "file", "path": name, "size": size, "oid": digest[:40]}
                if lfs:
                    entry["lfs"] = {"oid": digest, "size": size, "pointerSize": 130}
                entries.append(entry)
            return entries

        def answer(self, body):
            path = self.path.split("?")[0]
            hub = storage_port is not None
            repository.requests.append((hub, self.command, path, self.headers["Authorization"], self.headers["Range"]))
            if "/api/models/" in path:
                files = [str(f.relative_to(repository.folder)) for f in sorted(repository.folder.rglob("*")) if f.is_file()]
                text = json.dumps(self.tree(files) if "/tree/" in path else self.model(files)).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)
                return
            name = path.split("/resolve/", 1)[1].split("/", 1)[1] if hub else path[1:]
            if not (repository.folder / name).is_file():
                self.send_response(404)
                self.send_header("X-Error-Code", "EntryNotFound")
                self.send_header("X-Repo-Commit", COMMIT)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            file, size, digest, lfs = repository.content(name)
            if hub and lfs:
                self.send_response(302)
                self.send_header("X-Repo-Commit", COMMIT)
                self.send_header("X-Linked-Etag", f'"{digest}"')
                self.send_header("X-Linked-Size", str(size))
                self.send_header("Location", f"http://localhost:{storage_port}/{name}?signature=x")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            begin = int(self.headers["Range"].split("=")[1].rstrip("-")) if self.headers["Range"] else 0
            self.send_response(206 if begin else 200)
            if begin:
                self.send_header("Content-Range", f"bytes {begin}-{size - 1}/{size}")
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{digest}"')
            self.send_header("Content-Length", str(size - begin))
            self.end_headers()
            if not body:
                return
            left = size - begin
            cut = False
            if lfs and repository.cuts > 0:
                repository.cuts -= 1
                left, cut = min(left - 1, repository.cut_after), True
            with open(file, "rb") as source:
                source.seek(begin)
                while left > 0:
                    block = source.read(min(left, MEGABYTE))
                    self.wfile.write(block)
                    left -= len(block)
            if cut:
                self.close_connection = True

    return Handler


def serve(repository, storage_port):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler(repository, storage_port))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


class Sides:
    """Both programs, with a cache for each run."""

    def __init__(self, folder, port):
        self.folder = folder
        self.port = port
        self.fetch = folder / "Fetch.java"
        self.fetch.write_text(FETCH)

    def environment(self, cache, **more):
        return {
            **os.environ, "HF_ENDPOINT": f"http://127.0.0.1:{self.port}", "HF_HUB_CACHE": str(cache), "HF_TOKEN": TOKEN,
            "HF_HOME": str(self.folder / "home"), "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_XET": "1", **more,
        }

    def java(self, cache, **more):
        libraries = ROOT / "llara-examples/target/llara/lib/*"
        path = os.environ.get("LLARA_CLASS_PATH", str(libraries))
        return self.run(["java", "-Xmx256m", "-cp", path, str(self.fetch), "org/name"], cache, more)

    def python(self, cache, **more):
        program = "import huggingface_hub, sys; print(huggingface_hub.snapshot_download('org/name'))"
        return self.run([sys.executable, "-c", program], cache, more)

    def run(self, command, cache, more):
        done = subprocess.run(command, env=self.environment(cache, **more), capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{command[0]} failed:\n{done.stderr}")
        for text in (done.stdout, done.stderr):
            assert TOKEN not in text, f"{command[0]} shows the token"
        return pathlib.Path(done.stdout.strip().splitlines()[-1])


def layout(cache, snapshot):
    """Returns what the files of a snapshot lead to, relative to the cache, and the reference."""
    links = {str(f.relative_to(snapshot)): os.readlink(f) for f in snapshot.rglob("*") if f.is_symlink()}
    return links, (cache / "models--org--name/refs/main").read_text()


def check(repository, sides, folder):
    by_java = sides.java(folder / "java")
    by_python = sides.python(folder / "python")
    java_links, java_ref = layout(folder / "java", by_java)
    python_links, python_ref = layout(folder / "python", by_python)
    assert java_ref == python_ref == COMMIT
    assert java_links.items() <= python_links.items(), (java_links, python_links)
    print(f"same layout: {len(java_links)} links of Java are among the {len(python_links)} of Python, refs/main is equal")

    repository.requests.clear()
    sides.java(folder / "python", HF_HUB_OFFLINE="1")
    sides.python(folder / "java", HF_HUB_OFFLINE="1")
    assert not repository.requests, repository.requests
    print("offline: each finds the other's files, and sends no request")

    sides.java(folder / "python")
    assert not [r for r in repository.requests if not r[0]], repository.requests
    repository.requests.clear()
    sides.python(folder / "java")
    fetched = [r[2] for r in repository.requests if not r[0]]
    assert not fetched, fetched
    print("online: neither downloads weights that the other has")

    weights = repository.content("model.safetensors")
    lock = folder / "locked/.locks/models--org--name" / f"{weights[2]}.lock"
    lock.parent.mkdir(parents=True)
    with open(lock, "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        waiting = threading.Thread(target=sides.java, args=[folder / "locked"])
        waiting.start()
        time.sleep(6)
        assert waiting.is_alive(), "Java did not wait"
        assert not (folder / "locked/models--org--name/blobs" / weights[2]).exists()
    waiting.join()
    assert (folder / "locked/models--org--name/blobs" / weights[2]).exists()
    print("locks: Java waits for a lock of Python")


def large(repository, sides, folder):
    weights = repository.folder / "model.safetensors"
    repository.hashes.clear()
    block = os.urandom(MEGABYTE)
    with open(weights, "wb") as file:
        for i in range(1000):
            file.write(hashlib.sha256(b"%d" % i).digest() + block[32:])
    size = weights.stat().st_size
    repository.content("model.safetensors")
    repository.cuts, repository.cut_after = 10, size // 11 - 12345
    repository.requests.clear()
    begin = time.time()
    snapshot = sides.java(folder / "large")
    seconds = time.time() - begin
    digest = hashlib.sha256()
    with open(snapshot / "model.safetensors", "rb") as file:
        while part := file.read(MEGABYTE):
            digest.update(part)
    assert digest.hexdigest() == repository.content("model.safetensors")[2]
    parts = [r for r in repository.requests if not r[0]]
    print(f"{size} bytes, cut {len(parts) - 1} times: SHA-256 right, {seconds:.1f} s with the JVM's start")
    print("ranges:", ", ".join(str(r[4]) for r in parts))


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--large", action="store_true")
    chosen = arguments.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        files = folder / "repository"
        files.mkdir()
        for file in MODEL.iterdir():
            (files / file.name).write_bytes(file.read_bytes())
        repository = Repository(files)
        sides = Sides(folder, serve(repository, serve(repository, None)))
        check(repository, sides, folder)
        if chosen.large:
            large(repository, sides, folder)
        tokens = {(r[0], r[3]) for r in repository.requests}
        assert tokens <= {(True, f"Bearer {TOKEN}"), (False, None)}, tokens
        print("the token went to the hub, and to nobody else")


if __name__ == "__main__":
    main()
