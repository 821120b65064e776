//! Looks at everything around it and publishes what it sees to the topic `out`, a `name: value` to a
//! line: what isn't granted must not be there.

use std::collections::HashMap;
use std::io::Read;
use std::net::{TcpStream, ToSocketAddrs, UdpSocket};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use kinglet_sdk::{Bucket, Config, Failure, Message, Topic};

#[kinglet_sdk::message]
#[allow(clippy::disallowed_methods, reason = "a guest has no other clock")]
fn probe(event: Message) -> Result<(), Failure> {
    let mut seen = vec![
        ("env", format!("{:?}", std::env::vars().collect::<Vec<_>>())),
        (
            "args",
            format!("{:?}", std::env::args().collect::<Vec<_>>()),
        ),
        ("dir", shown(std::env::current_dir())),
    ];

    let mut input = String::new();
    seen.push((
        "stdin",
        shown(std::io::stdin().read_to_string(&mut input)) + &input,
    ));
    seen.push(("list /", shown(std::fs::read_dir("/").map(Iterator::count))));
    seen.push(("read /etc/passwd", shown(std::fs::read("/etc/passwd"))));
    seen.push(("write /tmp/probe", shown(std::fs::write("/tmp/probe", "x"))));
    seen.push(("connect", shown(TcpStream::connect("127.0.0.1:80"))));
    seen.push(("udp", shown(UdpSocket::bind("127.0.0.1:0"))));
    let addresses = "localhost:80".to_socket_addrs();
    seen.push(("resolve", shown(addresses.map(Iterator::collect::<Vec<_>>))));

    let started = Instant::now();
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map(|time| time.as_millis());
    seen.push(("time", shown(now)));
    seen.push(("elapsed", shown(Ok::<_, ()>(started.elapsed()))));
    // The standard library's only use of randomness is in the seeds of its hash maps.
    let map: HashMap<u32, ()> = (0..16).map(|n| (n, ())).collect();
    seen.push(("random", format!("{:?}", map.keys().collect::<Vec<_>>())));

    seen.push(("config", shown(Config::all())));
    seen.push(("bucket", shown(Bucket::open("not-granted").map(drop))));
    seen.push(("topic", shown(Topic::open("not-granted").map(drop))));
    seen.push(("delivery", format!("{:?}", event.delivery())));

    let lines: Vec<String> = seen
        .into_iter()
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    Topic::open("out")?.publish(lines.join("\n"))?;
    Ok(())
}

fn shown<T: std::fmt::Debug, E: std::fmt::Debug>(result: Result<T, E>) -> String {
    match result {
        Ok(value) => format!("ok {value:?}"),
        Err(error) => format!("error {error:?}"),
    }
}
