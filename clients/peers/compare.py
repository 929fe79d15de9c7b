"""Asks servers the same requests and writes what they answered, one column a server.

    python compare.py --url oip=127.0.0.1:8082 --url MLServer=127.0.0.1:8086 --json answers.json --check oip

With --keep the columns already in the JSON file stay, so that servers can be asked one after the other.
Only the standard library is needed.
"""

import argparse
import contextlib
import http.client
import json
import pathlib
import sys

from promised import PROMISED
from requests_table import ROWS

TIME_LIMIT_S = 20
SHOWN = 32
KEPT = 400


def ask(address, method, path, headers, body):
    """What one server answers: {"status", "type", "body"}, or {"fault"} when it gave none."""
    host, port = address.rsplit(":", 1)
    connection = http.client.HTTPConnection(host, int(port), timeout=TIME_LIMIT_S)
    with contextlib.closing(connection):
        try:
            connection.putrequest(method, path, skip_accept_encoding=True)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.endheaders(body or None)
            reply = connection.getresponse()
            text = reply.read()
        except (OSError, http.client.HTTPException) as error:
            return {"fault": type(error).__name__}
    answer = {"status": reply.status, "type": reply.headers.get("Content-Type", ""), "body": readable(text, reply.headers)}
    for name in ("Allow", "Location"):
        if reply.headers.get(name):
            answer[name.lower()] = reply.headers[name]
    return answer


def readable(text, headers):
    """The body as text; of a binary answer the header, then the tail in hexadecimal."""
    length = headers.get("Inference-Header-Content-Length")
    if length is not None:
        head, tail = text[: int(length)], text[int(length):]
        return f"{head.decode(errors='backslashreplace')} + {tail.hex()}"
    shown = text.decode(errors="backslashreplace")
    if shown.startswith("Traceback"):
        return "Traceback (most recent call last): …"
    return shown if len(shown) <= KEPT else shown[:KEPT] + "…"


def ask_all(address):
    answers = {}
    for section, name, method, path, headers, body in ROWS:
        answers[f"{section} / {name}"] = ask(address, method, path, headers, body)
    return answers


def cell(answer):
    """The part of an answer that a table has room for: the status, and the data where there are any."""
    if answer is None:
        return ""
    if "fault" in answer:
        return "no answer"
    shown = ""
    with contextlib.suppress(ValueError):
        document = json.loads(answer["body"])
        if answer["status"] == 200 and isinstance(document, dict) and "outputs" in document and "inputs" not in document:
            shown = ", ".join(json.dumps(o.get("data", "binary"), ensure_ascii=False) for o in document["outputs"]) or "no output"
    if answer["status"] == 200 and '"binary_data_size"' in answer["body"]:
        shown = "binary"
    elif answer["status"] >= 400 and "\"detail\"" in answer["body"][:12]:
        shown = "detail"
    elif answer["status"] >= 400 and answer["body"] and not answer["body"].startswith("{"):
        shown = "no JSON"
    if len(shown) > SHOWN:
        shown = shown[: SHOWN - 1] + "…"
    shown = shown.replace("|", "\\|").replace("`", "'")
    return f"{answer['status']} `{shown}`" if shown else str(answer["status"])


def markdown(columns, rows=ROWS, promised=PROMISED, cell=cell):
    """One table a section: what this server promises, what each answered, and why they part."""
    lines, section_before = [], None
    names = list(columns)
    for section, name, *_ in rows:
        if section != section_before:
            heads = ["request", "promised", *names, "why"]
            lines += ["", f"### {section}", "", f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
            section_before = section
        status, reason = promised[name]
        cells = [cell(columns[n].get(f"{section} / {name}")) for n in names]
        lines.append(f"| {' | '.join([name, str(status), *cells, reason])} |")
    return "\n".join([*lines, ""])


def write_between_marks(path, table, of="answers"):
    """Puts the table between the marks of a document; the words around it stay."""
    begin, end = f"<!-- {of}: begin -->", f"<!-- {of}: end -->"
    before, rest = path.read_text().split(begin, 1)
    _, after = rest.split(end, 1)
    path.write_text(f"{before}{begin}\n{table}\n{end}{after}")


def broken_promises(answers):
    """The rows in which a server's status is not the promised one."""
    for section, name, *_ in ROWS:
        answer = answers[f"{section} / {name}"]
        if answer.get("status") != PROMISED[name][0]:
            yield f"{name}: promised {PROMISED[name][0]}, answered {answer.get('status')} {answer.get('body', '')[:200]}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", action="append", default=[], metavar="NAME=HOST:PORT", help="a server to ask")
    parser.add_argument("--json", type=pathlib.Path, required=True, help="where the full answers go")
    parser.add_argument("--markdown", type=pathlib.Path, help="a document whose marked part becomes the table")
    parser.add_argument("--check", metavar="NAME", help="fail when this column's statuses are not the promised ones")
    parser.add_argument("--keep", action="store_true", help="keep the columns that the JSON file has")
    arguments = parser.parse_args()
    columns = json.loads(arguments.json.read_text()) if arguments.keep and arguments.json.exists() else {}
    for url in arguments.url:
        name, address = url.split("=", 1)
        columns[name] = ask_all(address)
        print(f"{name}: {len(columns[name])} requests")
    arguments.json.write_text(json.dumps(columns, indent=1, ensure_ascii=False) + "\n")
    if arguments.markdown:
        write_between_marks(arguments.markdown, markdown(columns))
    if arguments.check:
        broken = list(broken_promises(columns[arguments.check]))
        print("\n".join(broken) or f"{arguments.check}: every status is the promised one")
        return 1 if broken else 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
