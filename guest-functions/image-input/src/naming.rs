//! The key of an output: beside its input's, in a name that buckets can have.

/// The longest key, in bytes, as buckets have it.
const MAX_KEY_BYTES: usize = 1_024;
/// The longest part between two slashes, in bytes, as file systems have it.
const MAX_NAME_BYTES: usize = 255;
/// Hexadecimal digits of a name's digest that stand for it: 64 bits.
const DIGEST_DIGITS: usize = 16;

/// A key that leaves no room for what is made of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the key's folders have {folders} bytes, which leaves no room for a name with `{ending}` \
     within \
     {MAX_KEY_BYTES}; use shorter folders"
)]
pub struct KeyTooLong {
    /// Bytes up to the last slash, with it.
    pub folders: usize,
    /// The end of the output's name.
    pub ending: String,
}

/// Returns the input's whole key with `ending` behind it.
///
/// A name of more than 255 bytes, or a key of more than 1,024, gets shorter: the input's name is
/// cut, and `~` and the first 16 hexadecimal digits of its BLAKE3 digest stand for the rest. So
/// names stay apart, and the same input always has the same output.
///
/// # Errors
/// [`KeyTooLong`] where the folders leave no room for that.
///
/// ```
/// use kinglet_image_input::naming::output_key;
///
/// assert_eq!(output_key("cats/tom.png", ".npy").unwrap(), "cats/tom.png.npy");
/// let long = output_key(&format!("cats/{}", "t".repeat(255)), ".npy").unwrap();
/// assert!(long.starts_with(&format!("cats/{}~", "t".repeat(234))));
/// assert_eq!(long.len(), "cats/".len() + 255);
/// ```
pub fn output_key(input_key: &str, ending: &str) -> Result<String, KeyTooLong> {
    let folders_end = input_key.rfind('/').map_or(0, |slash| slash + 1);
    let (folders, name) = input_key.split_at(folders_end);
    let room = MAX_NAME_BYTES.min(MAX_KEY_BYTES.saturating_sub(folders.len()));
    if name.len() + ending.len() <= room {
        return Ok(format!("{input_key}{ending}"));
    }
    let digest = blake3::hash(name.as_bytes()).to_hex();
    let digest = digest.get(..DIGEST_DIGITS).unwrap_or_default();
    let Some(kept) = room.checked_sub(1 + DIGEST_DIGITS + ending.len()) else {
        return Err(KeyTooLong {
            folders: folders.len(),
            ending: ending.to_owned(),
        });
    };
    let cut = name
        .get(..name.floor_char_boundary(kept))
        .unwrap_or_default();
    Ok(format!("{folders}{cut}~{digest}{ending}"))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const ENDING: &str = ".256x256.jpg";

    /// A photo of 248 bytes, or of 81 Chinese characters, was tried five times and then dead.
    #[test]
    fn long_names_are_cut_and_stay_apart() {
        let names = [
            "a".repeat(255),
            "a".repeat(254) + "b",
            "a".repeat(248),
            "猫".repeat(81) + ".jpg",
            "猫".repeat(80) + "犬.jpg",
            "é".repeat(126) + ".j",
        ];
        let folders = ["", "cats/", &format!("{}/", "d".repeat(200)).repeat(4)];
        let mut seen = HashSet::new();
        for folder in folders {
            for name in &names {
                let key = output_key(&format!("{folder}{name}"), ENDING).unwrap();
                assert!(key.len() <= MAX_KEY_BYTES && key.ends_with(ENDING), "{key}");
                let last = key.rsplit('/').next().unwrap();
                assert!(last.len() <= MAX_NAME_BYTES && last.len() > 150, "{key}");
                assert!(key.starts_with(folder) && last.contains('~'), "{key}");
                assert!(seen.insert(key), "{folder}{name}");
            }
        }
    }

    #[test]
    fn names_that_fit_stay_as_they_are() {
        let longest = "a".repeat(MAX_NAME_BYTES - ENDING.len());
        assert_eq!(output_key(&longest, ENDING), Ok(longest.clone() + ENDING));
        assert!(output_key(&(longest + "a"), ENDING).unwrap().contains('~'));
        assert_eq!(output_key("a/b~c", ".npy").unwrap(), "a/b~c.npy");
    }

    #[test]
    fn folders_that_leave_no_room_are_named() {
        let folders = format!("{}/", "d".repeat(250)).repeat(4);
        let short = output_key(&format!("{folders}a"), ENDING).unwrap();
        assert_eq!(short, format!("{folders}a{ENDING}"));
        let error = output_key(&format!("{folders}abcdefghi"), ENDING).unwrap_err();
        assert!(error.to_string().contains("1004 bytes"), "{error}");
    }
}
