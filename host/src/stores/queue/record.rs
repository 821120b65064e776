//! Records as bytes: a format version, MessagePack with field names, and a checksum, since SQLite
//! itself doesn't notice a flipped byte in a value.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::ports::QueueError;

const FORMAT: u8 = 1;

pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, QueueError> {
    let mut bytes = vec![FORMAT];
    rmp_serde::encode::write_named(&mut bytes, value).map_err(|error| QueueError::Failed {
        reason: format!("can't encode a record: {error}"),
    })?;
    let checksum = crc32fast::hash(&bytes);
    bytes.extend(checksum.to_le_bytes());
    Ok(bytes)
}

/// The value of a record, whose name for errors is `what`.
pub fn decode<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T, QueueError> {
    let damaged = |reason: String| QueueError::Damaged {
        reason: format!("{what} {reason}"),
    };
    let (content, checksum) = bytes
        .split_last_chunk()
        .ok_or_else(|| damaged("is cut short".to_owned()))?;
    if crc32fast::hash(content) != u32::from_le_bytes(*checksum) {
        return Err(damaged("doesn't match its checksum".to_owned()));
    }
    match content.split_first() {
        Some((&FORMAT, record)) => rmp_serde::from_slice(record)
            .map_err(|error| damaged(format!("can't be read: {error}"))),
        Some((version, _)) => Err(damaged(format!(
            "has format {version}, which a newer Kinglet wrote; this one knows {FORMAT}"
        ))),
        None => Err(damaged("is empty".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_byte_is_noticed() {
        let bytes = encode(&("a text", 7_u64, vec![1_u8, 2, 3])).unwrap();
        assert!(decode::<(String, u64, Vec<u8>)>("it", &bytes).is_ok());
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            assert!(
                decode::<(String, u64, Vec<u8>)>("it", &flipped).is_err(),
                "byte {at}"
            );
        }
        for length in 0..bytes.len() {
            assert!(decode::<(String, u64, Vec<u8>)>("it", &bytes[..length]).is_err());
        }
    }
}
