//! The functions that ship, on the example's photos, as its manifest runs them.

use std::collections::BTreeSet;
use std::fs;

use crate::harness::{App, guest, workspace};

/// The example's manifest, its components being those that were built for the tests.
fn app() -> App {
    let manifest = fs::read_to_string(workspace().join("examples/photos/kinglet.toml")).unwrap();
    let app = App::bare();
    let mut built = String::new();
    for line in manifest
        .lines()
        .filter(|line| !line.starts_with("source ="))
    {
        let component = line.strip_prefix("component = \"");
        match component.and_then(|rest| rest.strip_suffix(".wasm\"")) {
            Some(name) => built.push_str(&format!("component = {:?}\n", guest(name))),
            None => built.push_str(&format!("{line}\n")),
        }
    }
    app.put("kinglet.toml", built);
    app
}

#[test]
fn every_photo_has_its_thumbnails_and_its_tensor() {
    let app = app();
    let mut photos = BTreeSet::new();
    let mut host = app.up();
    for entry in fs::read_dir(workspace().join("examples/photos/samples")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name.ends_with(".md") {
            continue;
        }
        fs::copy(&path, app.path("photos").join(&name)).unwrap();
        photos.insert(name);
    }
    assert!(photos.len() >= 8, "{photos:?}");
    for photo in &photos {
        for function in ["thumbnail", "preprocess"] {
            let outcome = host.outcome_of(function, photo);
            assert_eq!(outcome["outcome"], "done", "{outcome}");
        }
    }
    host.stop();

    let thumbs = app.objects("thumbs");
    assert_eq!(thumbs.len(), 2 * photos.len());
    for photo in &photos {
        let size = |size: u32| jpeg_size(&thumbs[&format!("{photo}.{size}x{size}.jpg")]);
        let (width, height) = size(256);
        let (large_width, large_height) = size(1024);
        let (longer, large) = (width.max(height), large_width.max(large_height));
        // Pictures are made smaller and never larger: the only one below 256 pixels is the GIF.
        assert!(
            longer == 256 || (photo.ends_with(".gif") && longer == 210),
            "{photo}: {longer}"
        );
        assert!((longer..=1024).contains(&large), "{photo}: {large}");
        if photo.starts_with("coffee") {
            assert!(width > height, "{photo} lies on its side: {width}x{height}");
        }
    }
    let tensors = app.objects("tensors");
    assert_eq!(tensors.len(), 2 * photos.len());
    for photo in &photos {
        let tensor = &tensors[&format!("{photo}.npy")];
        assert!(tensor.starts_with(b"\x93NUMPY"), "{photo}");
        assert_eq!(
            tensor.len() % 64,
            3 * 224 * 224 * 4 % 64,
            "{photo}: the header is padded"
        );
        assert!(
            (3 * 224 * 224 * 4..3 * 224 * 224 * 4 + 256).contains(&tensor.len()),
            "{photo}"
        );
        let description = &tensors[&format!("{photo}.json")];
        serde_json::from_slice::<serde_json::Value>(description).unwrap();
    }
}

#[test]
fn what_is_no_picture_is_rejected_at_once() {
    let app = app();
    let mut host = app.up();
    app.put("photos/lies.jpg", "this is no picture");
    app.put("photos/empty.png", "");
    for photo in ["lies.jpg", "empty.png"] {
        for function in ["thumbnail", "preprocess"] {
            let outcome = host.outcome_of(function, photo);
            assert_eq!(outcome["failure"], "reject", "{outcome}");
            assert_eq!(outcome["attempt"], 1, "{outcome}");
        }
    }
    assert_eq!(app.keys("thumbs"), [""; 0]);
    host.stop();
}

/// Width and height, from the frame header: ITU T.81, B.2.2.
fn jpeg_size(jpeg: &[u8]) -> (u32, u32) {
    assert!(
        jpeg.starts_with(&[0xff, 0xd8]),
        "a JPEG begins with its marker"
    );
    let mut at = 2;
    loop {
        let [0xff, marker, high, low, ..] = jpeg[at..] else {
            panic!("no frame header");
        };
        if (0xc0..=0xcf).contains(&marker) && ![0xc4, 0xc8, 0xcc].contains(&marker) {
            let number = |at: usize| u32::from(u16::from_be_bytes([jpeg[at], jpeg[at + 1]]));
            return (number(at + 7), number(at + 5));
        }
        at += 2 + usize::from(u16::from_be_bytes([high, low]));
    }
}
