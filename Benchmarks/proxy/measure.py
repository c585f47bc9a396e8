#!/usr/bin/env python3
"""Figures of the proxy alone, or beside nginx: instructions, system calls, memory of idle connections, loops.

  measure.py instructions syscalls idle loops      (default: all)
"""
import contextlib
import glob
import os
import re
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time

from bench import wrk
from servers import Server, Upstream, build, program

failed = False


def goal(text, value, limit, is_most=True):
    global failed
    reached = value <= limit if is_most else value >= limit
    failed |= not reached
    word = "at most" if is_most else "at least"
    print(f"{text}: {value:.2f}   goal: {word} {limit}: {'reached' if reached else 'MISSED'}", flush=True)


def instructions(folder, upstream):
    """User instructions of a small request, counted by callgrind between two dumps."""
    binary = f"{folder}/martlet-stripped"
    shutil.copy(program("martlet"), binary)
    subprocess.run(["strip", "-g", binary], check=True)
    server = Server("martlet", folder, upstream.path, processors="", binary=binary,
                    wrapper=["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/callgrind"])
    pid = str(server.process.pid)
    try:
        def load(count):
            output = subprocess.run(["h2load", "--h1", "-n", str(count), "-c", "8", "-t", "1",
                                     f"http://127.0.0.1:{server.port}/"], capture_output=True, text=True).stdout
            return int(re.search(r"(\d+) succeeded", output)[1])
        load(400)
        subprocess.run(["callgrind_control", "-z", pid], capture_output=True)
        answered = load(3000)
        subprocess.run(["callgrind_control", "-d", pid], capture_output=True)
        time.sleep(1)
    finally:
        server.stop()
    totals = [int(match[1]) for file in sorted(glob.glob(f"{folder}/callgrind.*"))
              if (match := re.search(r"^(?:summary|totals): (\d+)", open(file).read(), re.M)) and int(match[1]) > 0]
    goal("user instructions for each small request", totals[0] / answered, 6000)


def syscalls(folder, upstream):
    """System calls of a small request at 16 connections, counted by strace; log's writer included."""
    for name in ["martlet", "nginx"]:
        server = Server(name, folder, upstream.path)
        try:
            wrk(server.port, 16, 1)
            pids = [str(pid) for pid in server.tree()]
            count = subprocess.Popen(["strace", "-c", "-f", "-o", f"{folder}/strace", *sum((["-p", p] for p in pids), [])],
                                     stderr=subprocess.DEVNULL)
            time.sleep(0.8)
            answered, _ = wrk(server.port, 16, 3)
            count.send_signal(2)
            count.wait()
            calls = {}
            for line in open(f"{folder}/strace"):
                parts = line.split()
                if len(parts) >= 5 and parts[0][0].isdigit() and parts[-1] != "total":
                    calls[parts[-1]] = int(parts[3]) / answered
            print(f"{name}: " + ", ".join(f"{call} {share:.2f}" for call, share in
                                          sorted(calls.items(), key=lambda item: -item[1]) if share > 0.005))
            if name == "martlet":
                goal("system calls for each small request, 16 connections", sum(calls.values()), 4.5)
            else:
                print(f"nginx: {sum(calls.values()):.2f}")
        finally:
            server.stop()


def idle(folder, upstream):
    """Memory of idle connections that have served one request each; the kernel's own is not in it."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit[1], limit[1]))
    count = min(10_000, limit[1] - 1000)
    for name in ["martlet", "nginx"]:
        server = Server(name, folder, upstream.path)
        clients = []
        try:
            wrk(server.port, 64, 1)
            before = server.memory()
            for _ in range(count):
                client = socket.create_connection(("127.0.0.1", server.port), 10)
                client.sendall(b"GET / HTTP/1.1\r\nHost: app1.example.com\r\n\r\n")
                assert b" 200 " in client.recv(4096)
                clients.append(client)
            time.sleep(0.5)
            each = (server.memory() - before) * 1024 / count
            if name == "martlet":
                goal(f"bytes for each of {count} idle connections", each, 1024)
            else:
                print(f"nginx: {each:.0f} bytes for each of {count} idle connections")
        finally:
            for client in clients:
                client.close()
            server.stop()


def loops(folder, upstream):
    """Requests a second of two loops to one, when each loop's thread gets the same small share of a processor.

    The load and the upstream need the two processors too, so that two loops cannot be kept busy; with a share each
    (cgroup v1, cpu.cfs_quota_us) the loops are what limits.
    """
    group = "/sys/fs/cgroup/cpu/martlet-proxy-bench"
    try:
        os.makedirs(group, exist_ok=True)
    except OSError:
        print("loops: no cgroup v1 for cpu here: left out")
        return
    rates = {1: [], 2: []}
    try:
        for _ in range(5):
            for count in [1, 2]:
                server = Server("martlet", folder, upstream.path, processors="0,1", extra=["--loops", str(count)])
                made = []
                try:
                    for task in os.listdir(f"/proc/{server.process.pid}/task"):
                        if not open(f"/proc/{server.process.pid}/task/{task}/comm").read().startswith("proxy-"):
                            continue
                        if open(f"/proc/{server.process.pid}/task/{task}/comm").read().strip() == "proxy-log":
                            continue
                        child = f"{group}/{task}"
                        os.makedirs(child)
                        made.append(child)
                        open(f"{child}/cpu.cfs_period_us", "w").write("20000")
                        open(f"{child}/cpu.cfs_quota_us", "w").write("3000")
                        open(f"{child}/tasks", "w").write(task)
                    answered, errors = wrk(server.port, 64, 3, processors="0,1")
                    assert errors == 0
                    rates[count].append(answered / 3)
                finally:
                    server.stop()
                    for child in made:
                        with contextlib.suppress(OSError):
                            os.rmdir(child)
    finally:
        with contextlib.suppress(OSError):
            os.rmdir(group)
    middle = {count: sorted(values)[2] for count, values in rates.items()}
    print(f"one loop {middle[1]:.0f}, two loops {middle[2]:.0f} requests a second, each loop with 15 % of a processor")
    goal("two loops to one", middle[2] / middle[1], 1.8, is_most=False)


def main():
    if program("martlet") is None:
        sys.exit("set MARTLET_PROXY to the release build of martlet-proxy")
    measures = dict(instructions=instructions, syscalls=syscalls, idle=idle, loops=loops)
    folder = tempfile.mkdtemp(prefix="proxy-measure-")
    os.chmod(folder, 0o755)
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        build(folder)
        upstream = Upstream(folder, processors="0,1")
        stack.callback(upstream.stop)
        for name in sys.argv[1:] or measures:
            measures[name](folder, upstream)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
