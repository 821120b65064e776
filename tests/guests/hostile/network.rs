//! Hostile: as `hostile`, by way of WASI's interfaces for networks and files. It is a component of its own since who
//! imports these may give less to one host call.

use std::mem::forget;
use std::net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket};

use kinglet_sdk::{Failure, Message};
use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    ErrorCode, Fields, Method, OutgoingBody, OutgoingRequest, OutgoingResponse, Scheme,
};

type Ended = Result<(), Failure>;

#[kinglet_sdk::message]
fn hostile(event: Message) -> Ended {
    match event.text()? {
        "open-fields" => open_fields(),
        "long-parts" => long_parts(),
        "hold-methods" => hold_methods(),
        "hold-paths" => hold_paths(),
        "hold-fields" => hold_fields(),
        "hold-copies" => hold_copies(),
        "hold-bodies" => hold_bodies(),
        "hold-answers" => hold_answers(),
        "hold-trailers" => hold_trailers(),
        "let-go" => let_go(),
        "huge-header" => huge_header(),
        "many-headers" => many_headers(),
        "reach-the-machine" => reach_the_machine(),
        "send-a-request" => send_a_request(),
        other => Err(Failure::reject(format!("no attack {other:?}"))),
    }
}

/// Fails, where something was to be had that wasn't granted.
fn must_fail<T, E>(what: &str, result: Result<T, E>) -> Ended {
    match result {
        Ok(_) => Err(Failure::reject(format!("got through: {what}"))),
        Err(_) => Ok(()),
    }
}

fn open_fields() -> Ended {
    for _ in 0..10_000_000 {
        forget(Fields::new());
    }
    Ok(())
}

/// Leaves room for the handles that are needed beside these.
const HANDLES: usize = 4_000;
/// As much as the fields of one handle may have, but for what they take beside their text.
const LONG: usize = 60_000;

fn refused<T>(result: Result<T, ()>) -> Result<T, Failure> {
    result.map_err(|()| Failure::reject("the host refused it"))
}

/// Parts that no request over HTTP has.
fn long_parts() -> Ended {
    let request = OutgoingRequest::new(Fields::new());
    let method = Method::Other("M".repeat(200_000));
    must_fail("a long method", request.set_method(&method))?;
    let authority = "a".repeat(LONG);
    must_fail("a long authority", request.set_authority(Some(&authority)))?;
    let path = format!("/{}", "p".repeat(200_000));
    must_fail("a long path", request.set_path_with_query(Some(&path)))
}

/// A gigabyte, of methods that are too long.
fn hold_methods() -> Ended {
    let method = Method::Other("M".repeat(250_000));
    for _ in 0..HANDLES {
        let request = OutgoingRequest::new(Fields::new());
        refused(request.set_method(&method))?;
        forget(request);
    }
    Ok(())
}

fn hold_paths() -> Ended {
    let path = format!("/{}", "p".repeat(LONG));
    for _ in 0..HANDLES {
        let request = OutgoingRequest::new(Fields::new());
        refused(request.set_path_with_query(Some(&path)))?;
        forget(request);
    }
    Ok(())
}

fn full() -> Result<Fields, Failure> {
    let fields = Fields::new();
    fields
        .append("x-long", &vec![b'x'; LONG])
        .map_err(Failure::reject)?;
    Ok(fields)
}

fn hold_fields() -> Ended {
    for _ in 0..HANDLES {
        forget(full()?);
    }
    Ok(())
}

/// Changes each copy, since a copy takes no memory before.
fn hold_copies() -> Ended {
    let fields = full()?;
    for _ in 0..HANDLES {
        let copy = fields.clone();
        copy.append("x", b"").map_err(Failure::reject)?;
        forget(copy);
    }
    Ok(())
}

/// Writes as much of a body as the host takes, and leaves it.
fn fill(body: OutgoingBody) -> Result<OutgoingBody, Failure> {
    let stream = refused(body.write())?;
    loop {
        let room = stream.check_write().map_err(Failure::reject)?;
        if room == 0 {
            break;
        }
        let piece = vec![b'x'; usize::try_from(room).map_err(Failure::reject)?];
        stream.write(&piece).map_err(Failure::reject)?;
    }
    drop(stream);
    Ok(body)
}

/// Bodies of requests that are never sent.
fn hold_bodies() -> Ended {
    for _ in 0..HANDLES {
        let request = OutgoingRequest::new(Fields::new());
        let body = fill(refused(request.body())?)?;
        OutgoingBody::finish(body, None).map_err(Failure::reject)?;
        forget(request);
    }
    Ok(())
}

/// Bodies of answers that nobody gets.
fn hold_answers() -> Ended {
    for _ in 0..HANDLES {
        let response = OutgoingResponse::new(Fields::new());
        let body = fill(refused(response.body())?)?;
        OutgoingBody::finish(body, None).map_err(Failure::reject)?;
        forget(response);
    }
    Ok(())
}

fn hold_trailers() -> Ended {
    for _ in 0..HANDLES {
        let request = OutgoingRequest::new(Fields::new());
        let body = refused(request.body())?;
        OutgoingBody::finish(body, Some(full()?)).map_err(Failure::reject)?;
        forget(request);
    }
    Ok(())
}

/// More of everything than its memory has room for, of which it lets go each time: it does no harm.
fn let_go() -> Ended {
    let path = format!("/{}", "p".repeat(LONG));
    for _ in 0..HANDLES / 10 {
        let request = OutgoingRequest::new(full()?);
        refused(request.set_path_with_query(Some(&path)))?;
        drop(fill(refused(request.body())?)?);
    }
    Ok(())
}

fn huge_header() -> Ended {
    let fields = Fields::new();
    must_fail(
        "a long header",
        fields.append("x-large", &vec![b'x'; 200_000]),
    )
}

fn many_headers() -> Ended {
    let fields = Fields::new();
    for number in 0..10_000 {
        let name = format!("x-{number}");
        if fields.append(&name, b"value").is_err() {
            return Err(Failure::reject("the headers are full"));
        }
    }
    Ok(())
}

/// Files, sockets, names.
fn reach_the_machine() -> Ended {
    must_fail("a folder", std::fs::read_dir("/"))?;
    must_fail("a file", std::fs::read("/proc/self/environ"))?;
    must_fail("a new file", std::fs::write("/tmp/hostile", "x"))?;
    must_fail("a socket", TcpStream::connect("127.0.0.1:80"))?;
    must_fail("a listener", TcpListener::bind("127.0.0.1:0"))?;
    must_fail("a datagram", UdpSocket::bind("127.0.0.1:0"))?;
    must_fail("a name", "localhost:80".to_socket_addrs())?;
    must_fail("a variable", std::env::vars().next().ok_or(()))
}

fn send_a_request() -> Ended {
    let request = OutgoingRequest::new(Fields::new());
    let authority = request.set_authority(Some("127.0.0.1:80"));
    authority.map_err(|()| Failure::reject("no authority"))?;
    let scheme = request.set_scheme(Some(&Scheme::Http));
    scheme.map_err(|()| Failure::reject("no scheme"))?;
    let path = request.set_path_with_query(Some("/"));
    path.map_err(|()| Failure::reject("no path"))?;
    let answer = outgoing_handler::handle(request, None).and_then(|answer| {
        answer.subscribe().block();
        let answer = answer.get().and_then(Result::ok);
        answer.unwrap_or(Err(ErrorCode::ConnectionTerminated))
    });
    match answer {
        Err(ErrorCode::HttpRequestDenied) => Ok(()),
        other => Err(Failure::reject(format!("got through: {other:?}"))),
    }
}
