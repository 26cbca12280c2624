"""The parts of scripts/check-fake-jira that are easier said in Python.

    drive URL USER TOKEN cloud|dc     PyPI jira works with the fake
    compare URL USER TOKEN BACKLOT    the fake answers as backlot was measured to
    shim UPSTREAM cloud|dc            a go-between; says its port; ends with its input
    openapi IN OUT                    Atlassian's file, and what it has left out
    judge LOG [REQUEST MESSAGE]…      what prism found, but for what is known
"""

import base64
import json
import re
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DONE_QUERY = (
    'labels = "recac-agent" AND labels not in ("recac-agent-done", "recac-agent-failed")'
    " AND statusCategory != Done ORDER BY priority DESC, created ASC, key ASC"
)


def drive(url, user, token, kind):
    """What a program does that nobody wrote for this fake."""
    from jira import JIRA, JIRAError

    cloud = kind == "cloud"
    if cloud:
        jira = JIRA(server=url, basic_auth=(user, token), options={"rest_api_version": "3"})
    else:
        jira = JIRA(server=url, token_auth=token)
    assert jira._is_cloud == cloud, jira.deploymentType
    assert jira.myself()["displayName"] == "Bot Böttcher"

    found = jira.search_issues(DONE_QUERY, maxResults=False, fields="summary,labels,status,priority")
    keys = [issue.key for issue in found]
    assert len(keys) == len(set(keys)) == 60, keys
    ranks = ["Highest", "High", "Medium", "Low", "Lowest"]
    priorities = [ranks.index(issue.fields.priority.name) for issue in found if issue.fields.priority]
    assert priorities == sorted(priorities) and found[-1].fields.priority is None
    pages = jira.search_issues("project = SHOP", maxResults=False, fields="key")
    assert len(pages) == 70, len(pages)

    issue = jira.issue("SHOP-4")
    assert issue.fields.issuelinks[0].inwardIssue.key == "SHOP-3"
    assert issue.fields.status.statusCategory.key == "new"

    text = "hällo 🦀"
    document = {"type": "paragraph", "content": [{"type": "text", "text": text}]}
    body = {"type": "doc", "version": 1, "content": [document]} if cloud else text
    jira.add_comment("SHOP-1", body)
    comments = jira.comments("SHOP-1")
    assert len(comments) == 1 and text in json.dumps(comments[0].raw, ensure_ascii=False)

    names = [way["name"] for way in jira.transitions("SHOP-1", expand="transitions.fields")]
    assert names == ["Back to the list", "Start work", "Send to review", "Finish"], names
    jira.transition_issue("SHOP-1", "Start work")
    try:
        jira.transition_issue("SHOP-1", "Finish")
        raise AssertionError("the screen wants a resolution")
    except JIRAError as error:
        assert error.status_code == 400 and "Resolution is required" in error.text, error
    jira.transition_issue("SHOP-1", "Finish", fields={"resolution": {"name": "Done"}})
    issue = jira.issue("SHOP-1")
    assert (issue.fields.status.name, issue.fields.resolution.name) == ("Done", "Done")

    issue.update(update={"labels": [{"add": "recac-agent-done"}, {"remove": "not there"}]})
    assert jira.issue("SHOP-1").fields.labels == ["recac-agent", "recac-agent-done"]
    try:
        jira.issue("SHOP-999")
        raise AssertionError("there is no SHOP-999")
    except JIRAError as error:
        assert error.status_code == 404
    print("searched, commented, moved and labelled")


def ask(url, method, path, body=None, authorization=None, headers=()):
    headers = {"Accept": "application/json", **dict(headers)}
    if authorization:
        headers["Authorization"] = authorization
    data = None
    if body is not None:
        data = json.dumps(body).encode()
        headers.setdefault("Content-Type", "application/json")
    request = urllib.request.Request(url + path, data, headers, method=method)
    try:
        return urllib.request.urlopen(request, timeout=30)
    except urllib.error.HTTPError as error:
        return error


def basic(user, token):
    return "Basic " + base64.b64encode(f"{user}:{token}".encode()).decode()


def compare(url, user, token, backlot):
    """The same requests to both. Texts may differ, nothing else."""
    users = json.load(urllib.request.urlopen(backlot + "/_meta/users"))
    theirs = users["users"][0]
    sites = {
        url: {"right": basic(user, token), "wrong": basic(user, "wrong")},
        backlot + "/atlassian": {
            "right": basic(theirs["email"], theirs["token"]),
            "wrong": basic(theirs["email"], "wrong"),
        },
    }
    for credentials in sites.values():
        credentials.update(none=None, bearer="Bearer nonsense")

    search, query, myself = "/rest/api/3/search/jql", "project = SHOP", "/rest/api/3/myself"
    nobody = "/rest/api/3/issue/SHOP-99999"
    get = search + "?" + urllib.parse.urlencode({"jql": query})
    cases = [
        ("right", "POST", search, {"jql": query, "startAt": 0}),
        ("right", "POST", search, {"jql": query}, {"Content-Type": "text/plain"}),
        *(("right", "POST", search, {"jql": query, "maxResults": n}) for n in (0, -1, 5001, None)),
        *(("right", "POST", search, {"jql": jql}) for jql in ("", None)),
        ("right", "POST", search, {}),
        ("right", "POST", search, [1]),
        ("right", "POST", search, {"jql": query, "reconcileIssues": [1] * 51}),
        ("right", "POST", search, {"jql": query, "reconcileIssues": None}),
        ("right", "POST", search, {"jql": query, "nextPageToken": "zzz"}),
        ("right", "POST", search, {"jql": query, "fields": "key"}),
        ("right", "GET", get + "&maxResults=abc"),
        ("right", "GET", get + "&maxResults=0"),
        ("right", "GET", search),
        *((who, "GET", get) for who in ("wrong", "none", "bearer")),
        ("wrong", "GET", search + "?jql=project%3DNOPE"),
        *((who, "GET", myself) for who in ("wrong", "none", "bearer")),
        ("wrong", "GET", myself, None, {"Accept": "*/*"}),
        *((who, "GET", nobody) for who in ("right", "wrong", "none", "bearer")),
        ("bearer", "GET", "/rest/api/2/serverInfo"),
        ("right", "GET", "/rest/api/3/nothing"),
        ("right", "GET", nobody + "/comment?startAt=1"),
        ("right", "GET", nobody + "/comment?maxResults=abc"),
    ]
    different = 0
    for who, method, path, *more in cases:
        answers = []
        for site, credentials in sites.items():
            body, headers = (more + [None, None])[:2]
            answer = ask(site, method, path, body, credentials[who], headers or {})
            text = answer.read().decode()
            try:
                shape = sorted(json.loads(text))
            except ValueError:
                shape = text.strip()
            answers.append(
                {
                    "status": answer.status,
                    "type": answer.headers["content-type"],
                    "shape": shape,
                    "reason": answer.headers["x-seraph-loginreason"],
                    "account": answer.headers["x-aaccountid"] is not None,
                }
            )
        if answers[0] != answers[1]:
            different += 1
            print(f"{who} {method} {path} {more}:\n  fake    {answers[0]}\n  backlot {answers[1]}")
    # Left out: "maxResults":"5" is taken as 5 by a real site and refused by the
    # fake, as Atlassian's file has it.
    print(f"{len(cases)} requests compared with backlot, {different} differ")
    sys.exit(different > 0)


def shim(upstream, kind):
    """Stands in for what the other servers do not have: backlot `/myself`,
    jira820 the search by POST, `update.labels`, and issues by their ids."""
    keys = {}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self, status, body, headers=()):
            self.send_response(status)
            for name, value in headers:
                if name.lower() not in ("content-length", "transfer-encoding", "connection", "date", "server"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def forward(self, method, path, body):
            names = ("authorization", "accept", "content-type")
            headers = [(n, v) for n, v in self.headers.items() if n.lower() in names]
            request = urllib.request.Request(upstream + path, body, dict(headers), method=method)
            try:
                answer = urllib.request.urlopen(request, timeout=60)
            except urllib.error.HTTPError as error:
                answer = error
            return answer.status, answer.read(), answer.headers.items()

        def do(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)) or None
            method, path = self.command, self.path
            print(f"{method} {path} {(body or b'').decode()}", file=sys.stderr, flush=True)
            if kind == "cloud" and path.endswith("/myself"):
                probe = "/rest/api/3/search/jql?jql=project%3DSHOP"
                _, _, headers = self.forward("GET", probe, None)
                if any(name.lower() == "x-aaccountid" for name, _ in headers):
                    json_type = [("Content-Type", "application/json;charset=UTF-8")]
                    return self.answer(200, b'{"accountId":"1","displayName":"Mia","active":true}', json_type)
                path = "/rest/api/3/myself"
            if kind == "dc" and method == "POST" and path == "/rest/api/2/search":
                asked = json.loads(body)
                asked["fields"] = ",".join(asked.get("fields") or ["*navigable"])
                method, body = "GET", None
                path += "?" + urllib.parse.urlencode(asked)
            if kind == "dc":
                path = re.sub(r"/issue/(\d+)", lambda m: "/issue/" + keys.get(m[1], m[1]), path)
            if kind == "dc" and method == "PUT" and "/issue/" in path:
                body = self.labels(path, json.loads(body))
            status, answer, headers = self.forward(method, path, body)
            if "/search?" in path and status == 200:
                keys.update((issue["id"], issue["key"]) for issue in json.loads(answer)["issues"])
            return self.answer(status, answer, headers)

        def labels(self, path, asked):
            _, issue, _ = self.forward("GET", path.split("?")[0] + "?fields=labels", None)
            labels = json.loads(issue)["fields"]["labels"]
            for operation in asked.get("update", {}).get("labels", []):
                for verb, label in operation.items():
                    labels = [other for other in labels if other != label]
                    labels += [label] if verb == "add" else []
            return json.dumps({"fields": {"labels": labels}}).encode()

        do_GET = do_POST = do_PUT = do

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    print(server.server_address[1], flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()


def openapi(source, target):
    """The file leaves out resources that are there, from Atlassian's full one."""
    with open(source, encoding="utf-8") as file:
        spec = json.load(file)
    paths = spec["paths"]
    info = paths.get("/rest/api/3/serverInfo")
    if info:
        # https://developer.atlassian.com/cloud/jira/platform/rest/v2/
        paths["/rest/api/2/serverInfo"] = info
        paths["/rest/api/2/myself"] = paths["/rest/api/3/myself"]
        strings = {"type": "array", "items": {"type": "string"}}
        ids = {**strings, "minItems": 1, "maxItems": 100}
        body = {
            "type": "object",
            "additionalProperties": False,
            "required": ["issueIdsOrKeys"],
            "properties": {
                "expand": strings,
                "fields": strings,
                "fieldsByKeys": {"type": "boolean"},
                "issueIdsOrKeys": ids,
                "properties": strings,
            },
        }
        issues = {"type": "array", "items": {"$ref": "#/components/schemas/IssueBean"}}
        answer = {"type": "object", "required": ["issues"], "properties": {"issues": issues}}

        def content(schema):
            return {"content": {"application/json": {"schema": schema}}}

        paths["/rest/api/3/issue/bulkfetch"] = {
            "post": {
                "requestBody": {"required": True, **content(body)},
                "responses": {"200": {"description": "Found", **content(answer)}},
            }
        }
        edge = {"type": "object", "required": ["cloudId"], "properties": {"cloudId": {"type": "string"}}}
        paths["/_edge/tenant_info"] = {
            "get": {"security": [], "responses": {"200": {"description": "Found", **content(edge)}}}
        }
    with open(target, "w", encoding="utf-8") as file:
        json.dump(spec, file)


def judge(log, *known):
    """Every violation in the log of prism, with the request before it."""
    known = list(zip(known[::2], known[1::2], strict=True))
    request, asked, bad = "", 0, []
    with open(log, encoding="utf-8") as file:
        for line in file:
            line = re.sub(r"\x1b\[[0-9;]*m", "", line)
            if "Request received" in line:
                request = re.search(r"SERVER\] (\S+ \S+)", line).group(1)
                asked += 1
            if "Violation:" in line:
                message = line.split("Violation:", 1)[1].strip()
                fits = [re.fullmatch(r, request) and re.fullmatch(m, message) for r, m in known]
                if not any(fits):
                    bad.append(f"{request}: {message}")
    for violation in sorted(set(bad)):
        print(violation)
    print(f"{asked} requests, {len(bad)} violations")
    sys.exit(bool(bad) or not asked)


if __name__ == "__main__":
    {f.__name__: f for f in (drive, compare, shim, openapi, judge)}[sys.argv[1]](*sys.argv[2:])
