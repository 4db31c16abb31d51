#!/usr/bin/env python3
"""Starts llara serve and treats it badly, on the loopback: malformed requests, slow and oversized ones, SIGTERM under load.

    python benchmarks/scripts/server-abuse.py [--requests 10000] -- llara-examples/target/llara/bin/llara serve --model DIR

Every request gets an answer or is counted; the script fails if one is missing. The options --port 0 are added.
"""

import argparse
import asyncio
import json
import pathlib
import random
import signal
import subprocess
import sys
import time

WORKERS = 16
CLIENTS = 64
GOOD = json.dumps({"inputs": "Lily went to the park and saw a dog."})


def post(body, path="/v1/embeddings", more="Connection: close\r\n"):
    return (f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n{more}\r\n{body}")


def malformed(rng):
    bodies = ['{"input": "Lily went", "model": "m", "dimensions": 8}', '{"input": ["Lily", "Tom"], "encoding_format": "base64"}',
              '{"input": [[1, 2, 3], [4, 5]], "user": "u"}']
    body = rng.choice(bodies)
    noise = "".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(8))
    return rng.choice([
        lambda: post(body[: rng.randrange(len(body))]),
        lambda: post(body.replace("input", "z" + noise)),
        lambda: post("[" * rng.randrange(1, 5000)),
        lambda: post('{"input": %d}' % rng.randrange(10**30)),
        lambda: post('{"input": [%s]}' % ",".join("1" for _ in range(20000)) + "x"),
        lambda: post('{"input": "\\ud800"}'),
        lambda: post('{"input": ""}', more="Transfer-Encoding: zipped\r\nConnection: close\r\n"),
        lambda: "POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\nConnection: close\r\n\r\n",
        lambda: f"GET /{noise} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        lambda: f"{noise} \x00\x01\r\n\r\n",
        lambda: "GET / HTTP/1.1\r\nHost: localhost\r\nX: " + "x" * 20000 + "\r\n\r\n",
    ])()


def resident(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) // 1024
    raise SystemExit("no resident set")


async def exchange(port, text):
    """Sends one request over a connection of its own and returns the status, or None if nothing came."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(text.encode())
        line = await asyncio.wait_for(reader.readline(), 120)
        writer.close()
        return int(line.split()[1]) if line else None
    except (ConnectionError, asyncio.TimeoutError, IndexError):
        return None


async def malformed_requests(port, pid, count):
    rng = random.Random(19)
    texts = [malformed(rng) for _ in range(count)]
    statuses = {}
    sizes = []

    async def worker(mine):
        for text in mine:
            status = await exchange(port, text)
            statuses[status] = statuses.get(status, 0) + 1

    step = max(1, count // 5)
    for begin in range(0, count, step):
        part = texts[begin:begin + step]
        await asyncio.gather(*[worker(part[i::WORKERS]) for i in range(WORKERS)])
        sizes.append(resident(pid))
    assert all(status and 400 <= status < 500 for status in statuses), statuses
    assert sum(statuses.values()) == count
    assert await exchange(port, post(GOOD, "/embed")) == 200
    print(f"{count} malformed requests: {dict(sorted(statuses.items()))}; resident MiB after each fifth: {sizes}")


async def slow(port):
    """Opens connections that send a byte a second, and says when the last is closed."""

    async def drip(beginning):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(beginning.encode())
        begin = time.time()
        try:
            while time.time() - begin < 90:
                await asyncio.sleep(1)
                writer.write(b"x")
                await writer.drain()
        except ConnectionError:
            pass
        return time.time() - begin

    heads = ["GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ",
             "POST /embed HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"]
    drips = [asyncio.create_task(drip(heads[i % 2])) for i in range(100)]
    await asyncio.sleep(5)
    begin = time.time()
    assert await exchange(port, post(GOOD, "/embed")) == 200
    print(f"while 100 clients send a byte a second another is answered in {time.time() - begin:.2f} s")
    seconds = await asyncio.gather(*drips)
    assert max(seconds) < 60, max(seconds)
    print(f"all 100 are cut off within {max(seconds):.0f} s")


async def oversized(port):
    announced = "POST /embed HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 99999999999\r\n\r\n"
    assert await exchange(port, announced) == 413
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST /embed HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
    sent = 0
    try:
        while sent < 1 << 30:
            writer.write(b"10000\r\n" + b" " * 65536 + b"\r\n")
            await writer.drain()
            sent += 65536
    except ConnectionError:
        pass
    writer.close()
    assert sent < 1 << 27, sent
    print(f"an announced body of 100 GB gets 413; a chunked one without end is cut off after {sent >> 20} MiB")


async def stop(process, port):
    """Sends SIGTERM under load and counts what was sent whole and not answered."""
    counts = {"answered": 0, "refused": 0, "lost": 0}
    stopping = False

    async def client():
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionError:
                return
            try:
                while True:
                    writer.write(post(GOOD, "/embed", "").encode())
                    line = await reader.readline()
                    if not line:
                        # Nothing of an answer: the connection ended, which a client repeats. It must be after the stop.
                        counts["lost" if not stopping else "refused"] += 1
                        return
                    length, close = 0, False
                    while (header := await reader.readline()) not in (b"\r\n", b""):
                        length = int(header.split(b":")[1]) if header.lower().startswith(b"content-length") else length
                        close |= header.lower().startswith(b"connection: close")
                    await reader.readexactly(length)
                    assert line.split()[1] == b"200", line
                    counts["answered"] += 1
                    if close:
                        break
            except (ConnectionError, asyncio.IncompleteReadError):
                counts["lost"] += 1
                return
            finally:
                writer.close()

    clients = [asyncio.create_task(client()) for _ in range(CLIENTS)]
    await asyncio.sleep(5)
    before = counts["answered"]
    stopping = True
    process.send_signal(signal.SIGTERM)
    begin = time.time()
    await asyncio.gather(*clients)
    code = await asyncio.to_thread(process.wait, 120)
    print(f"SIGTERM under load of {CLIENTS} clients: {before} answers before, {counts['answered'] - before} after it, "
          f"{counts['refused']} not taken, {counts['lost']} lost; ended after {time.time() - begin:.1f} s with {code}")
    assert counts["lost"] == 0


async def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--requests", type=int, default=10000)
    arguments.add_argument("command", nargs="+")
    chosen = arguments.parse_args()
    process = subprocess.Popen(chosen.command + ["--port", "0"], stdout=subprocess.PIPE, text=True)
    try:
        port = int(process.stdout.readline().rsplit(":", 1)[1])
        await malformed_requests(port, process.pid, chosen.requests)
        await oversized(port)
        await slow(port)
        await stop(process, port)
    finally:
        process.kill()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
