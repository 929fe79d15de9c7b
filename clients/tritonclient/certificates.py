"""Authorities and certificates for one test run, made by the openssl command."""

import subprocess

NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


def openssl(folder, *arguments):
    subprocess.run(["openssl", *map(str, arguments)], cwd=folder, check=True, capture_output=True)


def authority(folder, name):
    """NAME.pem and NAME.key of an authority."""
    openssl(folder, "req", "-x509", *NEW_KEY, "-days", 2, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem")


def signed(folder, by, name, extensions):
    """NAME.pem and NAME.key, signed by an authority of the folder."""
    (folder / f"{name}.ext").write_text(extensions)
    openssl(folder, "req", *NEW_KEY, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
    openssl(
        folder, "x509", "-req", "-in", f"{name}.csr", "-CA", f"{by}.pem", "-CAkey", f"{by}.key", "-CAcreateserial",
        "-days", 1, "-extfile", f"{name}.ext", "-out", f"{name}.pem",
    )


def server(folder, by, name="server"):
    signed(folder, by, name, "subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n")


def client(folder, by, name):
    signed(folder, by, name, "extendedKeyUsage=clientAuth\n")
