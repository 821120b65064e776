//! Asks the host for too much, or for what isn't granted.

use std::hint::black_box;
use std::net::{TcpStream, ToSocketAddrs, UdpSocket};

use kinglet_sdk::{Bucket, Failure, KeyValue, Level, Topic};
use wasip2::clocks::monotonic_clock;
use wasip2::http::outgoing_handler;
use wasip2::http::types::{Fields, OutgoingRequest};
use wasip2::random::random::get_random_bytes;

use crate::{Ended, must_fail};

pub fn ask_the_time() -> Ended {
    for _ in 0..5_000_000 {
        black_box(monotonic_clock::now());
    }
    Ok(())
}

pub fn huge_line() -> Ended {
    kinglet_sdk::info!("{}", "x".repeat(48 << 20));
    Ok(())
}

/// What a terminal would obey, and lines that look like the host's own.
pub fn log_flood() -> Ended {
    for number in 0..100_000 {
        kinglet_sdk::log(
            Level::Error,
            "\u{1b}]0;title\u{7}",
            &format!("\u{1b}[2J\u{1b}[31m{number}\r\nforged: ready\u{202e}\0"),
        );
    }
    Ok(())
}

pub fn print_flood() -> Ended {
    for number in 0..100_000 {
        println!("\u{1b}[2J{number}\rforged: ready");
        eprint!("{}", "without an end ".repeat(100));
    }
    Ok(())
}

#[expect(clippy::panic, reason = "that is the attack")]
pub fn panic_at_length() -> Ended {
    panic!("{}", "\u{1b}[2J at length".repeat(1 << 20));
}

pub fn random_at_once() -> Ended {
    black_box(get_random_bytes(1 << 30));
    Ok(())
}

/// Gigabytes.
pub fn random_by_pieces() -> Ended {
    for _ in 0..32_768 {
        black_box(get_random_bytes(64 << 10));
    }
    Ok(())
}

pub fn huge_header() -> Ended {
    let fields = Fields::new();
    must_fail("a header of a megabyte", fields.append("x-large", &vec![b'x'; 1 << 20]))
}

pub fn many_headers() -> Ended {
    let fields = Fields::new();
    for number in 0..100_000 {
        let name = format!("x-{number}");
        if fields.append(&name, b"value").is_err() {
            return Err(Failure::reject("the headers are full"));
        }
    }
    Ok(())
}

/// Files, sockets, names.
pub fn connect() -> Ended {
    must_fail("a folder", std::fs::read_dir("/"))?;
    must_fail("a file", std::fs::read("/proc/self/environ"))?;
    must_fail("a new file", std::fs::write("/tmp/hostile", "x"))?;
    must_fail("a socket", TcpStream::connect("127.0.0.1:80"))?;
    must_fail("a listener", std::net::TcpListener::bind("127.0.0.1:0"))?;
    must_fail("a datagram", UdpSocket::bind("127.0.0.1:0"))?;
    must_fail("a name", "localhost:80".to_socket_addrs())?;
    must_fail("a variable", std::env::vars().next().ok_or(()))
}

pub fn request() -> Ended {
    let request = OutgoingRequest::new(Fields::new());
    let authority = request.set_authority(Some("127.0.0.1:80"));
    authority.map_err(|()| Failure::reject("no authority"))?;
    let answer = outgoing_handler::handle(request, None).map(|answer| {
        answer.subscribe().block();
        answer.get()
    });
    match answer {
        Ok(Some(Ok(Ok(_)))) => Err(Failure::reject("got through: a request")),
        _ => Ok(()),
    }
}

pub fn open_ungranted() -> Ended {
    for name in ["secret", "", "out/..", "../secret", "Out", "out\0", "*"] {
        must_fail("a bucket", Bucket::open(name))?;
        must_fail("a topic", Topic::open(name))?;
        must_fail("a keyvalue bucket", KeyValue::open(name))?;
    }
    Ok(())
}

pub fn exit() -> Ended {
    std::process::exit(0);
}
