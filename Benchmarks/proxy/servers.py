"""Starts the proxies that are compared, each with its own configuration on loopback, and measures their processor time."""
import glob
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = pathlib.Path(__file__).resolve().parent

NGINX = """
daemon off; worker_processes 1; error_log {folder}/nginx-error.log; pid {folder}/nginx.pid;
events {{ worker_connections 20000; }}
http {{
  log_format line escape=json '{{"time":"$time_iso8601","client":"$remote_addr","method":"$request_method",'
    '"host":"$host","path":"$request_uri","status":$status,"in":$request_length,"out":$bytes_sent,'
    '"seconds":$request_time,"id":"$request_id"}}';
  access_log {folder}/nginx.log line buffer=64k flush=1s;
  client_body_temp_path {folder}/nginx-body; proxy_temp_path {folder}/nginx-proxy;
  fastcgi_temp_path {folder}/nginx-f; uwsgi_temp_path {folder}/nginx-u; scgi_temp_path {folder}/nginx-s;
  keepalive_requests 1000000000; tcp_nodelay on;
  upstream app {{ server unix:{upstream}; keepalive 256; keepalive_requests 1000000000; }}
  map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location = /nginx_status {{ stub_status; }}
    location / {{
      proxy_pass http://app; proxy_http_version 1.1;
      proxy_set_header Host $http_host; proxy_set_header Connection $connection_upgrade;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Host $http_host;
      proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Request-Id $request_id;
      proxy_set_header Forwarded "for=$remote_addr;host=\\"$http_host\\";proto=$scheme";
      proxy_buffer_size 16k; proxy_buffers 16 32k; proxy_busy_buffers_size 256k; proxy_max_temp_file_size 0;
    }}
  }}
}}
"""

HAPROXY = """
global
  maxconn 9000
  nbthread 1
  log stdout format raw local0
  tune.bufsize 131072
  stats socket {folder}/haproxy.stats
defaults
  mode http
  log global
  option httplog
  option forwardfor
  option http-keep-alive
  http-reuse always
  timeout connect 5s
  timeout client 75s
  timeout server 60s
  timeout tunnel 1h
frontend f
  bind 127.0.0.1:{port}
  unique-id-format %{{+X}}o%ci:%cp_%fi:%fp_%Ts_%rt:%pid
  unique-id-header X-Request-Id
  http-request set-header X-Forwarded-Proto http
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
  default_backend b
backend b
  server s unix@{upstream} pool-max-conn 256
"""

CADDY = """
{{
  admin off
  auto_https off
  servers {{
    metrics
  }}
}}
http://:{port} {{
  bind 127.0.0.1
  log {{
    output file {folder}/caddy.log
    format json
  }}
  reverse_proxy unix/{upstream} {{
    transport http {{
      keepalive_idle_conns_per_host 256
    }}
  }}
}}
"""

ENVOY = """
static_resources:
  listeners:
  - address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: in
          use_remote_address: true
          upgrade_configs: [{{ upgrade_type: websocket }}]
          access_log:
          - name: envoy.access_loggers.file
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
              path: {folder}/envoy.log
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes: [{{ match: {{ prefix: "/" }}, route: {{ cluster: app, timeout: 0s }} }}]
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }}
  clusters:
  - name: app
    load_assignment:
      cluster_name: app
      endpoints: [{{ lb_endpoints: [{{ endpoint: {{ address: {{ pipe: {{ path: {upstream} }} }} }} }}] }}]
"""

ALL = ["martlet", "nginx", "haproxy", "caddy", "envoy"]
# relay.c: bytes passed by one kind of system call or another, and nothing else done.
RELAYS = ["relay-epoll", "relay-splice", "relay-uring"]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def program(name):
    """The path of a server's program, or None where it is not installed."""
    if name == "martlet":
        return os.environ.get("MARTLET_PROXY")
    beside = ROOT / ".tools/bench/bin" / name
    if beside.exists():
        return str(beside)
    found = glob.glob(str(ROOT / f".tools/bench/lib/python3*/site-packages/**/bin/{name}*"), recursive=True)
    found += glob.glob(str(ROOT / f".tools/bench/lib/python3*/site-packages/**/{name}"), recursive=True)
    found = [path for path in found if os.path.isfile(path) and os.access(path, os.X_OK)]
    return found[0] if found else shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")


class Server:
    """One running proxy."""

    def __init__(self, name, folder, upstream, processors="0", wrapper=(), extra=(), binary=None):
        self.name, self.folder = name, folder
        self.port = free_port()
        values = dict(folder=folder, upstream=upstream, port=self.port)
        path = binary or (f"{folder}/relay" if name in RELAYS else program(name))
        if path is None or not os.path.exists(path):
            raise FileNotFoundError(name)
        if name == "martlet":
            command = [path, "--listen", f"127.0.0.1:{self.port}", "--upstream", f"unix:{upstream}",
                       "--access-log", f"{folder}/martlet.log", *extra]
        elif name in RELAYS:
            command = [path, name.removeprefix("relay-"), str(self.port), upstream]
        else:
            text, suffix = {"nginx": (NGINX, "conf"), "haproxy": (HAPROXY, "cfg"), "caddy": (CADDY, "Caddyfile"),
                            "envoy": (ENVOY, "yaml")}[name]
            file = f"{folder}/{name}.{suffix}"
            pathlib.Path(file).write_text(text.format(**values))
            command = {"nginx": [path, "-c", file, "-p", folder],
                       "haproxy": [path, "-db", "-f", file],
                       "caddy": [path, "run", "--config", file, "--adapter", "caddyfile"],
                       "envoy": [path, "-c", file, "--concurrency", "1", "--disable-hot-restart", "-l", "error"]}[name]
        environment = {"PATH": "/usr/sbin:/usr/bin:/bin", "HOME": folder, "GOMAXPROCS": "1"}
        output = open(f"{folder}/{name}.out", "wb")
        pin = ["taskset", "-c", processors] if processors else []
        self.process = subprocess.Popen([*pin, *wrapper, *command], stdout=output, stderr=subprocess.STDOUT,
                                        env=environment)
        self.wait()

    def wait(self):
        for _ in range(400):
            if self.process.poll() is not None:
                break
            try:
                with socket.create_connection(("127.0.0.1", self.port), 1) as client:
                    client.sendall(b"GET / HTTP/1.1\r\nHost: app1.example.com\r\nConnection: close\r\n\r\n")
                    if b"200" in client.recv(100):
                        return
            except OSError:
                pass
            time.sleep(0.1)
        tail = pathlib.Path(f"{self.folder}/{self.name}.out").read_text(errors="replace")[-1000:]
        self.stop()
        raise RuntimeError(f"{self.name} does not answer: {tail}")

    def tree(self):
        """The process and its descendants."""
        found = [self.process.pid]
        for pid in found:
            try:
                for task in os.listdir(f"/proc/{pid}/task"):
                    found += map(int, open(f"/proc/{pid}/task/{task}/children").read().split())
            except FileNotFoundError:
                pass
        return found

    def cpu(self):
        """Nanoseconds on a processor of all threads, by the scheduler's accounting."""
        total = 0
        for pid in self.tree():
            for task in os.listdir(f"/proc/{pid}/task"):
                try:
                    total += int(open(f"/proc/{pid}/task/{task}/schedstat").read().split()[0])
                except FileNotFoundError:
                    pass
        return total

    def memory(self):
        """Proportional set size in KB."""
        total = 0
        for pid in self.tree():
            for line in open(f"/proc/{pid}/smaps_rollup"):
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
        return total

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM if self.name != "haproxy" else signal.SIGINT)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def build(folder):
    """The upstream, the echo client and, where liburing is there, the relay, compiled into the folder."""
    def compile(name, *libraries):
        subprocess.run(["cc", "-O2", "-o", f"{folder}/{name}", str(HERE / f"{name}.c"), *libraries], check=True)
    compile("upstream")
    compile("echoload")
    if os.path.exists("/usr/include/liburing.h"):
        compile("relay", "-luring")


class Upstream:
    def __init__(self, folder, processors="1"):
        self.path = f"{folder}/upstream.sock"
        self.process = subprocess.Popen(["taskset", "-c", processors, f"{folder}/upstream", self.path])
        while not os.path.exists(self.path):
            time.sleep(0.01)

    def stop(self):
        self.process.kill()
        self.process.wait()
