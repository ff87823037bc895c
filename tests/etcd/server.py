# SPDX-License-Identifier: Apache-2.0
"""The two kinds of server that are compared: Debian's etcd and ours, and how they are called.

Etcd      a process of Debian's etcd on free ports, in a directory of its own
Quorate   one node of ours under `quorate up`
Peer      a connection to either: unary calls, and streams that a thread reads
"""
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import wire
from harness import PATIENCE_S, Cluster, Ports, Skip, die_with_parent, until

try:
    import grpc
except ImportError:
    grpc = None

CALL_S = 20                  # a call that takes longer is a failure
ETCD_LINE = "etcd Version: 3.4."
OPTIONS = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1),
           ("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0))


def need_etcd():
    """Skips without the packages of the comparison."""
    if grpc is None:
        raise Skip("no python3-grpcio")
    if shutil.which("etcd") is None:
        raise Skip("no etcd: install etcd-server")
    version = subprocess.run(["etcd", "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout
    if not version.startswith(ETCD_LINE):
        raise Skip(f"{version.splitlines()[0]}: the list of differences is for {ETCD_LINE}x")


class Etcd:
    """One node of Debian's etcd, or of another program that takes its flags."""

    def __init__(self, extra=(), program="etcd"):
        self.dir = tempfile.mkdtemp(prefix="quorate-etcd-")
        self.ports = Ports(2)
        client, peer = (f"http://127.0.0.1:{self.ports.base + i}" for i in range(2))
        self.log = open(os.path.join(self.dir, "etcd.log"), "ab")
        self.process = subprocess.Popen(
            [program, "--name", "n", "--data-dir", os.path.join(self.dir, "n.etcd"), "--listen-client-urls", client,
             "--advertise-client-urls", client, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
             "--initial-cluster", f"n={peer}", "--logger", "zap", "--log-level", "info", *extra],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, preexec_fn=die_with_parent)
        self.endpoint, self.peer = (f"127.0.0.1:{self.ports.base + i}" for i in range(2))
        until(self.ready, f"{program} is ready")

    def ready(self):
        """By its log: a gRPC channel that comes too early stays hanging in etcd's listener for seconds."""
        assert self.process.poll() is None, f"it ended with {self.process.returncode}, see {self.log.name}"
        with open(self.log.name, "rb") as f:
            return b"serving client traffic insecurely" in f.read()

    def close(self):
        self.process.terminate()
        self.process.wait()
        self.log.close()
        self.ports.close()
        shutil.rmtree(self.dir, ignore_errors=True)


class Quorate:
    """One node of ours; the harness looks at its logs when it ends."""

    def __init__(self):
        self.cluster = Cluster(nodes=1)
        self.cluster.__enter__()
        self.endpoint = self.cluster.endpoints()

    def close(self, kind=None):
        self.cluster.__exit__(kind)


class Stream:
    """A call that is a stream in both directions, or whose answer is one."""

    def __init__(self, peer, method, request=None):
        self.response = wire.METHODS[method][1]
        self.request = wire.METHODS[method][0]
        self.responses, self.status, self.changed = [], None, threading.Condition()
        if request is None:
            self.queue = queue.SimpleQueue()
            self.call = peer.stream_stream(method)(iter(self.queue.get, None))
        else:
            self.queue = None
            self.call = peer.unary_stream(method)(wire.encode(self.request, request))
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        try:
            for data in self.call:
                with self.changed:
                    self.responses.append(wire.decode(self.response, data))
                    self.changed.notify_all()
            status = ("ok", {})
        except grpc.RpcError as e:
            status = ("error", e.code().name, e.details())
        except Exception as e:                    # an answer that cannot be read
            status = ("unreadable", repr(e))
        with self.changed:
            self.status = status
            self.changed.notify_all()

    def send(self, request):
        self.queue.put(wire.encode(self.request, request))

    def wait(self, enough, patience_s=CALL_S):
        """Until enough(responses) or the stream's end; False if neither came in time."""
        with self.changed:
            return self.changed.wait_for(lambda: self.status is not None or enough(self.responses), patience_s)

    def close(self):
        if self.queue is not None:
            self.queue.put(None)
        self.call.cancel()


class Peer:
    """A connection to a server."""

    def __init__(self, name, endpoint):
        self.name = name
        self.channel = grpc.insecure_channel(endpoint, options=OPTIONS)
        self.calls = {}

    def close(self):
        self.channel.close()

    def made(self, kind, method):
        if (kind, method) not in self.calls:
            self.calls[kind, method] = getattr(self.channel, kind)(wire.full_name(method))
        return self.calls[kind, method]

    def stream_stream(self, method):
        return self.made("stream_stream", method)

    def unary_stream(self, method):
        return self.made("unary_stream", method)

    def begin(self, method, request, timeout_s=CALL_S):
        """A unary call; outcome() waits for it."""
        return self.made("unary_unary", method).future(wire.encode(wire.METHODS[method][0], request), timeout=timeout_s)

    @staticmethod
    def outcome(method, future):
        """("ok", message), ("error", code, text) or ("unreadable", why)."""
        try:
            return ("ok", wire.decode(wire.METHODS[method][1], future.result()))
        except grpc.RpcError as e:
            return ("error", e.code().name, e.details())
        except grpc.FutureCancelledError:
            return ("error", "CANCELLED", "by us")
        except (AssertionError, IndexError, UnicodeDecodeError) as e:
            return ("unreadable", repr(e))

    def call(self, method, request):
        return self.outcome(method, self.begin(method, request))
