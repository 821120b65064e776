use std::io::{self, BufRead, Read, Write};

use super::Host;
use crate::http::{self, Method, Response};
use crate::{Bucket, Error, Failure, KeyValue, Request};

/// What a handler's failure or response is answered with.
fn answered(make: impl Fn() -> Result<Response, Failure>) -> (u16, String, Vec<String>) {
    let host = Host::new();
    let response = host.respond(|_: Request| make(), host.request("GET", "/"));
    let logs = host.logs().into_iter().map(|log| log.message).collect();
    (response.status, response.text(), logs)
}

#[test]
fn a_request_tells_what_it_is() {
    let host = Host::new();
    let request = host
        .request("PATCH", "/a%20b/c?x=1&y=%26&x=2")
        .header("Accept", "text/plain")
        .parameter("userId", "a%20%2Fb")
        .body("body");
    let request = Request::from(request);
    assert_eq!(*request.method(), Method::Patch);
    assert_eq!(request.path(), "/a%20b/c");
    assert_eq!(request.query_text(), Some("x=1&y=%26&x=2"));
    assert_eq!(request.query().get("x"), Some("1"));
    assert_eq!(request.query().get("y"), Some("&"));
    assert_eq!(request.query().get("z"), None);
    assert_eq!(request.header("ACCEPT"), Some("text/plain"));
    assert_eq!(request.header("content-length"), Some("4"));
    assert_eq!(request.parameter("userId"), Some("a /b"));
    assert_eq!(request.parameter("userid"), Some("a /b"));
    assert_eq!(request.parameter("user"), None);
    assert_eq!(request.scheme(), "http");
    assert_eq!(request.authority().as_deref(), Some("localhost"));
    assert!(request.id().is_some());
    assert_eq!(request.body().unwrap(), b"body");
    // Not an empty one.
    assert!(matches!(request.body(), Err(Error::Invalid(_))));
    assert_eq!(Request::from(host.request("GET", "")).path(), "/");
}

#[test]
fn routes_of_the_code_alone_say_what_parameters_are() {
    const ROUTES: &[&str] = &["/users/{id}", "/users/me", "/files/..."];
    let host = Host::new();
    let routed = |path: &str| {
        // What a client sends on a host that doesn't route.
        let request = Request::from(host.request("GET", path).parameter("id", "forged"));
        crate::__private::routed(request, ROUTES)
    };
    let found = routed("/users/a%20b?id=x").unwrap();
    assert_eq!(found.parameter("id"), Some("a b"));
    assert_eq!(found.parameter("ID"), Some("a b"));
    assert_eq!(routed("/users/me").unwrap().parameter("id"), None);
    assert_eq!(routed("/files/a/b").unwrap().parameter("id"), None);
    for path in ["/", "/users", "/users/", "/users/7/x", "/users/7/"] {
        let answer = host.respond(
            |_: Request| -> Result<Response, Failure> {
                match routed(path) {
                    Ok(found) => panic!("{found:?}"),
                    Err(response) => crate::__private::unrouted(response),
                }
            },
            host.request("GET", path),
        );
        assert_eq!(
            (answer.status, answer.text()),
            (404, "not found\n".to_owned())
        );
    }
}

#[test]
fn a_body_is_read_in_pieces_or_whole() {
    let host = Host::new();
    let request = Request::from(host.request("POST", "/").body("one\ntwo\nthree"));
    let mut line = String::new();
    let mut reader = request.reader().unwrap();
    reader.read_line(&mut line).unwrap();
    assert_eq!(line, "one\n");
    let mut two = [0; 2];
    reader.read_exact(&mut two).unwrap();
    assert_eq!(&two, b"tw");
    let mut rest = String::new();
    reader.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "o\nthree");
    assert!(matches!(request.body(), Err(Error::Invalid(_))));

    let request = Request::from(host.request("POST", "/").body("half").broken());
    assert!(matches!(request.body(), Err(Error::Unavailable(_))));
    let request = Request::from(host.request("POST", "/").body("half").broken());
    let mut reader = request.reader().unwrap();
    let error = reader.read_to_end(&mut Vec::new()).unwrap_err();
    assert!(error.to_string().contains("breaks off"), "{error}");

    let text =
        |request: Request| -> Result<Response, Failure> { Ok(Response::text(request.text()?)) };
    let response = host.respond(text, host.request("POST", "/").body([0xff]));
    assert_eq!(response.status, 400);
    assert!(response.text().contains("UTF-8"), "{}", response.text());
}

#[test]
fn failures_are_answered() {
    let (status, text, logs) = answered(|| Err(Failure::reject("no `name`")));
    assert_eq!((status, text.as_str()), (400, "no `name`\n"));
    assert!(logs.is_empty(), "{logs:?}");

    let (status, text, logs) = answered(|| Err("the password is hunter2")?);
    assert_eq!((status, text.as_str()), (500, "the function failed\n"));
    assert_eq!(logs, ["the password is hunter2"]);

    let (status, text, logs) = answered(|| Err(Failure::retry("the vault is busy")));
    assert_eq!((status, text.as_str()), (503, "try again later\n"));
    assert_eq!(logs, ["retry: the vault is busy"]);

    let host = Host::new();
    let wait = std::time::Duration::from_millis(1_001);
    let handler =
        |_: Request| -> Result<Response, Failure> { Err(Failure::retry_after("no", wait)) };
    let response = host.respond(handler, host.request("GET", "/"));
    assert_eq!(response.header("retry-after"), Some("2"));
}

#[test]
fn what_cant_be_sent_is_told() {
    for (response, fault) in [
        (Response::new(99), "99 isn't the status"),
        (Response::new(101), "101 isn't the status"),
        (Response::new(600), "600 isn't the status"),
        (
            Response::new(302).header("location", "/\r\nset-cookie: mine"),
            "header \"location\" has a line break",
        ),
        (
            Response::new(200).header("Connection", "close"),
            "header \"connection\" is of the connection",
        ),
        (
            Response::new(200).header("no name", "x"),
            "header \"no name\" isn't the name",
        ),
    ] {
        let host = Host::new();
        let sent = host.respond(|_: Request| response, host.request("GET", "/"));
        assert_eq!(
            (sent.status, sent.text().as_str()),
            (500, "the function failed\n")
        );
        let logs = host.logs();
        assert_eq!(logs.len(), 1);
        assert!(logs[0].message.contains(fault), "{}", logs[0].message);
    }
}

#[test]
fn bodies_have_their_lengths() {
    let host = Host::new();
    let sent = |method: &str, response: Response| {
        host.respond(|_: Request| response, host.request(method, "/"))
    };
    let response = sent("GET", Response::text("four").header("content-length", "99"));
    assert_eq!(response.header("content-length"), Some("4"));
    assert_eq!(response.headers.all("content-length").count(), 1);
    assert_eq!(
        response.header("content-type"),
        Some("text/plain; charset=utf-8")
    );
    let response = sent("GET", Response::new(404));
    assert_eq!(response.header("content-length"), Some("0"));

    let response = sent("HEAD", Response::text("four"));
    assert_eq!(response.header("content-length"), Some("4"));
    assert_eq!(response.body, b"");
    let untouched = Response::stream(|_| panic!("nobody asked for it"));
    assert_eq!(sent("HEAD", untouched).body, b"");

    for status in [204, 304] {
        let response = sent("GET", Response::new(status));
        assert_eq!(response.header("content-length"), None);
        assert!(host.logs().is_empty());
    }
    let response = sent("GET", Response::text("four").status(204));
    assert_eq!((response.status, response.body), (204, Vec::new()));
    assert!(host.logs()[0].message.contains("204 has no body"));

    let cookies = Response::new(200)
        .header("set-cookie", "a=1")
        .append("Set-Cookie", "b=2");
    assert_eq!(sent("GET", cookies).headers.all("set-cookie").count(), 2);
}

#[test]
fn a_stream_that_fails_is_never_whole() {
    let host = Host::new();
    let handler = |_: Request| {
        Response::stream(|writer| {
            writer.write_all(b"half of it")?;
            writer.flush()?;
            Err(io::Error::other("the disk is full"))?;
            Ok(())
        })
    };
    let response = host.respond(handler, host.request("GET", "/"));
    assert_eq!(response.status, 200);
    assert_eq!(response.body, b"half of it");
    assert_eq!(response.broken.as_deref(), Some("the disk is full"));
    assert!(host.logs()[0].message.contains("the disk is full"));

    let large = vec![7; 200_000];
    let copy = large.clone();
    let handler = move |_: Request| {
        Response::stream(move |writer| {
            for piece in copy.chunks(70_001) {
                writer.write_all(piece)?;
                writer.write_all(b"")?;
            }
            Ok(())
        })
    };
    let response = host.respond(handler, host.request("GET", "/"));
    assert_eq!(response.body, large);
}

/// What a handler stages is committed with its response alone.
#[test]
fn effects_go_with_the_response() {
    let host = Host::new();
    host.bucket("b");
    host.keyvalue("k");
    let act = |fail: bool| {
        move |_: Request| -> Result<Response, Failure> {
            Bucket::open("b")?.put("made", "x", "text/plain")?;
            KeyValue::open("k")?.increment("count", 1)?;
            if fail {
                return Err(Failure::reject("no"));
            }
            Ok(Response::new(201))
        }
    };
    let response = host.respond(act(true), host.request("POST", "/"));
    assert_eq!(response.status, 400);
    assert!(host.bucket("b").keys().is_empty());
    let response = host.respond(act(false), host.request("POST", "/"));
    assert_eq!(response.status, 201);
    assert_eq!(host.bucket("b").keys(), ["made"]);
    assert_eq!(host.keyvalue("k").get("count").unwrap(), b"1");
}

#[test]
fn requests_go_to_the_servers_of_the_test() {
    let host = Host::new();
    host.server("https://api.example.com", |request: Request| {
        let said = format!(
            "{} {} {:?} {:?} {:?}",
            request.method(),
            request.path(),
            request.query().get("q"),
            request.header("x-key"),
            request.text().unwrap(),
        );
        Response::text(said).status(203)
    });
    let answer = http::put("https://API.example.com/a?q=1")
        .header("X-Key", "secret")
        .body("new")
        .send()
        .unwrap();
    assert_eq!(answer.status_code(), 203);
    assert_eq!(
        answer.header("content-type"),
        Some("text/plain; charset=utf-8")
    );
    assert_eq!(
        answer.text().unwrap(),
        r#"PUT /a Some("1") Some("secret") "new""#
    );
    assert!(matches!(answer.body(), Err(Error::Invalid(_))));

    let Err(Error::Denied(text)) = http::get("https://elsewhere.example.com/?key=secret").send()
    else {
        panic!("it isn't granted");
    };
    assert!(text.contains("host.server(\"https://elsewhere.example.com\""));
    assert!(!text.contains("secret"), "{text}");
    let injected = http::get("https://api.example.com/").header("x", "a\r\nb");
    assert!(matches!(injected.send(), Err(Error::Invalid(_))));

    // An answer that breaks off is no whole one.
    host.server("http://broken.example.com", |_| {
        Response::stream(|writer| {
            writer.write_all(b"half")?;
            Err(Failure::reject("no"))
        })
    });
    let answer = http::get("http://broken.example.com").send().unwrap();
    assert!(matches!(answer.body(), Err(Error::Unavailable(_))));
}

#[cfg(feature = "json")]
#[test]
fn bodies_are_json() {
    let host = Host::new();
    let double = |request: Request| -> Result<Response, Failure> {
        let numbers: Vec<i64> = request.json()?;
        let doubled: Vec<i64> = numbers.iter().map(|number| number * 2).collect();
        Ok(Response::json(&doubled)?)
    };
    let response = host.respond(double, host.request("POST", "/").body("[1, 2]"));
    assert_eq!(response.header("content-type"), Some("application/json"));
    assert_eq!(response.text(), "[2,4]");
    let response = host.respond(double, host.request("POST", "/").body("[1, \"two\"]"));
    assert_eq!(response.status, 400);
    assert!(response.text().contains("line 1 column"), "{response:?}");

    host.server("http://api.example.com", double);
    let sent = http::post("http://api.example.com").json(&[3]).unwrap();
    assert_eq!(sent.send().unwrap().json::<Vec<i64>>().unwrap(), [6]);
}

#[test]
fn only_what_is_answered_well_has_effects() {
    let host = Host::new();
    host.bucket("b");
    let act = |status: u16| {
        move |_: Request| -> Result<Response, Failure> {
            Bucket::open("b")?.put(status.to_string(), "body", "text/plain")?;
            match status {
                400 => Err(Failure::reject("no")),
                402 => Ok(Response::new(402).header("kinglet-effects", "none")),
                status => Ok(Response::new(status)),
            }
        }
    };
    for status in [200, 400, 402, 409, 500] {
        let response = host.respond(act(status), host.request("POST", "/"));
        assert_eq!(response.status, status);
        assert_eq!(response.header("kinglet-effects"), None);
    }
    assert_eq!(host.bucket("b").keys(), ["200", "409"]);
}
