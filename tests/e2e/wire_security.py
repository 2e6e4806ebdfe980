#!/usr/bin/env python3
"""Encryption and authentication on the wire: TLS, client certificates and SASL against a real broker, and what is said when they do not
fit. By SCRAM Debian's librdkafka 2.0.2 cannot log in to a Kafka 4 (docs/PRIVACY.md): there it is the words that are tested, and the login
against a Kafka 3.9.

  tests/e2e/wire_security.py --bin FOLDER [--keep] [case...]

Certificates are made here by openssl, the broker's user when its storage is formatted. One broker of its own, with a port that speaks
TLS and SASL, one that wants a client's certificate, one whose certificate has expired, one whose certificate is of another host, and one
that wants nothing.
Ends with `N passed, N failed, N skipped`.
"""
import base64
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from answers import free_port  # noqa: E402
from bad_input import ROOT, UNREACHABLE, USAGE, Case, World, Wrong, must, run_cases  # noqa: E402

PASSWORD = "a-password-of-the-test"
VERSION, OLDER = "4.1.1", "3.9.1"
SCRAM = ("SCRAM-SHA-256", "SCRAM-SHA-512")


def openssl(*words, folder):
    subprocess.run(["openssl", *words], check=True, capture_output=True, cwd=folder, timeout=60)


def signed(name, authority, subject_names, days, folder):
    """<name>.key and <name>.crt."""
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", f"/CN={name}", "-keyout", f"{name}.key",
            "-out", f"{name}.csr", folder=folder)
    with open(os.path.join(folder, "san"), "w") as file:
        file.write(f"subjectAltName={subject_names}\n")
    openssl("x509", "-req", "-in", f"{name}.csr", "-CA", f"{authority}.pem", "-CAkey", f"{authority}.key", "-CAcreateserial", "-days", str(days),
            "-extfile", "san", "-out", f"{name}.crt", folder=folder)


def certificates(folder):
    """ca.pem, other-ca.pem; broker.pem, expired.pem, elsewhere.pem (key and certificate); client and stranger (.crt, .key)."""
    for name in ("ca", "other-ca"):
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", f"/CN={name}",
                "-keyout", f"{name}.key", "-out", f"{name}.pem", folder=folder)
    signed("client", "ca", "IP:127.0.0.1", 2, folder)
    signed("stranger", "other-ca", "IP:127.0.0.1", 2, folder)
    for name, names, days in (("broker", "IP:127.0.0.1", 2), ("expired", "IP:127.0.0.1", -1), ("elsewhere", "DNS:broker.example", 2)):
        signed(name, "ca", names, days, folder)
        openssl("pkcs8", "-topk8", "-nocrypt", "-in", f"{name}.key", "-out", f"{name}.pk8", folder=folder)
        with open(os.path.join(folder, f"{name}.pem"), "w") as out:
            for part in ("pk8", "crt"):
                with open(os.path.join(folder, f"{name}.{part}")) as file:
                    out.write(file.read())


class Broker:
    """One node that wants to know who it is; certificates are in the folder `keys`."""

    def __init__(self, folder, keys, version):
        self.folder, self.keys, self.version, self.process = folder, keys, version, None
        self.plain, self.secure, self.tls, self.expired, self.elsewhere, self.controller = (free_port() for _ in range(6))
        os.makedirs(folder, exist_ok=True)

    def start(self):
        java = ["java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", os.path.join(ROOT, ".cache/kafka", self.version, "*")]
        identity = base64.urlsafe_b64encode(b"f" + os.urandom(15)).decode().rstrip("=")
        path, log_path = os.path.join(self.folder, "server.properties"), os.path.join(self.folder, "server.log")
        with open(path, "w") as file:
            file.writelines(f"{key}={value}\n" for key, value in self.properties().items())
        users = [word for mechanism in SCRAM for word in ("--add-scram", f"{mechanism}=[name=freshet,password={PASSWORD}]")]
        subprocess.run([os.path.join(ROOT, "scripts/kafka"), "fetch", "--version", self.version], check=True, capture_output=True, timeout=300)
        subprocess.run([*java, "kafka.tools.StorageTool", "format", "-t", identity, "-c", path, *users], check=True, capture_output=True,
                       timeout=120)
        with open(log_path, "wb") as log:
            self.process = subprocess.Popen([*java, "kafka.Kafka", path], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        until = time.monotonic() + 120
        while not self.is_up():
            must(self.process.poll() is None and time.monotonic() < until, "Kafka does not start: " + open(log_path).read()[-600:])
            time.sleep(0.2)

    def properties(self):
        scram = SCRAM if self.version == OLDER else SCRAM[1:]
        names = {"PLAIN": self.plain, "SECURE": self.secure, "TLS": self.tls, "EXPIRED": self.expired, "ELSEWHERE": self.elsewhere}
        listeners = ",".join(f"{name}://127.0.0.1:{port}" for name, port in names.items())
        return {
            "process.roles": "broker,controller", "node.id": 1, "controller.quorum.voters": f"1@127.0.0.1:{self.controller}",
            "controller.listener.names": "CONTROLLER", "listeners": f"{listeners},CONTROLLER://127.0.0.1:{self.controller}",
            "advertised.listeners": listeners, "inter.broker.listener.name": "PLAIN",
            "listener.security.protocol.map": "PLAIN:PLAINTEXT,SECURE:SASL_SSL,TLS:SSL,EXPIRED:SSL,ELSEWHERE:SSL,CONTROLLER:PLAINTEXT",
            "listener.name.secure.sasl.enabled.mechanisms": ",".join(("PLAIN", *scram)),
            "listener.name.secure.plain.sasl.jaas.config":
                f'org.apache.kafka.common.security.plain.PlainLoginModule required user_freshet="{PASSWORD}";',
            **{f"listener.name.secure.{mechanism.lower()}.sasl.jaas.config":
               "org.apache.kafka.common.security.scram.ScramLoginModule required;" for mechanism in scram},
            "ssl.truststore.type": "PEM", "ssl.truststore.location": f"{self.keys}/ca.pem",
            "listener.name.tls.ssl.client.auth": "required", "ssl.keystore.type": "PEM", "ssl.keystore.location": f"{self.keys}/broker.pem",
            "listener.name.expired.ssl.keystore.location": f"{self.keys}/expired.pem",
            "listener.name.elsewhere.ssl.keystore.location": f"{self.keys}/elsewhere.pem",
            "log.dirs": f"{self.folder}/data", "auto.create.topics.enable": "false", "log.retention.ms": -1,
            "offsets.topic.replication.factor": 1, "offsets.topic.num.partitions": 4, "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1, "transaction.state.log.num.partitions": 4, "group.initial.rebalance.delay.ms": 0,
            "group.min.session.timeout.ms": 1000, "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1}

    def is_up(self):
        done = subprocess.run(["kcat", "-L", "-b", f"127.0.0.1:{self.plain}", "-m", "2"], capture_output=True, timeout=30)
        return done.returncode == 0

    def stop(self):
        if self.process:
            self.process.kill()
            self.process.wait(20)


class Place(World):
    """Certificates and a broker."""

    def prepare(self):
        self.folder, self.events, self.broker = os.path.join(self.work, "broker"), "", None
        os.makedirs(self.folder)
        certificates(self.folder)
        self.broker = Broker(self.folder, self.folder, VERSION)
        self.broker.start()
        self.bootstrap = f"127.0.0.1:{self.broker.secure}"

    def stop(self):
        if self.broker:
            self.broker.stop()

    def path(self, name):
        return os.path.join(self.folder, name)


class Client(Case):
    """An application that speaks to the port with TLS and SASL unless told otherwise."""

    def __init__(self, world, name):
        super().__init__(world, name)
        self.app = f"wire{os.getpid()}-{name}"
        self.password = os.path.join(self.folder, "password")
        self.password_set(PASSWORD)
        self.settings.update({"application.id": self.app, "events.topics": f"{self.app}.events", "erasures.topic": f"{self.app}.erasures",
                              "recommendations.topic": f"{self.app}.lists", "items.topic": "", "security.protocol": "SASL_SSL",
                              "ssl.ca.location": world.path("ca.pem"), "sasl.mechanism": "PLAIN", "sasl.username": "freshet",
                              "sasl.password": "${file:" + self.password + "}"})

    def password_set(self, text):
        with open(os.open(self.password, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(text)


def verbs(client):
    """Every verb that speaks to Kafka."""
    client.good("topics", "create", "--partitions", "2", "--items-topic", "", seconds=120)
    client.good("simulate", "--events", "300", "--items", "50", "--users", "20", "--items-topic", "", "--quiet", seconds=120)
    log = os.path.join(client.folder, "pairs")
    with open(log, "w") as file:
        file.writelines(f"u{n % 5} i{n % 7}\n" for n in range(50))
    client.good("import", "--input", log, "--format", "pairs", "--quiet", seconds=120)
    report = json.loads(client.good("run", "--idle", "1500", "--report", seconds=120).splitlines()[-1])
    must(report["records"] == 350 and report["dead_letters"] == 0, str(report))
    once = {"processing.guarantee": "exactly_once_v2", "group.instance.id": "one", "session.timeout.ms": "6000"}
    client.good("simulate", "--events", "50", "--items", "50", "--users", "20", "--items-topic", "", "--quiet", "--seed", "2", seconds=120)
    report = json.loads(client.good("run", "--idle", "1500", "--report", settings=once, seconds=120).splitlines()[-1])
    must(report["records"] == 50, str(report))
    port = free_port()
    serve = client.start("serve", settings={"http.listen": f"127.0.0.1:{port}"})
    process = client.start("run", settings={"application.id": client.app})
    try:
        receipt = json.loads(client.good("forget", "u1", "--wait", "100", "--quiet", seconds=120).splitlines()[-1])
        must(receipt["outcome"] == "erased", str(receipt))
        until, ready = time.monotonic() + 60, False
        while not ready and time.monotonic() < until:
            try:
                ready = urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5).status == 200
            except OSError:
                time.sleep(0.1)
        must(ready, "serve does not get ready")
    finally:
        for one in (serve, process):
            one.send_signal(signal.SIGTERM)
            one.wait(30)
    client.good("dlq", "list", seconds=120)
    client.good("topics", "check", "--items-topic", "", seconds=120)


def sasl(case):
    """With a name and a password over TLS."""
    verbs(Client(case.world, case.name))


def scram(case):
    """The password is not sent: a broker that takes this client's form of it."""
    broker = Broker(os.path.join(case.folder, "older"), case.world.folder, OLDER)
    try:
        broker.start()
        client = Client(case.world, case.name)
        client.settings.update({"bootstrap.servers": f"127.0.0.1:{broker.secure}", "sasl.mechanism": "SCRAM-SHA-512"})
        verbs(client)
        client.good("topics", "check", "--items-topic", "", settings={"sasl.mechanism": "SCRAM-SHA-256"}, seconds=120)
        client.password_set("not-the-password")
        client.bad(USAGE, "sasl", str(broker.secure), verb=("topics", "check"))
    finally:
        broker.stop()


def tls(case):
    """A client's certificate in place of a name."""
    client = Client(case.world, case.name)
    client.settings.update({"bootstrap.servers": f"127.0.0.1:{case.world.broker.tls}", "security.protocol": "SSL",
                            "ssl.certificate.location": case.world.path("client.crt"), "ssl.key.location": case.world.path("client.key")})
    for key in ("sasl.mechanism", "sasl.username", "sasl.password"):
        del client.settings[key]
    client.good("topics", "create", "--partitions", "1", "--items-topic", "", seconds=120)
    client.good("run", "--idle", "500", seconds=120)
    os.chmod(case.world.path("client.key"), 0o644)
    client.bad(USAGE, "client.key", "600", verb=("topics", "check"))


def refused(case):
    """What does not fit ends with one line that says what it is, where, and what to do. Each takes as long as a broker is waited for, so
    they go side by side."""
    client, world, broker = Client(case.world, case.name), case.world, case.world.broker
    check = ("topics", "check")
    other_ca = {"ssl.ca.location": world.path("other-ca.pem")}
    naked = {key: None for key in ("security.protocol", "sasl.mechanism", "sasl.username", "sasl.password", "ssl.ca.location")}

    def tls(port, name=None):
        own = {"ssl.certificate.location": world.path(f"{name}.crt"), "ssl.key.location": world.path(f"{name}.key")} if name else {}
        return {**naked, "bootstrap.servers": f"127.0.0.1:{port}", "security.protocol": "SSL", "ssl.ca.location": world.path("ca.pem"), **own}

    wrong = os.path.join(client.folder, "wrong")
    with open(os.open(wrong, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
        file.write("not-the-password")
    badly = {"sasl.password": "${file:" + wrong + "}"}
    secure = f"127.0.0.1:{broker.secure}"
    table = [
        (USAGE, ("authority", "ssl.ca.location", secure), check, other_ca),
        (USAGE, ("authority", "ssl.ca.location", secure), ("run",), other_ca),
        (USAGE, ("ssl.ca.location",), check, {"ssl.ca.location": "/no-such.pem"}),
        (USAGE, ("has expired", "renew", str(broker.expired)), check, tls(broker.expired)),
        (USAGE, ("another host", "advertised.listeners", str(broker.elsewhere)), check, tls(broker.elsewhere)),
        (USAGE, ("certificate", "ssl.certificate.location", str(broker.tls)), check, tls(broker.tls)),
        (USAGE, ("certificate", "ssl.certificate.location", str(broker.tls)), check, tls(broker.tls, "stranger")),
        (UNREACHABLE, ("security.protocol", str(broker.plain)), check, {"bootstrap.servers": f"127.0.0.1:{broker.plain}"}),
        (UNREACHABLE, ("security.protocol", secure), check, naked),
        (USAGE, ("sasl", secure), check, {"sasl.username": "nobody"}),
        (USAGE, ("sasl.password", "2.6.1", "client certificate"), check, {"sasl.mechanism": "SCRAM-SHA-512"}),
        (USAGE, ("sasl.mechanism", "SCRAM-SHA-256"), check, {"sasl.mechanism": "SCRAM-SHA-256"}),
    ]
    table += [(USAGE, ("sasl", secure), verb, badly) for verb in (check, ("run",), ("serve",), ("forget", "u1"))]
    running = [(row, client.start(*row[2], settings={**row[3], "state.dir": os.path.join(client.folder, str(n))})) for n, row in enumerate(table)]
    problems = []
    for (code, words, verb, settings), process in running:
        try:
            line = client.end(process, code, words, 120)
            must("not-the-password" not in line, f"the password is in {line}")
        except Wrong as error:
            problems.append(f"{verb} {settings}: {error}")
    must(not problems, "\n".join(problems))


CASES = [sasl, scram, tls, refused]


if __name__ == "__main__":
    run_cases(__doc__, "freshet-wire-", Place, CASES)
