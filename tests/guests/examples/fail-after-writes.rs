//! Writes objects to the bucket `out`, removes `old`, publishes to the topic `out`, then ends as config
//! `how` says: `ok`, `error`, `reject`, `panic`, `exit`, `spin` or `allocate`. Nothing may be left of it
//! but with `ok`.

use std::io::Write;

use kinglet_sdk::{Bucket, Config, Draft, Failure, Message, Topic};

#[kinglet_sdk::message]
#[expect(clippy::panic, reason = "what this guest is for")]
fn fail_after_writes(event: Message) -> Result<(), Failure> {
    let bucket = Bucket::open("out")?;
    bucket.put("whole", event.body(), "text/plain")?;
    let mut writer = bucket.write("pieces").create()?;
    for _ in 0..3 {
        writer.write_all(event.body())?;
        writer.flush()?;
    }
    writer.finish()?;
    bucket.remove("old")?;
    let unfinished = bucket.write("unfinished").create()?;
    let topic = Topic::open("out")?;
    topic.publish(event.body())?;
    topic.publish_all([Draft::new("second"), Draft::new("third")])?;

    match Config::require::<String>("how")?.as_str() {
        "ok" => Ok(()),
        "error" => Err("failed after writing".into()),
        "reject" => Err(Failure::reject("rejected after writing")),
        "panic" => panic!("panicked after writing"),
        "exit" => std::process::exit(3),
        "spin" => loop {
            std::hint::black_box(&unfinished);
        },
        "allocate" => {
            let mut held: Vec<Vec<u8>> = Vec::new();
            loop {
                held.push(std::hint::black_box(vec![1; 1024 * 1024]));
            }
        }
        other => Err(Failure::reject(format!("config `how` is {other:?}"))),
    }
}
