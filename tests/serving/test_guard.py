"""The guard answers every request with one line of JSON, and passes only complete requests to the server behind it."""

import asyncio
import json

import pytest

from atma18.serving.guard import Guard, one_line

POST = {"type": "http", "method": "POST", "headers": [(b"content-type", b"application/json")]}


def server(status, text, *, broken=None):
    """A server that reads the body and answers, or breaks as Starlette's do: an answer, and the error after it."""
    got = []

    async def app(scope, receive, send):
        got.append((await receive())["body"])
        await send({"type": "http.response.start", "status": status, "headers": [(b"x", b"y")]})
        await send({"type": "http.response.body", "body": text.encode()[:5], "more_body": True})
        await send({"type": "http.response.body", "body": text.encode()[5:]})
        if broken:
            raise broken

    app.got = got
    return app


def parts_of(*parts, gone=False):
    messages = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    messages += [{"type": "http.disconnect"} if gone else {"type": "http.request", "body": b"", "more_body": False}]
    return messages


def asked(app, messages, scope=POST, **bounds):
    """Send these parts of a request through the guard; return status, headers and text of the answer."""
    waiting, sent = list(messages), []

    async def receive():
        if not waiting:
            await asyncio.sleep(60)
        return waiting.pop(0)

    async def send(message):
        sent.append(message)

    asyncio.run(Guard(app, **bounds)(scope, receive, send))
    if not sent:
        return None
    assert [message["type"] for message in sent].count("http.response.start") == 1
    return sent[0]["status"], dict(sent[0]["headers"]), b"".join(m["body"] for m in sent[1:]).decode()


def refusal(app, messages, *words, **bounds):
    status, _, text = asked(app, messages, *words, **bounds)
    return status, json.loads(text)


def test_a_good_answer_passes_as_it_is_and_the_body_arrives_in_one_piece():
    app = server(200, "waypoints")

    assert asked(app, parts_of(b"a ", b"scene")) == (200, {b"x": b"y"}, "waypoints")
    assert app.got == [b"a scene"]


@pytest.mark.parametrize("size", [999_999, 1_000_000])
def test_a_body_of_the_largest_size_is_passed_on(size):
    app = server(200, "waypoints")

    assert asked(app, parts_of(b"x" * size), largest_body_mb=1)[0] == 200
    assert len(app.got[0]) == size


def test_a_larger_body_is_heard_out_and_refused():
    app = server(200, "waypoints")

    status, said = refusal(app, parts_of(b"x" * 999_999, b"xx", *[b"x" * 1_000_000] * 2), largest_body_mb=1)

    expected = "expected a body of at most 1 MB, found 3.0 MB: ask for fewer scenes at a time"
    assert (status, said) == (413, {"error_code": "BAD_REQUEST", "message": expected})
    assert app.got == []


def test_a_body_that_does_not_arrive_is_refused():
    stalled = parts_of(b"half")[:1]

    status, said = refusal(server(200, "waypoints"), stalled, longest_body_s=0.05)

    assert (status, said["message"]) == (408, "expected the whole body within 0.05 s")


def test_a_client_that_hangs_up_while_it_sends_is_not_passed_on():
    app = server(200, "waypoints")

    assert asked(app, parts_of(b"half", gone=True)) is None
    assert app.got == []


def test_a_request_that_does_not_say_what_it_is_is_refused():
    status, said = refusal(server(200, "waypoints"), parts_of(b"{}"), POST | {"headers": []})

    assert (status, said["message"]) == (
        415,
        "expected the content type application/json or application/vnd.apache.parquet, found none",
    )


@pytest.mark.parametrize("error", [RecursionError("too deep"), ValueError("5000 digits")], ids=["depth", "digits"])
def test_a_body_that_python_cannot_read_is_the_clients_fault(error):
    status, said = refusal(server(500, "Internal Server Error", broken=error), parts_of(b"[[["))

    assert (status, said["error_code"]) == (400, "BAD_REQUEST")
    assert str(error) in said["message"]


def test_another_error_is_answered_and_raised():
    broken = server(500, "Internal Server Error", broken=KeyError("a bug"))

    with pytest.raises(KeyError, match="a bug"):
        asked(broken, parts_of(b"{}"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param(
            json.dumps({"error_code": "X", "message": "wrong\nhere", "stack_trace": "Traceback …"}),
            {"error_code": "X", "message": "wrong here"},
            id="of MLflow, with a traceback",
        ),
        pytest.param(
            '{"detail": "Not Found"}', {"error_code": "ENDPOINT_NOT_FOUND", "message": "Not Found"}, id="of FastAPI"
        ),
        pytest.param("only text", {"error_code": "ENDPOINT_NOT_FOUND", "message": "only text"}, id="text"),
        pytest.param("[1]", {"error_code": "ENDPOINT_NOT_FOUND", "message": "[1]"}, id="other JSON"),
    ],
)
def test_a_refusal_of_the_server_becomes_one_line_of_json(text, said):
    status, headers, found = asked(server(404, text), parts_of(b"{}"))

    assert (status, json.loads(found)) == (404, said)
    assert headers == {b"content-type": b"application/json", b"content-length": str(len(found)).encode()}


@pytest.mark.parametrize(
    ("message", "line"),
    [
        pytest.param("Failed to predict data '   a\n0  1'. \nError: no Error: an ID", "an ID", id="rows"),
        pytest.param("Invalid input. Error: 'x'\nInput: \nb'secret'\n", "Invalid input. Error: 'x'", id="input"),
        pytest.param("a" * 600, "a" * 500 + " …", id="long"),
    ],
)
def test_a_message_does_not_repeat_the_request(message, line):
    assert one_line(message) == line


def test_what_is_no_request_is_passed_on():
    passed = []

    async def app(scope, receive, send):
        passed.append(scope["type"])

    asked(app, [], {"type": "lifespan"})

    assert passed == ["lifespan"]


def answer_of(*outside):
    return json.dumps({"predictions": [{"ID": f"a_{i}", "outside_training_range": o} for i, o in enumerate(outside)]})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param(answer_of("", "vEgo", "", "vEgo, gas"), b"2", id="two of four"),
        pytest.param(answer_of("", ""), b"0", id="none"),
        pytest.param('{"predictions": [{"ID": "a_0"}]}', None, id="an earlier model"),
        pytest.param("[]", None, id="another answer"),
        pytest.param("healthy", None, id="no JSON"),
    ],
)
def test_a_header_counts_samples_outside_the_trained_range(text, said):
    status, headers, sent = asked(server(200, text), parts_of(b"{}"))

    assert (status, sent) == (200, text)
    assert headers[b"x"] == b"y"
    assert headers.get(b"x-outside-training-range") == said
