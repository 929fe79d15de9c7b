"""Makes the golden files of this folder, with the PyPI package `krausening` itself.

    python3 -m venv venv && venv/bin/pip install krausening==21 && venv/bin/python make.py

Encryption is salted: each run makes other values, so `krausening-encrypted.json` is written only
where it is missing, and otherwise its rows are decrypted by the package and compared.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent

# What the values of the tables below may name. Nothing else is set.
VARIABLES = {
    "HOME": "/root",
    "A": "$HOME",
    "E": "",
    "a b": "spaced",
    "_under_9": "u9",
    "1": "one",
    "OUTER": "${HOME}",
    "UMLAUT": "grün",
}

TEXTS = [
    "", "plain", "$", "$$", "$$$", "${", "${}", "$}", "{}", "$ HOME", "$HOME", "${HOME}", "$HOME/x",
    "${HOME}x", "$HOMEx", "$HOME.x", "$HOME-x", "$HOME$HOME", "${HOME}${HOME}", "pa$HOME$$x", "$$HOME",
    "$${HOME}", "\\$HOME", "\\\\$HOME", "'$HOME'", "$A", "${A}", "$OUTER", "$E", "$E.", "${E}", "${a b}",
    "$a b", "$_under_9", "${_under_9}", "$1", "${1}", "$1x", "$NOPE", "${NOPE}", "${NOPE}$HOME", "${HOME",
    "${HOME $HOME}", "${{HOME}}", "${$HOME}", "$HOME}", "x${HOME}y${NOPE}z$E", "grün$HOMEü", "$HOMEü",
    "ü$HOME", "$UMLAUT!", "${UMLAUT}", "$ü", "${ü}", "%HOME%", "$(HOME)", "$HOME\n$A", "a${\nHOME}b", "$-",
    "$HOME_", "$home", "~", "~/x", "ENC($HOME)",
]

SECRETS = [
    ("pw", "s3cret"),
    ("pw", ""),
    ("correct horse battery staple", "exactly16 bytes!"),
    ("pässwörd", "grün $HOME ${X} = : #"),
    ("p", "x" * 40),
    ("pw", "-----BEGIN PUBLIC KEY-----\nMFkw\n-----END PUBLIC KEY-----\n"),
    ("", "no password"),
]

# Three layers, each a file or nothing.
LAYERS = [
    {"one": "only=base\nall=base\nname=$HOME/base\n", "two": "all=extensions\n", "three": "all=override\n"},
    {"one": "all=base\nname=base\n", "two": None, "three": "name=${HOME}\n"},
    {"one": None, "two": "all=extensions\n", "three": "all=\n"},
    {"one": "all = ENC(%s)\nname : ENC(%s)\n", "two": "", "three": ""},
    {"one": "# c\n! c\nall\\ two=a\\\n   b\nname=gr\\u00fcn\\=\\:\\\\x \nonly", "two": "", "three": ""},
]


def write(name, value):
    text = json.dumps(value, ensure_ascii=False, indent=1)
    (HERE / name).write_text(text + "\n", encoding="utf-8")


def expandvars():
    os.environ.clear()
    os.environ.update(VARIABLES)
    rows = [[text, os.path.expandvars(text)] for text in TEXTS]
    write("python-expandvars.json", {"python": sys.version.split()[0], "variables": VARIABLES, "rows": rows})


def encrypted():
    from krausening.properties import PropertyEncryptor

    encryptor, path = PropertyEncryptor(), HERE / "krausening-encrypted.json"
    if path.exists():
        rows = json.loads(path.read_text(encoding="utf-8"))
        for password, plain, text in rows:
            assert encryptor.decrypt(text, password.encode()) == plain, text
        print(f"{len(rows)} encrypted rows are what the package decrypts them to")
        return
    rows = [[pw, plain, encryptor.encrypt(plain, pw.encode())] for pw, plain in SECRETS]
    write("krausening-encrypted.json", rows)


def layers():
    """What the package's PropertyManager makes of three folders."""
    from krausening.properties import PropertyEncryptor, PropertyManager

    def secret(plain):
        return PropertyEncryptor().encrypt(plain, b"pw")

    old, cases = HERE / "krausening-layers.json", []
    if old.exists():
        files = [case["files"] for case in json.loads(old.read_text(encoding="utf-8"))]
    else:
        files = LAYERS
        files[3]["one"] %= (secret("a secret"), secret("in $HOME"))
    for case in files:
        with tempfile.TemporaryDirectory() as root:
            for name, text in case.items():
                (Path(root) / name).mkdir()
                if text is not None:
                    (Path(root) / name / "oip.properties").write_text(text, encoding="utf-8")
            os.environ.clear()
            os.environ.update(VARIABLES, KRAUSENING_PASSWORD="pw", LC_ALL="C.UTF-8")
            # The manager starts a watcher for the folders it finds at first; this one finds none.
            PropertyManager._PropertyManager__instance = None
            manager = PropertyManager.get_instance()
            for variable, name in zip(("BASE", "EXTENSIONS", "OVERRIDE_EXTENSIONS"), case):
                os.environ[f"KRAUSENING_{variable}"] = str(Path(root) / name)
            properties = manager.get_properties("oip.properties")
            values = {key: properties.getProperty(key) for key in sorted(properties.data)}
        cases.append({"files": case, "values": values})
    write("krausening-layers.json", cases)


expandvars()
encrypted()
layers()
