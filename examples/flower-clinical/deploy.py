"""Deploy the example on this machine: a SuperLink and four SuperNodes, with TLS and node keys.

    python deploy.py FOLDER               # the deployment that is described here
    python deploy.py FOLDER --simulate    # or `flwr run` in simulation: one SuperLink alone

Everything listens on the loopback address only and lives in FOLDER: certificates, node keys, each
site's folder, logs. What it does is what the operators of real hosts do, each on their own:

1. Whoever runs the SuperLink: a certificate authority and a certificate for its host.
2. Each site: a Veilsum identity (`prepare_site`), whose public half goes to all other sites by a
   way that nobody on it can change, and a policy; and a node key, whose public half goes to
   whoever runs the SuperLink.
3. The SuperLink, a SuperNode at each site, and one registration for each node key.
4. The researcher: `flwr run`.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from datetime import datetime, timedelta, timezone
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from veilsum.flower import prepare_site

APP = Path(__file__).resolve().parent
POLICY = 'min_clients = 3\nserver_reads = false\nmetrics = ["auc"]\n'


class Deployment:
    """Processes of one federation, which can be killed and started again, one by one."""

    def __init__(self, folder, clouds=4, app=APP, policy=POLICY):
        self.folder = Path(folder).resolve()
        self.clouds = clouds
        self.app = Path(app)
        self.policy = policy
        self.running = {}
        self.options = []
        self.port = free_port()
        self.ports = [free_port() for _ in range(clouds)]
        self.environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "FLWR_HOME": str(self.folder / "flwr"),
            "FLWR_TELEMETRY_ENABLED": "0",
            "FLWR_DISABLE_UPDATE_CHECK": "1",
            "OMP_WAIT_POLICY": "passive",
            "RAY_USAGE_STATS_ENABLED": "0",
            "NO_PROXY": "127.0.0.1",
        }

    def prepare(self):
        """Make certificates, node keys and the sites' folders."""
        self.folder.mkdir(parents=True, exist_ok=True)
        certificates(self.folder)
        publics = [prepare_site(self.site(k)) for k in range(self.clouds)]
        for k in range(self.clouds):
            prepare_site(self.site(k), roster=publics)
            (self.site(k) / "policy.toml").write_text(self.policy)
            key = ec.generate_private_key(ec.SECP384R1())
            write_key(self.folder / f"node-{k}", key)
            public = key.public_key().public_bytes(
                serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
            )
            (self.folder / f"node-{k}.pub").write_bytes(public)
        server = self.folder / "server" / "roster"
        server.mkdir(parents=True, exist_ok=True)
        for k, public in enumerate(publics):
            shutil.copyfile(public, server / f"{k:04d}.pub")
        home = self.folder / "flwr"
        home.mkdir(exist_ok=True)
        (home / "config.toml").write_text(
            '[superlink]\ndefault = "here"\n\n[superlink.here]\n'
            f'address = "127.0.0.1:{self.port}"\n'
            f'root-certificates = "{self.folder / "ca.crt"}"\n'
        )

    def site(self, number):
        return self.folder / f"site-{number}"

    def start_superlink(self):
        self._start(
            "superlink", "flower-superlink", "--host", "127.0.0.1", "--port", str(self.port),
            "--ssl-certfile", "server.pem", "--ssl-keyfile", "server.key",
            "--ssl-ca-certfile", "ca.crt", "--enable-supernode-auth",
            "--database", str(self.folder / "superlink.db"),
            "--disable-runtime-dependency-installation",
        )  # fmt: skip
        wait_for(self.port)

    def start_simulation(self):
        """Start a SuperLink that simulates all sites, instead of all other processes."""
        self.folder.mkdir(parents=True, exist_ok=True)
        home = self.folder / "flwr"
        home.mkdir(exist_ok=True)
        (home / "config.toml").write_text(
            '[superlink]\ndefault = "here"\n\n[superlink.here]\n'
            f'address = "127.0.0.1:{self.port}"\ninsecure = true\n'
        )
        self.options = ["--federation-config", f"num-supernodes={self.clouds}"]
        # Simulated sites trust their server, which no site of a deployment may do unasked.
        self.environment["VEILSUM_SIMULATION"] = "1"
        self._start(
            "superlink", "flower-superlink", "--host", "127.0.0.1", "--port", str(self.port),
            "--insecure", "--simulation", "--disable-runtime-dependency-installation",
        )  # fmt: skip
        wait_for(self.port)

    def start_supernode(self, number):
        self._start(
            f"supernode-{number}", "flower-supernode",
            "--superlink", f"127.0.0.1:{self.port}", "--root-certificates", "ca.crt",
            "--auth-supernode-private-key", f"node-{number}",
            "--host", "127.0.0.1", "--port", str(self.ports[number]),
            "--node-config",
            f'partition-id={number} num-partitions={self.clouds} '
            f'veilsum-home="{self.site(number)}"',
        )  # fmt: skip

    def restart_supernode(self, number):
        """Start a killed SuperNode again, when the SuperLink has noticed that it is gone.

        Flower 1.42 takes a node's key back only a minute after the node was last heard of, and a
        SuperNode that came earlier does not get in later.
        """
        time.sleep(75)
        self.start_supernode(number)

    def register(self, number):
        self.flwr("supernode", "register", f"node-{number}.pub", "here")

    def start(self):
        self.start_superlink()
        for number in range(self.clouds):
            self.register(number)
            self.start_supernode(number)

    def run(self, **config):
        """Submit the app, and return at once."""
        values = {"home": str(self.folder), **config}
        text = " ".join(f"{name}={value!r}" for name, value in values.items()).replace("'", '"')
        self.flwr("run", str(self.app), "here", "--run-config", text, *self.options)

    def flwr(self, *arguments):
        done = subprocess.run(
            ["flwr", *arguments],
            cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"flwr {arguments[0]}: {done.stdout}{done.stderr}")
        return done.stdout

    def _start(self, name, *command):
        with (self.folder / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                command, cwd=self.folder, env=self.environment, stdout=log,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

    def kill(self, name, sign=9):
        """Kill a process and all that it started."""
        process = self.running.pop(name)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, sign)
        process.wait()

    def stop(self):
        for name in list(self.running):
            self.kill(name, 15 if name == "superlink" else 9)

    def log(self, name):
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def wait(self, path, seconds):
        """Wait until a file is there."""
        end = time.monotonic() + seconds
        while not path.exists():
            if time.monotonic() > end:
                raise TimeoutError(f"{path.name} did not appear within {seconds} s")
            time.sleep(0.5)


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def wait_for(port, seconds=60):
    end = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.3)


def write_key(path, key):
    path.touch(mode=0o600)
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.OpenSSH,
            serialization.NoEncryption(),
        )
    )


def certificates(folder):
    """Make a certificate authority and a server certificate for the loopback address."""
    now = datetime.now(timezone.utc)

    def make(name, key, issuer, signer, *, authority):
        built = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=5))
            .not_valid_after(now + timedelta(days=30))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()),
                critical=False,
            )
        )
        if authority:
            usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
            built = built.add_extension(usage, critical=True)
        else:
            names = [x509.IPAddress(ip_address("127.0.0.1")), x509.DNSName("localhost")]
            built = built.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return built.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    authority, server = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    (folder / "ca.crt").write_bytes(make("ca", authority, "ca", authority, authority=True))
    chain = make("localhost", server, "ca", authority, authority=False)
    (folder / "server.pem").write_bytes(chain)
    (folder / "server.key").touch(mode=0o600)
    (folder / "server.key").write_bytes(
        server.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


def main(folder, simulate):
    made = Deployment(folder)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    try:
        if simulate:
            made.start_simulation()
        else:
            made.prepare()
            made.start()
        made.run()
        made.wait(made.folder / "server" / "scores.json", 1800)
        print((made.folder / "server" / "scores.json").read_text())
    finally:
        made.stop()


if __name__ == "__main__":
    main(
        next((one for one in sys.argv[1:] if one != "--simulate"), "runs/flower-deployed"),
        "--simulate" in sys.argv,
    )
