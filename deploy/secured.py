"""The embedded broker with TLS, SCRAM and rights: its certificates, its administrator, and its settings.

<data_dir>/broker/secure/, readable by its owner alone:
  ca.pem             the authority; clients name it in FRESHLOOP_KAFKA_CA
  broker.pem         the broker's certificate and key
  <user>.password    of each user, `admin` first
"""

from __future__ import annotations

import ipaddress
import os
import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import SecretStr

from deploy.store import BrokerError, Layout
from streams.clock import Clock
from streams.config import Settings

ADMIN = "admin"
MECHANISM = "SCRAM-SHA-512"
DAYS = 825  # the longest that common clients take a certificate for
_NAME = "freshloop-broker"


def folder(layout: Layout) -> Path:
    """Return where certificates and passwords are."""
    return layout.root / "secure"


def prepare(layout: Layout, formatted: bool) -> None:
    """Make certificates and the administrator's password where there are none.

    Raises:
      BrokerError: the broker's data were made without an administrator.
    """
    if formatted and not (folder(layout) / f"{ADMIN}.password").exists():
        raise BrokerError(
            f"the data in {layout.root} were made by a broker that was not secured; 'freshloop broker wipe' starts "
            "anew, or unset FRESHLOOP_BROKER_SECURED"
        )
    folder(layout).mkdir(mode=0o700, parents=True, exist_ok=True)
    if not (folder(layout) / "broker.pem").exists():
        _make_certificates(folder(layout))
    password(layout, ADMIN)


def password(layout: Layout, user: str) -> str:
    """Return a user's password; a new one where there is none."""
    path = folder(layout) / f"{user}.password"
    if not path.exists():
        _write(path, secrets.token_urlsafe(24).encode())
    return path.read_text("ascii")


def as_user(settings: Settings, layout: Layout, user: str) -> Settings:
    """Return the settings with which a user reaches the secured broker."""
    access = {
        "kafka_security": "SASL_SSL", "kafka_mechanism": MECHANISM, "kafka_user": user,
        "kafka_password": SecretStr(password(layout, user)), "kafka_ca": str(folder(layout) / "ca.pem"),
    }  # fmt: skip
    return settings.model_copy(update=access)


def format_options(layout: Layout) -> tuple[str, ...]:
    """Return what makes the administrator when the broker's folder is formatted."""
    return ("--add-scram", f"{MECHANISM}=[name={ADMIN},password={password(layout, ADMIN)}]")


def properties(layout: Layout, settings: Settings) -> dict[str, str]:
    """Return what is different in the broker's configuration: clients log in, the controller takes certificates."""
    where = folder(layout)
    login = "org.apache.kafka.common.security.scram.ScramLoginModule required"
    broker = f"SASL_SSL://127.0.0.1:{settings.broker_port}"
    return {
        "listeners": f"{broker},CONTROLLER://127.0.0.1:{settings.controller_port}",
        "advertised.listeners": broker,
        "inter.broker.listener.name": "SASL_SSL",
        "listener.security.protocol.map": "SASL_SSL:SASL_SSL,CONTROLLER:SSL",
        "listener.name.controller.ssl.client.auth": "required",
        "sasl.enabled.mechanisms": MECHANISM,
        "sasl.mechanism.inter.broker.protocol": MECHANISM,
        f"listener.name.sasl_ssl.{MECHANISM.lower()}.sasl.jaas.config": (
            f'{login} username="{ADMIN}" password="{password(layout, ADMIN)}";'
        ),
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(where / "broker.pem"),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(where / "ca.pem"),
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": f"User:{ADMIN};User:CN={_NAME}",
        "allow.everyone.if.no.acl.found": "false",
    }


def _make_certificates(where: Path) -> None:
    """Make an authority, whose key is thrown away, and a certificate for 127.0.0.1 that it signs."""
    now = datetime.fromtimestamp(Clock().now_ms() / 1000, UTC)
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = _name("freshloop-authority")

    def signed(subject: x509.Name, public: ec.EllipticCurvePublicKey, *extensions: x509.ExtensionType) -> bytes:
        builder = x509.CertificateBuilder(
            issuer_name=authority, subject_name=subject, public_key=public, serial_number=x509.random_serial_number(),
            not_valid_before=now - timedelta(minutes=5), not_valid_after=now + timedelta(days=DAYS),
        )  # fmt: skip
        for extension in extensions:
            builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        return builder.sign(authority_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    ca = signed(authority, authority_key.public_key(), x509.BasicConstraints(ca=True, path_length=0))
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    own = signed(_name(_NAME), key.public_key(), x509.BasicConstraints(ca=False, path_length=None), names)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _write(where / "ca.pem", ca)
    _write(where / "broker.pem", private + own)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _write(path: Path, data: bytes) -> None:
    """Write a file that only its owner reads."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(data)
