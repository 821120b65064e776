//! Hostile: as `hostile`, by way of WASI's interfaces for networks and files. It is a component of its own since who
//! imports these may give less to one host call.

use std::mem::forget;
use std::net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket};

use kinglet_sdk::{Failure, Message};
use wasip2::http::outgoing_handler;
use wasip2::http::types::{ErrorCode, Fields, OutgoingRequest, Scheme};

type Ended = Result<(), Failure>;

#[kinglet_sdk::message]
fn hostile(event: Message) -> Ended {
    match event.text()? {
        "open-fields" => open_fields(),
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
