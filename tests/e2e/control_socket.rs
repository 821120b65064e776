//! The socket by which commands reach the host, and folders that are the host's own.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;

use crate::harness::{App, echo};

/// 600 connections that said nothing kept every command out.
#[test]
fn idle_connections_keep_nobody_out() {
    let app = App::new(&echo("in"));
    let host = app.up();
    // Other tests have files open as well.
    let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current = limit.maximum;
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
    let connect = || UnixStream::connect(app.path(".kinglet/control.sock")).unwrap();
    let mut idle = Vec::new();
    for number in 0..600 {
        let mut stream = connect();
        // A third begins a request that never ends, and a third never reads its answer.
        match number % 3 {
            0 => {}
            1 => stream.write_all(&[9, 0, 0]).unwrap(),
            _ => {
                let request = b"\xa6status";
                let length = u32::try_from(request.len()).unwrap().to_le_bytes();
                stream.write_all(&length).unwrap();
                stream.write_all(request).unwrap();
            }
        }
        idle.push(stream);
    }
    for _ in 0..3 {
        app.bounded(&["status"]).expect(0);
        app.bounded(&["publish", "in", "--body", "x"]).expect(0);
    }
    assert_eq!(idle.len(), 600);
    host.stop();
}

/// With the socket removed, commands failed until the host was started again.
#[test]
fn a_socket_that_is_removed_or_replaced_is_made_again() {
    let app = App::new(&echo("in"));
    let mut host = app.up();
    let socket = app.path(".kinglet/control.sock");
    fs::remove_file(&socket).unwrap();
    app.bounded(&["publish", "in", "--body", "1"]).expect(0);
    fs::remove_file(&socket).unwrap();
    fs::write(&socket, "").unwrap();
    app.bounded(&["publish", "in", "--body", "2"]).expect(0);
    // Another's, that nobody listens on any more.
    fs::remove_file(&socket).unwrap();
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    app.bounded(&["publish", "in", "--body", "3"]).expect(0);
    host.outcomes(3, "echo");
    host.stop();
}

/// A bucket in the host's own folder would hand the store to functions as objects, and one around it the
/// manifest.
#[test]
fn a_bucket_in_or_around_the_hosts_own_folder_is_refused() {
    for path in [
        ".kinglet",
        ".",
        "..",
        ".kinglet/logs",
        "x/../.kinglet",
        "./",
        "/",
    ] {
        let app = App::new(&format!("{}[buckets.own]\npath = \"{path}\"\n", echo("in")));
        for command in ["check", "up"] {
            app.bounded(&[command])
                .expect(2)
                .says(&["own", ".kinglet", "beside"]);
        }
    }
    let app = App::new(&format!("{}[buckets.own]\npath = \"link\"\n", echo("in")));
    for to in [".", ".kinglet"] {
        fs::create_dir_all(app.path(".kinglet")).unwrap();
        symlink(to, app.path("link")).unwrap();
        app.bounded(&["up"])
            .expect(2)
            .says(&["own", ".kinglet", "beside"]);
        fs::remove_file(app.path("link")).unwrap();
    }
}
