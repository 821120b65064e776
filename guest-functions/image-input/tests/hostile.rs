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

/// A picture that doesn't compress: each part of its data says something.
const SIDE: u16 = 96;

fn noise() -> Vec<u8> {
    let mut random = 7_u64;
    let samples = 0..usize::from(SIDE) * usize::from(SIDE) * 3;
    samples
        .map(|_| {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (random >> 56) as u8
        })
        .collect()
}

fn noisy_jpeg(set: impl FnOnce(&mut jpeg_encoder::Encoder<&mut Vec<u8>>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut bytes, 80);
    set(&mut encoder);
    encoder
        .encode(&noise(), SIDE, SIDE, jpeg_encoder::ColorType::Rgb)
        .unwrap();
    bytes
}

/// Where each marker is that begins with one of these.
fn markers(jpeg: &[u8], codes: std::ops::RangeInclusive<u8>) -> Vec<usize> {
    let pairs = jpeg.windows(2).enumerate();
    pairs
        .filter(|(_, pair)| pair[0] == 0xff && codes.contains(&pair[1]))
        .map(|(at, _)| at)
        .collect()
}

fn assert_truncated(name: &str, bytes: &[u8], format: Format) {
    let result = decode(bytes, &Limits::default()).map(drop);
    assert_eq!(result, Err(Rejection::Truncated { format }), "{name}");
}

/// Half of the data and the end marker: the lower half was made up, and the thumbnail done.
/// Decoders read zeros behind the end of a scan.
#[test]
fn a_jpeg_whose_data_end_early_is_truncated_not_made_up() {
    let plain = noisy_jpeg(|_| {});
    let progressive = noisy_jpeg(|encoder| encoder.set_progressive(true));
    let halved_chroma =
        noisy_jpeg(|encoder| encoder.set_sampling_factor(jpeg_encoder::SamplingFactor::F_2_2));
    let in_scans = noisy_jpeg(|encoder| encoder.set_optimized_huffman_tables(true));
    let restarts = noisy_jpeg(|encoder| encoder.set_restart_interval(3));
    for (name, whole) in [
        ("plain", &plain),
        ("progressive", &progressive),
        ("halved chroma", &halved_chroma),
        ("in scans", &in_scans),
        ("with restarts", &restarts),
    ] {
        assert_eq!(
            decode(whole, &Limits::default()).map(drop),
            Ok(()),
            "{name}"
        );
        // What comes after the end is nobody's.
        let more = [whole.as_slice(), b"\xff\xd8\xffmore"].concat();
        assert_eq!(
            decode(&more, &Limits::default()).map(drop),
            Ok(()),
            "{name}"
        );
        let data = markers(whole, 0xda..=0xda)[0] + 20;
        for hundredths in 0..=99 {
            let end = data + (whole.len() - 2 - 8 - data) * hundredths / 100;
            // A marker that is cut, or a stuffed byte, is another case.
            if whole[end - 1] == 0xff || whole[end - 2] == 0xff {
                continue;
            }
            let part = [&whole[..end], b"\xff\xd9"].concat();
            let result = decode(&part, &Limits::default()).map(drop);
            let cut_in_tables = matches!(result, Err(Rejection::Corrupt { .. }));
            assert!(
                result
                    == Err(Rejection::Truncated {
                        format: Format::Jpeg
                    })
                    || cut_in_tables && name != "plain",
                "{hundredths} hundredths of {name}: {result:?}"
            );
        }
    }
}

#[test]
fn lost_restart_intervals_and_scans_are_truncated() {
    let restarts = noisy_jpeg(|encoder| encoder.set_restart_interval(1));
    let at = markers(&restarts, 0xd0..=0xd7);
    // Eight, so that their numbers still fit; one; a part of one.
    for (from, to) in [(4, 12), (4, 5)] {
        let lost = [&restarts[..at[from]], &restarts[at[to]..]].concat();
        assert_truncated("intervals", &lost, Format::Jpeg);
    }
    let part = [&restarts[..at[4] + 6], &restarts[at[5]..]].concat();
    assert_truncated("a part of an interval", &part, Format::Jpeg);

    for optimized in [false, true] {
        let scans = noisy_jpeg(|encoder| {
            encoder.set_progressive(!optimized);
            encoder.set_optimized_huffman_tables(optimized);
        });
        for scan in markers(&scans, 0xda..=0xda).into_iter().skip(1) {
            let part = [&scans[..scan], b"\xff\xd9"].concat();
            assert_truncated("scans", &part, Format::Jpeg);
        }
    }
}

/// Containers that are whole around a picture that isn't.
#[test]
fn other_formats_whose_data_end_early_are_truncated() {
    let png = |data: &[u8]| {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, SIDE.into(), SIDE.into());
        encoder.set_color(png::ColorType::Rgb);
        let mut writer = encoder.write_header().unwrap();
        writer.write_chunk(png::chunk::IDAT, data).unwrap();
        drop(writer);
        bytes
    };
    let rows: Vec<u8> = noise()
        .chunks_exact(usize::from(SIDE) * 3)
        .flat_map(|row| [&[0], row].concat())
        .collect();
    let packed = deflate(&rows);
    assert_eq!(decode(&png(&packed), &Limits::default()).map(drop), Ok(()));
    assert_truncated("png", &png(&packed[..packed.len() / 2]), Format::Png);
    assert_truncated("rows", &png(&deflate(&rows[..rows.len() / 2])), Format::Png);

    let side = u32::from(SIDE);
    for (compression, data) in [(1, noise()), (8, deflate(&noise()))] {
        let tags = [(259, vec![compression])];
        let part = made::strip((side, side), &[8, 8, 8], 2, &tags, &data[..data.len() / 2]);
        assert_truncated("tiff", &part, Format::Tiff);
    }
    let jpeg = noisy_jpeg(|_| {});
    let tags = [(259, vec![7])];
    let tiff = |jpeg: &[u8]| made::strip((side, side), &[8, 8, 8], 6, &tags, jpeg);
    assert_eq!(decode(&tiff(&jpeg), &Limits::default()).map(drop), Ok(()));
    let half = [&jpeg[..jpeg.len() / 2], b"\xff\xd9"].concat();
    assert_truncated("tiff of jpeg", &tiff(&half), Format::Tiff);

    let mut gif = Vec::new();
    let mut encoder = gif::Encoder::new(&mut gif, SIDE, SIDE, &[0, 0, 0, 255, 255, 255]).unwrap();
    let frame = gif::Frame {
        width: SIDE,
        height: SIDE,
        buffer: noise().iter().step_by(3).map(|sample| sample & 1).collect(),
        ..gif::Frame::default()
    };
    encoder.write_frame(&frame).unwrap();
    drop(encoder);
    let header = gif
        .windows(8)
        .position(|part| part == frame_header())
        .unwrap();
    // The frame's header, the size of its codes, and one block of its data.
    let one_block = header + 8 + 2 + 1;
    let end = one_block + 1 + usize::from(gif[one_block]);
    for bytes in [&gif[..end], &[&gif[..end], b"\0;"].concat()] {
        assert_truncated("gif", bytes, Format::Gif);
    }
}

/// A GIF frame at the corner, of the whole picture.
fn frame_header() -> [u8; 8] {
    let [low, high] = SIDE.to_le_bytes();
    [0x2c, 0, 0, 0, 0, low, high, low]
}

fn deflate(data: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

/// An app's PNG was answered with how the decoder keeps the names of chunks.
#[test]
fn what_is_wrong_is_said_in_words() {
    let png = made::png();
    let chunk = |name: &[u8], body: &[u8]| {
        let mut crc = flate2::Crc::new();
        crc.update(name);
        crc.update(body);
        let (len, crc) = ((body.len() as u32).to_be_bytes(), crc.sum().to_be_bytes());
        [&len, name, body, &crc].concat()
    };
    let apple = [&png[..8], &chunk(b"CgBI", &[0x50, 0, 0x20, 2]), &png[8..]].concat();
    let twice = [&png[..33], &png[8..33], &png[33..]].concat();
    let other = [&png[..8], &chunk(b"tEXt", b"a\0b"), &png[8..]].concat();
    let mut checksum = png.clone();
    checksum[32] ^= 1;
    let mut broken = png.clone();
    let data = broken.windows(4).position(|part| part == b"IDAT").unwrap();
    let len = u32::from_be_bytes(broken[data - 4..data].try_into().unwrap()) as usize;
    broken[data + 4] = 0;
    let body = broken[data + 4..data + 4 + len].to_vec();
    let broken = [
        &broken[..data - 4],
        &chunk(b"IDAT", &body),
        &broken[data + 8 + len..],
    ]
    .concat();
    for (bytes, says) in [
        (
            apple,
            "unsupported PNG: Apple's CgBI variant, which Xcode makes for apps; convert it, as \
             with",
        ),
        (other, "corrupt PNG: tEXt chunk appeared before IHDR chunk"),
        (twice, "corrupt PNG: Chunk IHDR must appear at most once"),
        (checksum, "corrupt PNG: CRC error"),
        (broken, "corrupt PNG: its compressed data are broken"),
    ] {
        let reason = decode(&bytes, &Limits::default()).unwrap_err().to_string();
        assert!(reason.starts_with(says), "{reason}");
        assert!(
            !reason.contains('{') && !reason.contains("Type"),
            "{reason}"
        );
    }
}
