//! Copies the object that woke it to the bucket `out`, under the same key.

use kinglet_sdk::{Bucket, Failure, ObjectCreated};

#[kinglet_sdk::object_created]
fn copy(event: ObjectCreated) -> Result<(), Failure> {
    let body = event.object().read()?;
    let out = Bucket::open("out")?;
    let mut write = out
        .write(event.key())
        .metadata("copied-from", event.bucket());
    if let Some(content_type) = event.info().content_type() {
        write = write.content_type(content_type);
    }
    write.put(body)?;
    Ok(())
}
