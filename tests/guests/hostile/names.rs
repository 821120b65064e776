//! Names that a file system might take for another.

use kinglet_sdk::Bucket;

use crate::{Ended, must_fail};

/// None of these is a key.
pub fn object_names() -> Ended {
    let bucket = Bucket::open("out")?;
    let long = "x".repeat(10_000_000);
    let deep = "x/".repeat(600) + "x";
    let part = "x".repeat(256);
    for key in [
        "",
        ".",
        "..",
        "../escaped",
        "a/../../escaped",
        "a/./b",
        "/tmp/escaped",
        "//escaped",
        "a//b",
        "a/",
        ".hidden",
        ".kinglet-staging/bucket",
        "a/.kinglet-staging",
        "nul\0escaped",
        "line\nforged",
        "\u{1b}[2J",
        "\u{7f}",
        "\u{85}",
        &long,
        &deep,
        &part,
    ] {
        let shown: String = key.chars().take(40).collect();
        must_fail(&shown, bucket.write(key).put("x"))?;
        must_fail(&shown, bucket.write(key).create())?;
        must_fail(&shown, bucket.remove(key))?;
        must_fail(&shown, bucket.read(key))?;
    }
    Ok(())
}

/// Each of these is a key of its own, and a file of just that name.
pub fn odd_names() -> Ended {
    let bucket = Bucket::open("out")?;
    for key in ODD {
        bucket.write(*key).put(*key)?;
    }
    Ok(())
}

/// Devices of other systems, names that differ in case or in how an accent is written, names that turn around.
const ODD: &[&str] = &[
    "CON",
    "nul.txt",
    "COM1",
    "aux",
    "Case",
    "case",
    "CASE",
    "\u{e9}",
    "e\u{301}",
    "\u{fb01}",
    "fi",
    "stra\u{df}e",
    "strasse",
    "txt.\u{202e}gpj",
    "zero\u{200b}width",
    "back\\slash",
    "up\\..\\escaped",
    "%2e%2e%2fescaped",
    "~root",
    "-rf",
    "$(escaped)",
    "a b",
    "trailing.",
    "trailing ",
];
