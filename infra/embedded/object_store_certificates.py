"""Certificates by which the parts of the embedded object store know each other, and we them.

Without them whoever reaches the loopback interface could ask the parts behind the S3 interface where an object lies,
be given a token for it, and read it. One authority per installation signs one certificate, which every part shows and
asks for; its key is thrown away, so that there is never a second one.
"""

import datetime as dt
import ipaddress
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from infra import private_files

AUTHORITY, CERTIFICATE, KEY = "authority.pem", "certificate.pem", "certificate.key"

_PARTS = ("master", "volume", "filer", "s3", "admin", "worker", "client")
_VALIDITY = dt.timedelta(days=36_500)


def ensure(folder: Path) -> None:
    """Make the certificate of an installation where it is not whole.

    Parameters
    ----------
    folder : Path
        Private folder of the object store.
    """
    if all((folder / name).exists() for name in (AUTHORITY, CERTIFICATE, KEY)):
        return
    authority_key, own_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = _name("terralimb object store authority")
    authority = (
        _builder(issuer, issuer, authority_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    loopback = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    usage = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    own = (
        _builder(_name("terralimb object store"), issuer, own_key.public_key())
        .add_extension(x509.SubjectAlternativeName([loopback]), critical=False)
        .add_extension(x509.ExtendedKeyUsage(usage), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    secret = own_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    private_files.write(folder / KEY, secret.decode())
    private_files.write(folder / CERTIFICATE, own.public_bytes(serialization.Encoding.PEM).decode())
    private_files.write(folder / AUTHORITY, authority.public_bytes(serialization.Encoding.PEM).decode())


def sections() -> str:
    """Give the part of the server's ``security.toml`` that names them, relative to the folder it runs in.

    Returns
    -------
    str
        TOML: certificates are asked for by every gRPC interface and by the web interface of the master, which hands
        out tokens. Those of filer and volumes ask for tokens.
    """
    shown = f'cert = "{CERTIFICATE}"\nkey = "{KEY}"\n'
    grpc = [f'[grpc]\nca = "{AUTHORITY}"\n', *(f"[grpc.{part}]\n{shown}" for part in _PARTS)]
    return "\n".join([*grpc, f'[https.master]\n{shown}ca = "{AUTHORITY}"\n'])


def client_context(folder: Path) -> ssl.SSLContext:
    """Context of a connection to a part that asks for the certificate.

    Parameters
    ----------
    folder : Path
        Private folder of the object store.

    Returns
    -------
    ssl.SSLContext
        It trusts this installation only, and shows its certificate.
    """
    context = ssl.create_default_context(cafile=folder / AUTHORITY)
    context.load_cert_chain(folder / CERTIFICATE, folder / KEY)
    return context


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    begin = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)  # clocks are set back
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + _VALIDITY)
    )
