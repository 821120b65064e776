//! Summarises every object that lands in the bucket `inbox`: `note.txt` gets a `note.txt.json` in
//! `outbox`, with its size and its number of lines.

use kinglet_sdk::{Bucket, Config, Failure, ObjectCreated};

#[kinglet_sdk::object_created]
fn handle(event: ObjectCreated) -> Result<(), Failure> {
    // A setting of kinglet.toml, or its default. `?` on an error asks for another attempt.
    let max_bytes: u64 = Config::get_or("max-bytes", 10_000_000)?;
    let size = event.info().size();
    if size > max_bytes {
        // No attempt can help: the event goes to the dead letters at once, with this reason.
        return Err(Failure::reject(format!(
            "{size} bytes are more than {max_bytes}"
        )));
    }

    let body = event.object().read()?;
    let summary = summarise(&body);
    kinglet_sdk::info!("{}: {summary}", event.key());

    // Staged until this function succeeds, discarded if it doesn't.
    let key = format!("{}.json", event.key());
    Bucket::open("outbox")?.put(key, summary, "application/json")?;
    Ok(())
}

/// The summary of an object, as JSON.
fn summarise(body: &[u8]) -> String {
    let bytes = body.len();
    match str::from_utf8(body) {
        Ok(text) => {
            let lines = text.lines().count();
            format!(r#"{{"bytes":{bytes},"text":true,"lines":{lines}}}"#)
        }
        Err(_) => format!(r#"{{"bytes":{bytes},"text":false}}"#),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kinglet_sdk::testing::Host;

    #[test]
    fn a_text_is_summarised() {
        let host = Host::new();
        host.bucket("inbox")
            .read_only()
            .put("note.txt", "one\ntwo\n");
        host.bucket("outbox").write_only();

        assert_eq!(
            host.run(handle, host.object_created("inbox", "note.txt")),
            Ok(())
        );
        let summary = host.bucket("outbox").get("note.txt.json").unwrap();
        assert_eq!(summary, br#"{"bytes":8,"text":true,"lines":2}"#);
    }

    #[test]
    fn a_large_object_is_rejected() {
        let host = Host::new();
        host.bucket("inbox").put("large.bin", [0; 100]);
        host.config("max-bytes", "99");

        let outcome = host.run(handle, host.object_created("inbox", "large.bin"));
        assert_eq!(outcome, Err(Failure::reject("100 bytes are more than 99")));
    }
}
