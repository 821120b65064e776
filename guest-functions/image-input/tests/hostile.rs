//! Files that lie, break off or break: refused with a true reason, before memory is taken.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::type_complexity,
    reason = "clippy.toml's leave for tests doesn't reach their helpers and tables"
)]

mod made;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use kinglet_image_input::{Format, Limits, Rejection, decode};

thread_local! {
    static HELD: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

/// Counts what the current thread allocates: tests run beside each other.
struct Counting;

#[expect(
    unsafe_code,
    reason = "the only way to see what is allocated; it passes every call on"
)]
// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.get() + layout.size();
        HELD.set(held);
        PEAK.set(PEAK.get().max(held));
        // SAFETY: the caller's promises are handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.set(HELD.get().saturating_sub(layout.size()));
        // SAFETY: the caller's promises are handed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What decoding says, and the most bytes it held meanwhile.
fn measured(bytes: &[u8], limits: &Limits) -> (Result<(), Rejection>, usize) {
    let before = HELD.get();
    PEAK.set(before);
    let result = decode(bytes, limits).map(drop);
    (result, PEAK.get() - before)
}

/// Headers of 60,000 x 60,000 pixels, or as many as the format can say.
fn vast() -> Vec<(&'static str, Vec<u8>, (u32, u32))> {
    const SIDE: u32 = 60_000;
    let mut png = made::png();
    png[16..20].copy_from_slice(&SIDE.to_be_bytes());
    png[20..24].copy_from_slice(&SIDE.to_be_bytes());
    let crc = {
        let mut crc = flate2::Crc::new();
        crc.update(&png[12..29]);
        crc.sum()
    };
    png[29..33].copy_from_slice(&crc.to_be_bytes());

    let sized_jpeg = |progressive| {
        let mut jpeg = made::jpeg(progressive, false);
        let marker = if progressive { 0xc2 } else { 0xc0 };
        let frame = jpeg
            .windows(2)
            .position(|pair| pair == [0xff, marker])
            .unwrap();
        jpeg[frame + 5..frame + 7].copy_from_slice(&(SIDE as u16).to_be_bytes());
        jpeg[frame + 7..frame + 9].copy_from_slice(&(SIDE as u16).to_be_bytes());
        jpeg
    };

    let mut gif = made::gif((2, 2), (0, 0), (2, 2), None);
    gif[6..8].copy_from_slice(&(SIDE as u16).to_le_bytes());
    gif[8..10].copy_from_slice(&(SIDE as u16).to_le_bytes());

    let mut bmp = made::bmp();
    bmp[18..22].copy_from_slice(&SIDE.to_le_bytes());
    bmp[22..26].copy_from_slice(&SIDE.to_le_bytes());

    let tiff = made::strip((SIDE, SIDE), &[8, 8, 8], 2, &[], &[0; 64]);
    let fax = made::strip((SIDE, SIDE), &[1], 0, &[(259, vec![4])], &[0; 64]);

    let chunk =
        |name: &[u8], body: &[u8]| [name, &(body.len() as u32).to_le_bytes(), body].concat();
    let webp = |chunks: &[u8]| {
        [
            b"RIFF".as_slice(),
            &(chunks.len() as u32 + 4).to_le_bytes(),
            b"WEBP",
            chunks,
        ]
        .concat()
    };
    // Lossless: 14 bits for each side, less 1; the decoder takes the largest for none.
    let side = 16_382u32;
    let lossless_header = (side | side << 14).to_le_bytes();
    let lossless = chunk(b"VP8L", &[&[0x2f], &lossless_header[..], &[0; 8]].concat());
    // Extended: 24 bits for each side, less 1.
    let canvas = &(SIDE - 1).to_le_bytes()[..3];
    let extended = chunk(b"VP8X", &[&[0, 0, 0, 0], canvas, canvas].concat());
    let extended = [extended, lossless.clone()].concat();

    vec![
        ("png", png, (SIDE, SIDE)),
        ("jpeg", sized_jpeg(false), (SIDE, SIDE)),
        ("progressive jpeg", sized_jpeg(true), (SIDE, SIDE)),
        ("gif", gif, (SIDE, SIDE)),
        ("bmp", bmp, (SIDE, SIDE)),
        ("tiff", tiff, (SIDE, SIDE)),
        ("fax", fax, (SIDE, SIDE)),
        ("lossless webp", webp(&lossless), (16_383, 16_383)),
        ("extended webp", webp(&extended), (SIDE, SIDE)),
    ]
}

#[test]
fn vast_pictures_are_refused_by_their_headers() {
    for (name, bytes, (width, height)) in vast() {
        let limits = Limits::default();
        let (result, peak) = measured(&bytes, &limits);
        let max_pixels = limits.max_pixels;
        assert_eq!(
            result,
            Err(Rejection::TooLarge {
                width,
                height,
                max_pixels
            }),
            "{name}"
        );
        assert!(peak < 1 << 20, "{name} took {peak} bytes");
    }
}

#[test]
fn memory_is_bounded_where_pixels_are_not() {
    let limits = Limits {
        max_pixels: u64::MAX,
        max_bytes: 8 << 20,
    };
    for (name, bytes, _) in vast() {
        let (result, peak) = measured(&bytes, &limits);
        let refused = matches!(result, Err(Rejection::TooMuchMemory { needed_bytes, .. }) if needed_bytes > 8 << 20);
        assert!(refused, "{name}: {result:?}");
        assert!(peak < 1 << 20, "{name} took {peak} bytes");
    }
}

#[test]
fn a_file_larger_than_the_budget_is_refused_unread() {
    let limits = Limits {
        max_bytes: 10,
        ..Limits::default()
    };
    let rejected = limits.check_file(11).unwrap_err();
    assert_eq!(
        rejected,
        Rejection::FileTooLarge {
            bytes: 11,
            max_bytes: 10
        }
    );
    assert_eq!(limits.check_file(10), Ok(()));
}

#[test]
fn what_is_cut_short_is_called_so() {
    let formats = [
        Format::Jpeg,
        Format::Jpeg,
        Format::Png,
        Format::WebP,
        Format::Gif,
        Format::Tiff,
        Format::Bmp,
    ];
    for ((name, bytes), format) in made::each_format().into_iter().zip(formats) {
        for tenths in [3, 5, 9] {
            let part = &bytes[..bytes.len() * tenths / 10];
            let result = decode(part, &Limits::default()).map(drop);
            assert_eq!(
                result,
                Err(Rejection::Truncated { format }),
                "{tenths} tenths of {name}"
            );
        }
    }
    // The end-of-image marker alone is missing.
    let jpeg = made::jpeg(false, false);
    let result = decode(&jpeg[..jpeg.len() - 2], &Limits::default()).map(drop);
    assert_eq!(
        result,
        Err(Rejection::Truncated {
            format: Format::Jpeg
        })
    );
}

#[test]
fn no_part_of_a_file_panics() {
    for (_, bytes) in made::each_format() {
        for len in 0..bytes.len() {
            let _ = decode(&bytes[..len], &Limits::default());
        }
    }
}

#[test]
fn no_change_of_a_file_panics() {
    let limits = Limits {
        max_pixels: 1 << 20,
        max_bytes: 16 << 20,
    };
    let fax = made::strip((64, 64), &[1], 0, &[(259, vec![3])], &[0x5a; 128]);
    let rle = made::strip((64, 64), &[1], 0, &[(259, vec![2])], &[0x5a; 128]);
    let made = made::each_format().map(|(_, bytes)| bytes);
    let mut random = 1u64;
    let mut next = |below: usize| {
        // Knuth's MMIX generator; its high bits are the good ones.
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % below
    };
    for bytes in made.into_iter().chain([fax, rle]) {
        for _ in 0..400 {
            let mut changed = bytes.clone();
            for _ in 0..1 + next(4) {
                let at = next(changed.len());
                changed[at] = next(256) as u8;
            }
            let (_, peak) = measured(&changed, &limits);
            assert!(peak < 40 << 20, "took {peak} bytes");
        }
    }
}

#[test]
fn reasons() {
    let cases: [(&[u8], &str); 7] = [
        (b"", "the file is empty"),
        (
            b"hello",
            "not a picture: starts with 68656c6c6f; supported are JPEG, PNG, WebP, GIF, TIFF and BMP",
        ),
        (
            b"\0\0\0\x0cjP  \r\n\x87\n",
            "JPEG 2000 pictures aren't supported; convert to JPEG, PNG, WebP, GIF, TIFF or BMP",
        ),
        (
            b"\0\0\0\x20ftypavif",
            "AVIF pictures aren't supported; convert to JPEG, PNG, WebP, GIF, TIFF or BMP",
        ),
        (
            b"\xff\xd8\xff\xc9\0\x08\x08\0\x01\0\x01\0",
            "unsupported JPEG: arithmetic coding",
        ),
        (
            b"\xff\xd8\xff\xc0\0\x08\x0c\0\x01\0\x01\0",
            "unsupported JPEG: 12 bits for each sample",
        ),
        (b"\xff\xd8\xff\xd9", "corrupt JPEG: it ends without a scan"),
    ];
    for (bytes, expected) in cases {
        let reason = decode(bytes, &Limits::default()).unwrap_err().to_string();
        assert_eq!(reason, expected);
    }
    let limits = Limits {
        max_pixels: 100,
        ..Limits::default()
    };
    let reason = decode(&made::png(), &limits).unwrap_err().to_string();
    assert_eq!(
        reason,
        "21x13 pixels are over the limit of 100; raise `max-pixels`"
    );
}

/// zune-jpeg paints gray what it can't decode unless it is told to be strict, and says nothing: the
/// thumbnail was half gray, and done.
#[test]
fn broken_huffman_codes_are_corrupt_not_gray() {
    let mut jpeg = made::jpeg(false, false);
    let scan = jpeg
        .windows(2)
        .position(|pair| pair == [0xff, 0xda])
        .unwrap();
    let len = jpeg.len();
    // No Huffman code is all ones; a zero after each 0xff keeps it from being a marker.
    for pair in jpeg[scan + 20..len - 2].as_chunks_mut().0 {
        *pair = [0xff, 0];
    }
    let result = decode(&jpeg, &Limits::default());
    assert!(
        matches!(
            result,
            Err(Rejection::Corrupt {
                format: Format::Jpeg,
                ..
            })
        ),
        "{result:?}"
    );
}
