//! Names that programs give to files they haven't finished.

/// Endings of unfinished files: of browsers, rsync-like tools, editors and our own convention.
const UNFINISHED: [&str; 8] = [
    "~",
    ".tmp",
    ".temp",
    ".part",
    ".partial",
    ".crdownload",
    ".swp",
    ".swx",
];

/// Whether an object of this key is passed over as unfinished. Hidden files aren't objects at all.
pub(super) fn is_unfinished(key: &str) -> bool {
    let name = key.rsplit('/').next().unwrap_or(key).to_ascii_lowercase();
    name.starts_with("~$") || UNFINISHED.iter().any(|ending| name.ends_with(ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (key, unfinished) in [
            ("a.jpg", false),
            ("a.jpg.part", true),
            ("b/a.TMP", true),
            ("a.jpg~", true),
            ("~$letter.docx", true),
            ("part/a.jpg", false),
            ("x.crdownload", true),
            ("apart", false),
        ] {
            assert_eq!(is_unfinished(key), unfinished, "{key}");
        }
    }
}
