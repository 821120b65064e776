//! A host that starts beside others that want its store.

use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::harness::{App, echo};
use crate::host::Host;

/// With `kinglet publish` in a loop on a stopped application, 19 of 20 starts failed.
#[test]
fn a_host_starts_beside_a_loop_of_commands() {
    let app = App::new(&echo("in"));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let loops: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let mut published = 0;
                    while !stop.load(Ordering::Acquire) {
                        let output = app.bounded(&["publish", "in", "--body", "x"]);
                        match output.code {
                            0 => published += 1,
                            // The host that had just been reached stopped.
                            _ => assert!(output.stderr.contains("doesn't answer"), "{output:#?}"),
                        }
                    }
                    published
                })
            })
            .collect();
        for _ in 0..6 {
            let mut host = Host::start(app.command(&["up", "--json"]));
            host.said("ready");
            host.outcomes(1, "echo");
            host.stop();
        }
        stop.store(true, Ordering::Release);
        let published: usize = loops.into_iter().map(|all| all.join().unwrap()).sum();
        // All of them are there.
        let mut host = app.up();
        let count = || app.ok(&["logs", "--json"]).matches("\"done\"").count();
        while count() < published {
            host.until(|_| true);
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        host.stop();
        assert!(count() >= published);
    });
}

#[test]
fn a_host_waits_for_the_store_and_says_for_whom() {
    let app = App::new(&echo("in"));
    app.publish("in", "x");
    let lock = File::options()
        .append(true)
        .open(app.path(".kinglet/lock"))
        .unwrap();
    lock.lock().unwrap();
    let mut host = Host::start(app.command(&["up", "--json"]));
    // Who had it last wrote its name there.
    host.warned("(kinglet publish); waiting");
    drop(lock);
    host.said("ready");
    host.outcome_of("echo", "in");
    host.stop();
}

#[test]
fn a_second_host_is_refused_by_the_name_of_the_first() {
    let app = App::new(&echo("in"));
    let mut host = app.up();
    let first = format!("process {} (kinglet up)", host.id());
    app.bounded(&["up"])
        .expect(2)
        .says(&["waiting up to", &first, "stop that one"]);
    // The first continues, and so do commands that it serves.
    app.publish("in", "x");
    host.outcomes(1, "echo");
    host.stop();
}
