//! Sums the bytes of an object that may be larger than its memory, by ranges, and publishes the sum to
//! the topic `out`. It seeks to the last byte afterwards, which must be that of the object.

use std::io::{BufRead, Read, Seek, SeekFrom};

use kinglet_sdk::{Failure, ObjectCreated, Topic};

#[kinglet_sdk::object_created]
fn big_read(event: ObjectCreated) -> Result<(), Failure> {
    let mut reader = event.object().reader()?;
    let (mut sum, mut count) = (0_u64, 0_u64);
    loop {
        let piece = reader.fill_buf()?;
        if piece.is_empty() {
            break;
        }
        let length = piece.len();
        sum += piece.iter().map(|byte| u64::from(*byte)).sum::<u64>();
        count += length as u64;
        reader.consume(length);
    }
    let mut last = Vec::new();
    if count > 0 {
        reader.seek(SeekFrom::End(-1))?;
        reader.read_to_end(&mut last)?;
    }
    Topic::open("out")?.publish(format!("{count} bytes, sum {sum}, last {last:?}"))?;
    Ok(())
}
