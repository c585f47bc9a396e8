#!/usr/bin/env python3
"""Gated answers of `martlet up` with SeaweedFS, measured by wrk beside the same app without the gate.

`Benchmarks/replication/host.py PROGRAM`, from the root of the source tree, after `scripts/fetch-tools run`; Debian: wrk.
Everything runs on this machine. Each kind has three turns; the figures are those of the turn with the middle rate.
"""

import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time

APP = """
import { DatabaseSync } from "node:sqlite";
const db = new DatabaseSync(Deno.env.get("MARTLET_DATA") + "/main.db");
db.exec("create table if not exists rows (id integer primary key, content blob)");
const insert = db.prepare("insert into rows (content) values (randomblob(100))");
export default {
  fetch(request: Request) {
    if (request.method === "POST") insert.run();
    return new Response("ok");
  },
};
"""


def start_store(folder, tools):
    port = random.randrange(20000, 50000)
    identity = {
        "name": "dev",
        "credentials": [{"accessKey": "testkey", "secretKey": "testsecret12345"}],
        "actions": ["Admin", "Read", "List", "Tagging", "Write"],
    }
    with open(folder + "/s3.json", "w") as file:
        json.dump({"identities": [identity]}, file)
    arguments = [
        f"-logdir={folder}", "mini", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-s3.port={port}",
        f"-s3.config={folder}/s3.json", f"-master.port={port + 1}", f"-volume.port={port + 2}",
        f"-filer.port={port + 3}", "-bucket=dev", "-webdav=false", "-admin.ui=false", "-s3.port.iceberg=0",
        "-s3.port.lance=0", "-master.telemetry=false",
    ]
    silent = subprocess.DEVNULL
    store = subprocess.Popen([tools + "/weed", *arguments], env={"HOME": folder}, stdout=silent, stderr=silent)
    time.sleep(5)
    return store, port


def start_host(program, folder, port):
    environment = {
        "PATH": os.environ["PATH"], "HOME": folder, "MARTLET_CONFIG": folder + "/config.json", "TERM": "dumb",
        "AWS_ACCESS_KEY_ID": "testkey", "AWS_SECRET_ACCESS_KEY": "testsecret12345",
    }
    store = f"s3://dev/martlet?endpoint=http://127.0.0.1:{port}&region=us-east-1&style=path"
    host = subprocess.Popen(
        [program, "up", "--port", "0", "--data", folder + "/state", "--sleep-after", "1h", "--s3", store],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )
    for line in host.stdout:
        if "Ready:" in line:
            break
    for name, durability in (("gated", "gated"), ("plain", "async")):
        app = f"{folder}/{name}"
        os.mkdir(app)
        with open(app + "/main.ts", "w") as file:
            file.write(APP)
        with open(app + "/martlet.json", "w") as file:
            json.dump({"name": name, "durability": durability}, file)
        subprocess.run([program, "deploy", app], env=environment, check=True, stdout=subprocess.DEVNULL)
    with open(folder + "/config.json") as file:
        return host, json.load(file)["api"].rstrip("/").rsplit(":", 1)[1]


def measure(folder, port, name, clients, seconds):
    script = folder + "/post.lua"
    with open(script, "w") as file:
        file.write('wrk.method = "POST"\nwrk.headers["Content-Length"] = "0"\n')
    output = subprocess.run(
        ["wrk", "-t1", f"-c{clients}", f"-d{seconds}s", "--latency", "-s", script, "-H", f"Host: {name}.localhost",
         f"http://127.0.0.1:{port}/"],
        check=True, capture_output=True, text=True,
    ).stdout
    times = dict(re.findall(r"(50|99)%\s+([\d.]+(?:us|ms|s))", output))
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", output)[1])
    failed = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
    return rate, times["50"], times["99"], int(failed[1]) if failed else 0


def main():
    program = os.path.abspath(sys.argv[1])
    seconds = int(sys.argv[2]) if len(sys.argv) > 2 else 4
    tools = os.path.abspath(".tools/run/bin")
    folder = tempfile.mkdtemp(prefix="martlet-bench-")
    store, port = start_store(folder, tools)
    host = None
    try:
        host, ingress = start_host(program, folder, port)
        for clients in (50, 1):
            turns = {"gated": [], "plain": []}
            for _ in range(3):
                for name, all_turns in turns.items():
                    all_turns.append(measure(folder, ingress, name, clients, seconds))
            for name, label in (("gated", "gated"), ("plain", "baseline: not gated")):
                rate, median, late, failed = sorted(turns[name])[1]
                print(f"{clients:3} clients, {label:20} {rate:7.0f}/s   median {median:>8}   p99 {late:>8}   failed {failed}")
    finally:
        if host:
            host.terminate()
            host.wait(60)
        store.terminate()
        store.wait(60)
        shutil.rmtree(folder, ignore_errors=True)


main()
