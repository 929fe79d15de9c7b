"""Certificates: those of an authority, and those that look like them."""

import datetime
import ipaddress
import ssl

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = datetime.timedelta(days=1)


def pem_of(certificate):
    return certificate.public_bytes(form.Encoding.PEM)


def pem_of_key(key):
    return key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())


class Authority:
    """A certificate authority; or, with `issuer` and without `is_ca`, somebody who plays one."""

    def __init__(self, name="authority", issuer=None, is_ca=True):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        by = issuer or self
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = x509.CertificateBuilder().subject_name(self.name).issuer_name(by.name)
        builder = builder.public_key(self.key.public_key()).serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - DAY).not_valid_after(now + 30 * DAY)
        builder = builder.add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        self.certificate = builder.sign(by.key, hashes.SHA256())

    def issue(self, *names, usage=ExtendedKeyUsageOID.CLIENT_AUTH, begins=-DAY, ends=DAY, hosts=()):
        """Key and chain, as PEM, of a certificate with these common names."""
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.datetime.now(datetime.timezone.utc)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name, _validate=False) for name in names])
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self.name)
        builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now + begins).not_valid_after(now + ends)
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        if hosts:
            addresses = [x509.IPAddress(ipaddress.ip_address(host)) for host in hosts]
            builder = builder.add_extension(x509.SubjectAlternativeName(addresses), critical=False)
        certificate = builder.sign(self.key, hashes.SHA256())
        return pem_of_key(key), pem_of(certificate) + pem_of(self.certificate)

    def serving(self, folder, host="127.0.0.1"):
        """What a TLS server of that address needs, with the authority beside it as `ca.pem`."""
        key, chain = self.issue("server", usage=ExtendedKeyUsageOID.SERVER_AUTH, hosts=[host])
        for name, content in (("tls.key", key), ("tls.crt", chain), ("ca.pem", pem_of(self.certificate))):
            (folder / name).write_bytes(content)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
        return context
