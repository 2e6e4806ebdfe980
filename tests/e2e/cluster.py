"""Some Kafka nodes on loopback. freshet comes to them through the proxy; whoever looks at what happened goes there directly."""
import os
import subprocess

from proxy import Proxy
from workbench import KAFKA, distinct_ports

HEAP = "-Xms48m -Xmx256m"


class Cluster:
    """The same calls as Broker's, and those for one node."""

    def __init__(self, work, nodes):
        self.folder = os.path.join(work, "kafka")
        self.nodes = range(1, nodes + 1)
        ports = distinct_ports(3 * nodes)
        self.direct, self.behind, self.front = ports[:nodes], ports[nodes:2 * nodes], ports[2 * nodes:]
        self.bootstrap = ",".join(f"127.0.0.1:{port}" for port in self.direct)
        self.proxied = ",".join(f"127.0.0.1:{port}" for port in self.front)
        self.proxy = Proxy(dict(zip(self.nodes, zip(self.front, self.behind))))

    def call(self, verb, node=None):
        command = [KAFKA, verb, "--dir", self.folder]
        if node is not None:
            command += ["--node", str(node)]
        elif verb == "start":
            command += ["--nodes", str(len(self.nodes)), "--port", ",".join(map(str, self.direct)), "--proxied",
                        ",".join(f"{behind}:{front}" for behind, front in zip(self.behind, self.front))]
            self.proxy.start()
        env = dict(os.environ, KAFKA_HEAP_OPTS=HEAP, KAFKA_JVM_PERFORMANCE_OPTS="-XX:+UseSerialGC -XX:TieredStopAtLevel=1")
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env, timeout=180)

    def heal(self):
        """All nodes up, nothing wrong with the ways to them."""
        for node in self.nodes:
            self.proxy.do(node, "heal")
            subprocess.run([KAFKA, "resume", "--dir", self.folder, "--node", str(node)], stderr=subprocess.DEVNULL, timeout=60)
        for node in self.nodes:
            self.call("start", node)

    def end(self):
        subprocess.run([KAFKA, "resume", "--dir", self.folder], stderr=subprocess.DEVNULL, timeout=60)
        subprocess.run([KAFKA, "kill", "--dir", self.folder], stderr=subprocess.DEVNULL, timeout=180)
