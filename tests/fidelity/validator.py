"""Checks an exchange (a row of the sandbox's journal) and an event against the contract's yaml files.

Shares no code with the console's client or with the sandbox: it reads the files itself and uses jsonschema.
    problems = Validator().check(row)          an empty list means: as the contract says
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator

CONTRACT = Path(__file__).resolve().parents[2] / "contract"
Row = dict[str, Any]
_CODE_FIELDS = ("err_no", "errno", "error", "errcode", "code")
_V1_REFUSAL = {"errno": 40001, "message": "bad parameter"}
_CLIENT_TOKEN = "/oauth/client_token"  # noqa: S105 - a path
_CONSENT = "/platform_api/v1/developer_platform/auth/link"


@dataclass(frozen=True)
class Documented:
    """One operation as its yaml file writes it."""

    id: str
    method: str
    path: str
    entry: Row
    document: Row
    core: bool

    @cached_property
    def errors(self) -> set[int]:
        """The codes on the operation's own page."""
        return {row["code"] for row in self.entry.get("x-errors", [])}

    @property
    def token(self) -> str:
        """Where and which: the words of the file."""
        header = [row for row in self.entry.get("parameters", []) if row["in"] == "header"]
        return str(self.entry.get("x-token") or (header[0].get("description", "") if header else ""))

    def parameters(self) -> dict[str, Row]:
        """Query parameters; manage names the tokens under `security`."""
        found = {row["name"]: row for row in self.entry.get("parameters", []) if row["in"] == "query"}
        schemes = self.document["components"].get("securitySchemes", {})
        for need in self.entry.get("security", []):
            for name in need:
                if schemes[name]["in"] == "query":
                    text = {"required": True, "schema": {"type": "string"}}
                    found.setdefault(schemes[name]["name"], text)
        return found

    def content(self) -> tuple[str, Row] | None:
        """(media type, media object) of the body."""
        for media, part in self.entry.get("requestBody", {}).get("content", {}).items():
            return media, part
        return None

    def answers(self) -> Row:
        found: Row = self.entry["responses"]["200"]["content"]
        return found

    def failure(self) -> Row:
        """The documented example of a refusal."""
        examples = self.answers().get("application/json", {}).get("examples", {})
        found: Row = (examples.get("error") or examples.get("failure") or {}).get("value", _V1_REFUSAL)
        return found


class Validator:
    """Both files; core owns the calls that stand in both."""

    def __init__(self, folder: Path = CONTRACT) -> None:
        self.operations: dict[str, Documented] = {}
        self.catalogue: set[int] = set()
        self.events: dict[str, tuple[Row, Row]] = {}
        self._routes: dict[tuple[str, str], Documented] = {}
        self._compiled: dict[tuple[str, str], Draft202012Validator] = {}
        for name in ("contract-core.yaml", "contract-manage.yaml"):
            document = yaml.load((folder / name).read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
            self._add(document, core="core" in name)

    def _add(self, document: Row, *, core: bool) -> None:
        common = document.get("x-common-errors", {})
        for row in [*document.get("x-error-catalogue", []), *common.get("v1", []), *common.get("V2", [])]:
            self.catalogue.add(row["code"])
        for path, item in document["paths"].items():
            for method, entry in item.items():
                if isinstance(entry, dict) and "operationId" in entry:
                    whole = f"/openapi{path}" if path.startswith("/v1/") else path
                    found = Documented(entry["operationId"], method.upper(), whole, entry, document, core)
                    if self._routes.setdefault((found.method, whole.rstrip("/")), found) is found:
                        self.operations[found.id] = found
        for item in document.get("webhooks", {}).values():
            hook = item.get("post", item)
            if hook.get("x-event") and "x-decrypted" in hook:
                self.events.setdefault(hook["x-event"], (hook["x-decrypted"]["schema"], document))

    def find(self, method: str, path: str) -> Documented | None:
        return self._routes.get((method, path.rstrip("/")))

    def check(self, row: Row) -> list[str]:
        """All that is wrong with a call and its answer."""
        if row["path"].startswith((_CLIENT_TOKEN, _CONSENT)):
            return []
        operation = self.find(row["method"], row["path"])
        if operation is None:
            return [f"{row['method']} {row['path']}: not in the contract"]
        found = [*self.request(operation, row), *self.answer(operation, row)]
        return [f"#{row.get('n')} {operation.id}: {problem}" for problem in found]

    # request

    def request(self, operation: Documented, row: Row) -> Iterator[str]:
        yield from self._query(operation, row["query"])
        yield from self._token(operation, row)
        content = operation.content()
        if content is None:
            if row["body"] not in (None, "", {}):
                yield "body: none is documented"
        elif content[0].startswith("multipart/"):
            if "multipart/form-data" not in row["headers"].get("content-type", ""):
                yield "content-type: multipart/form-data expected"
        else:
            if row["body"] is not None and "json" not in row["headers"].get("content-type", ""):
                yield "content-type: JSON expected"
            body = {} if row["body"] is None else row["body"]
            yield from self._against(operation, "request", content[1].get("schema", {}), body)

    def _query(self, operation: Documented, query: Row) -> Iterator[str]:
        known = operation.parameters()
        for name in query:
            if name not in known:
                yield f"query {name}: not documented"
        for name, parameter in known.items():
            if name in query:
                value = _typed(query[name], parameter["schema"])
                yield from self._against(operation, f"query {name}", parameter["schema"], value)
            elif parameter.get("required"):
                yield f"query {name}: missing"

    def _token(self, operation: Documented, row: Row) -> Iterator[str]:
        words, shown = operation.token, row["headers"].get("access-token")
        if "access-token" not in words and "access_token of the V2" not in words:
            return
        if shown is None:
            yield "header access-token: missing"
        elif ("isvact" in words or "V2 authorizer" in words) and not shown.startswith("isvact."):
            yield "header access-token: an isvact. token is wanted"
        elif "clt." in words and not shown.startswith("clt."):
            yield "header access-token: a clt. token is wanted"
        elif "= V1" in words and shown.startswith(("isvact.", "clt.")):
            yield "header access-token: a V1 token is wanted"

    # answer

    def answer(self, operation: Documented, row: Row) -> Iterator[str]:
        if row.get("lost"):
            return
        if row["status"] != 200:
            yield f"HTTP {row['status']}"
            return
        answer, media = row["answer"], operation.answers()
        if not isinstance(answer, dict):
            if "application/json" in media and len(media) == 1:
                yield f"answer: JSON expected, not {str(answer)[:60]!r}"
            return
        code = _code(answer)
        if code == 0:
            yield from self._against(operation, "answer", media.get("application/json", {}).get("schema", {}), answer)
        else:
            yield from self._refusal(operation, answer, code)

    def _refusal(self, operation: Documented, answer: Row, code: int) -> Iterator[str]:
        """A refusal has the example's fields and types, and a code that is written down somewhere."""
        example = operation.failure()
        for name in answer.keys() ^ example.keys():
            yield f"refusal: field {name} {'is not' if name in answer else 'is'} in the documented example"
        for name in answer.keys() & example.keys():
            if type(answer[name]) is not type(example[name]):
                yield f"refusal: {name} has another type than the example"
        if code not in operation.errors | self.catalogue:
            yield f"refusal: code {code} is not documented"

    # events

    def event(self, event: Row) -> list[str]:
        """What is wrong with a decrypted push."""
        name = event.get("Event", "")
        if name not in self.events:
            return [f"event {name}: not in the contract"]
        schema, document = self.events[name]
        found = checker(schema, document).iter_errors(event)
        return [f"event {name}: {problem.message}" for problem in found]

    def _against(self, operation: Documented, what: str, schema: Row, value: Any) -> Iterator[str]:
        key = (operation.id, what)
        if key not in self._compiled:
            self._compiled[key] = checker(schema, operation.document)
        for problem in self._compiled[key].iter_errors(value):
            where = "/".join(str(part) for part in problem.absolute_path)
            yield f"{what} {where}: {problem.message}"


def checker(schema: Row, document: Row) -> Draft202012Validator:
    """A compiled strict schema with the document's named ones beside it."""
    named = {name: strict(sub, document) for name, sub in document["components"]["schemas"].items()}
    return Draft202012Validator({"$defs": named, "allOf": [strict(schema, document)]})


def strict(schema: Row, document: Row, *, part: bool = False) -> Row:
    """The schema in which every described object refuses unknown fields; references stay, into `$defs`."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        if part:
            return strict(document["components"]["schemas"][name], document, part=True)
        return {"$ref": f"#/$defs/{name}"}
    found = {key: value for key, value in schema.items() if not key.startswith("x-") and key != "examples"}
    if "properties" in schema:
        found["properties"] = {name: strict(sub, document) for name, sub in schema["properties"].items()}
    if "items" in schema:
        found["items"] = strict(schema["items"], document)
    for word in ("allOf", "oneOf", "anyOf"):
        if word in schema:
            found[word] = [strict(sub, document, part=True) for sub in schema[word]]
    described = "properties" in schema or "allOf" in schema
    if described and not part and "additionalProperties" not in schema:
        found["unevaluatedProperties"] = False
    return found


def _typed(value: str | list[str], schema: Row) -> Any:
    """A query value by its documented type; a list is the name repeated."""
    if schema.get("type") == "array":
        return [value] if isinstance(value, str) else value
    if isinstance(value, list):
        return value
    if schema.get("type") == "integer" and re.fullmatch(r"-?\d+", value):
        return int(value)
    if schema.get("type") == "boolean" and value in ("true", "false"):
        return value == "true"
    return value


def _code(answer: Row) -> int:
    for name in _CODE_FIELDS:
        if name in answer and re.fullmatch(r"-?\d+", str(answer[name])):
            return int(answer[name])
    return 0
