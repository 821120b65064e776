//! What decoding makes of each format, colour model, depth and orientation.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::type_complexity,
    reason = "clippy.toml's leave for tests doesn't reach their helpers and tables"
)]

mod made;

use image::ExtendedColorType;
use kinglet_image_input::{Format, Layout, Limits, Picture, Region, decode};
use made::{HEIGHT, Png, WIDTH, pixels, strip};

fn read(bytes: &[u8]) -> Picture {
    decode(bytes, &Limits::default()).unwrap_or_else(|reason| panic!("{reason}"))
}

#[test]
fn every_format() {
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
        let picture = read(&bytes);
        let found = (
            picture.format,
            picture.width,
            picture.height,
            picture.layout,
        );
        assert_eq!(found, (format, WIDTH, HEIGHT, Layout::Rgb), "{name}");
        match format {
            Format::Gif => assert_eq!(picture.pixels[..6], [255, 0, 0, 0, 255, 0]),
            Format::Jpeg => assert!(apart(&picture.pixels, &pixels()) <= 12, "{name}"),
            _ => assert_eq!(picture.pixels, pixels(), "{name}"),
        }
    }
}

fn apart(one: &[u8], other: &[u8]) -> u8 {
    one.iter()
        .zip(other)
        .map(|(a, b)| a.abs_diff(*b))
        .max()
        .unwrap_or(u8::MAX)
}

#[test]
fn jpeg_with_restarts_and_in_inks() {
    assert!(apart(&read(&made::jpeg(false, true)).pixels, &pixels()) <= 12);
    // Half cyan, no magenta, all yellow, a fifth of black.
    let picture = read(&made::cmyk_jpeg([128, 0, 255, 51]));
    assert_eq!(picture.layout, Layout::Rgb);
    let expected: Vec<u8> = [127 * 204 / 255, 204, 0]
        .repeat(64)
        .iter()
        .map(|&s| s as u8)
        .collect();
    assert!(
        apart(&picture.pixels, &expected) <= 3,
        "{:?}",
        &picture.pixels[..3]
    );
}

/// zune-jpeg 0.5.15, which `image` 0.25.10 uses too, made such pictures black from the second row of
/// blocks on, without an error; many an encoder with tables of its own writes them.
#[test]
fn jpeg_with_a_scan_for_each_component() {
    let picture = read(&made::jpeg_in_scans());
    assert!(apart(&picture.pixels, &pixels()) <= 24, "{picture:?}");
}

#[test]
fn png_of_every_kind() {
    use png::{BitDepth, ColorType};
    let wide = |samples: &[u16]| {
        samples
            .iter()
            .flat_map(|s| s.to_be_bytes())
            .collect::<Vec<_>>()
    };
    let palette = || Some(vec![10, 20, 30, 40, 50, 60]);
    let cases: [(
        &str,
        ColorType,
        BitDepth,
        _,
        Option<Vec<u8>>,
        Vec<u8>,
        Layout,
        Vec<u8>,
    ); 12] = [
        (
            "gray 1",
            ColorType::Grayscale,
            BitDepth::One,
            None,
            None,
            vec![0b0100_0000],
            Layout::Gray,
            vec![0, 255],
        ),
        (
            "gray 2",
            ColorType::Grayscale,
            BitDepth::Two,
            None,
            None,
            vec![0b0110_0000],
            Layout::Gray,
            vec![85, 170],
        ),
        (
            "gray 4",
            ColorType::Grayscale,
            BitDepth::Four,
            None,
            None,
            vec![0x1f],
            Layout::Gray,
            vec![17, 255],
        ),
        (
            "gray 8",
            ColorType::Grayscale,
            BitDepth::Eight,
            None,
            None,
            vec![7, 200],
            Layout::Gray,
            vec![7, 200],
        ),
        (
            "gray 16",
            ColorType::Grayscale,
            BitDepth::Sixteen,
            None,
            None,
            wide(&[0x12ff, 0xff00]),
            Layout::Gray,
            vec![0x12, 0xff],
        ),
        (
            "gray 1, masked",
            ColorType::Grayscale,
            BitDepth::One,
            None,
            Some(vec![0, 255]),
            vec![0b0100_0000],
            Layout::Rgba,
            vec![0, 0, 0, 255, 255, 255, 255, 0],
        ),
        (
            "gray alpha",
            ColorType::GrayscaleAlpha,
            BitDepth::Eight,
            None,
            None,
            vec![9, 100, 8, 255],
            Layout::Rgba,
            vec![9, 9, 9, 100, 8, 8, 8, 255],
        ),
        (
            "rgb 16",
            ColorType::Rgb,
            BitDepth::Sixteen,
            None,
            None,
            wide(&[256, 512, 768, 65535, 0, 255]),
            Layout::Rgb,
            vec![1, 2, 3, 255, 0, 0],
        ),
        (
            "rgb, masked",
            ColorType::Rgb,
            BitDepth::Eight,
            None,
            Some(vec![0, 1, 0, 2, 0, 3]),
            vec![1, 2, 3, 4, 5, 6],
            Layout::Rgba,
            vec![1, 2, 3, 0, 4, 5, 6, 255],
        ),
        (
            "rgba, opaque",
            ColorType::Rgba,
            BitDepth::Eight,
            None,
            None,
            vec![1, 2, 3, 255, 4, 5, 6, 255],
            Layout::Rgb,
            vec![1, 2, 3, 4, 5, 6],
        ),
        (
            "palette",
            ColorType::Indexed,
            BitDepth::One,
            palette(),
            None,
            vec![0b1000_0000],
            Layout::Rgb,
            vec![40, 50, 60, 10, 20, 30],
        ),
        (
            "palette, alpha",
            ColorType::Indexed,
            BitDepth::One,
            palette(),
            Some(vec![128]),
            vec![0b1000_0000],
            Layout::Rgba,
            vec![40, 50, 60, 255, 10, 20, 30, 128],
        ),
    ];
    for (name, color, depth, palette, transparency, data, layout, expected) in cases {
        let png = Png {
            size: (2, 1),
            color,
            depth,
            palette,
            transparency,
            ..Png::default()
        };
        let picture = read(&png.encode(&data));
        assert_eq!(
            (picture.layout, picture.pixels),
            (layout, expected),
            "{name}"
        );
    }
}

#[test]
fn tiff_of_every_kind() {
    let palette: Vec<u32> = [10, 40, 20, 50, 30, 60].map(|value| value << 8).into();
    let float = |samples: [f32; 2]| {
        samples
            .iter()
            .flat_map(|s| s.to_le_bytes())
            .collect::<Vec<_>>()
    };
    let cases: [(
        &str,
        &[u32],
        u32,
        Vec<(u16, Vec<u32>)>,
        Vec<u8>,
        Layout,
        Vec<u8>,
    ); 20] = [
        (
            "gray 1",
            &[1],
            1,
            vec![],
            vec![0b0100_0000],
            Layout::Gray,
            vec![0, 255],
        ),
        (
            "white is 0",
            &[1],
            0,
            vec![],
            vec![0b0100_0000],
            Layout::Gray,
            vec![255, 0],
        ),
        (
            "bits reversed",
            &[1],
            1,
            vec![(266, vec![2])],
            vec![0b0000_0010],
            Layout::Gray,
            vec![0, 255],
        ),
        (
            "gray 4",
            &[4],
            1,
            vec![],
            vec![0x1f],
            Layout::Gray,
            vec![17, 255],
        ),
        (
            "gray 12",
            &[12],
            1,
            vec![],
            vec![0x12, 0xff, 0xf0],
            Layout::Gray,
            vec![0x12, 0xff],
        ),
        (
            "gray 16",
            &[16],
            1,
            vec![],
            vec![0xff, 0x12, 0, 0xff],
            Layout::Gray,
            vec![0x12, 0xff],
        ),
        (
            "float",
            &[32],
            1,
            vec![(339, vec![3])],
            float([0.5, 7.0]),
            Layout::Gray,
            vec![128, 255],
        ),
        (
            "rgb",
            &[8, 8, 8],
            2,
            vec![],
            vec![1, 2, 3, 4, 5, 6],
            Layout::Rgb,
            vec![1, 2, 3, 4, 5, 6],
        ),
        (
            "planar",
            &[8, 8, 8],
            2,
            vec![(284, vec![2]), (273, vec![8, 10, 12]), (279, vec![2, 2, 2])],
            vec![1, 4, 2, 5, 3, 6],
            Layout::Rgb,
            vec![1, 2, 3, 4, 5, 6],
        ),
        (
            "tiled",
            &[8],
            1,
            vec![
                (322, vec![16]),
                (323, vec![1]),
                (324, vec![8]),
                (325, vec![16]),
            ],
            (7..23).collect(),
            Layout::Gray,
            vec![7, 8],
        ),
        (
            "differences",
            &[8],
            1,
            vec![(259, vec![8]), (317, vec![2])],
            deflate(&[100, 200]),
            Layout::Gray,
            vec![100, 44],
        ),
        (
            "packed bits",
            &[8],
            1,
            vec![(259, vec![32773])],
            vec![0xff, 9],
            Layout::Gray,
            vec![9, 9],
        ),
        (
            "lzw",
            &[8],
            1,
            vec![(259, vec![5])],
            lzw(&[5, 6]),
            Layout::Gray,
            vec![5, 6],
        ),
        (
            "palette",
            &[8],
            3,
            vec![(320, palette.clone())],
            vec![1, 0],
            Layout::Rgb,
            vec![40, 50, 60, 10, 20, 30],
        ),
        (
            "palette alpha",
            &[8, 8],
            3,
            vec![(320, palette), (338, vec![2])],
            vec![1, 9, 0, 255],
            Layout::Rgba,
            vec![40, 50, 60, 9, 10, 20, 30, 255],
        ),
        (
            "gray alpha",
            &[8, 8],
            1,
            vec![(338, vec![2])],
            vec![1, 9, 2, 255],
            Layout::Rgba,
            vec![1, 1, 1, 9, 2, 2, 2, 255],
        ),
        (
            "premultiplied",
            &[8, 8, 8, 8],
            2,
            vec![(338, vec![1])],
            vec![50, 0, 100, 128, 1, 2, 3, 255],
            Layout::Rgba,
            vec![99, 0, 199, 128, 1, 2, 3, 255],
        ),
        (
            "unknown extra",
            &[8, 8, 8, 8],
            2,
            vec![(338, vec![0])],
            vec![1, 2, 3, 9, 4, 5, 6, 9],
            Layout::Rgb,
            vec![1, 2, 3, 4, 5, 6],
        ),
        (
            "inks",
            &[8, 8, 8, 8],
            5,
            vec![],
            vec![255, 0, 0, 0, 0, 0, 0, 51],
            Layout::Rgb,
            vec![0, 255, 255, 204, 204, 204],
        ),
        (
            "L*a*b*",
            &[8, 8, 8],
            9,
            vec![],
            vec![255, 128, 128, 0, 128, 128],
            Layout::Rgb,
            vec![255, 255, 255, 0, 0, 0],
        ),
    ];
    for (name, bits, photometric, tags, data, layout, expected) in cases {
        let picture = read(&strip((2, 1), bits, photometric, &tags, &data));
        assert_eq!(
            (picture.layout, picture.pixels),
            (layout, expected),
            "{name}"
        );
    }
}

fn deflate(data: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn lzw(data: &[u8]) -> Vec<u8> {
    weezl::encode::Encoder::with_tiff_size_switch(weezl::BitOrder::Msb, 8)
        .encode(data)
        .unwrap()
}

#[test]
fn big_endian_and_big_tiff() {
    let entry = |tag: u16, value: u64| {
        let kind = 16u16.to_be_bytes();
        [
            &tag.to_be_bytes()[..],
            &kind,
            &1u64.to_be_bytes(),
            &value.to_be_bytes(),
        ]
        .concat()
    };
    let entries = [
        (256, 2),
        (257, 1),
        (258, 16),
        (259, 1),
        (262, 1),
        (273, 16),
        (277, 1),
        (279, 4),
    ];
    let mut bytes = b"MM\0+\0\x08\0\0".to_vec();
    bytes.extend(20u64.to_be_bytes());
    bytes.extend([0x12, 0xff, 0xff, 0]);
    bytes.extend((entries.len() as u64).to_be_bytes());
    bytes.extend(entries.iter().flat_map(|&(tag, value)| entry(tag, value)));
    assert_eq!(read(&bytes).pixels, [0x12, 0xff]);
}

#[test]
fn webp_keeps_alpha() {
    let rgba: Vec<u8> = pixels()
        .as_chunks::<3>()
        .0
        .iter()
        .flat_map(|&[r, g, b]| [r, g, b, r / 2])
        .collect();
    let picture = read(&made::webp(ExtendedColorType::Rgba8, &rgba));
    assert_eq!((picture.layout, picture.pixels), (Layout::Rgba, rgba));
}

#[test]
fn gif_on_its_screen() {
    let transparent = read(&made::gif((2, 1), (0, 0), (2, 1), Some(1)));
    assert_eq!(transparent.layout, Layout::Rgba);
    assert_eq!(transparent.pixels[..4], [255, 0, 0, 255]);
    assert_eq!(transparent.pixels[7], 0);
    // What no frame covers is transparent, as browsers have it.
    let part = read(&made::gif((3, 2), (1, 1), (1, 1), None));
    let alphas: Vec<u8> = part.pixels.iter().skip(3).step_by(4).copied().collect();
    assert_eq!(alphas, [0, 0, 0, 0, 255, 0]);
}

/// A screen of 0x0 gave one black pixel.
#[test]
fn gif_on_a_screen_that_is_smaller_than_its_frame() {
    for (screen, at, size) in [
        ((0, 0), (0, 0), (60, 30)),
        ((0, 30), (0, 0), (60, 30)),
        ((20, 10), (0, 0), (60, 30)),
        ((60, 30), (10, 5), (70, 35)),
        ((100, 90), (10, 5), (100, 90)),
    ] {
        let mut gif = made::gif((60, 30), at, (60, 30), None);
        gif[6..8].copy_from_slice(&u16::to_le_bytes(screen.0));
        gif[8..10].copy_from_slice(&u16::to_le_bytes(screen.1));
        let picture = read(&gif);
        assert_eq!((picture.width, picture.height), size, "{screen:?} {at:?}");
        let channels = picture.layout.channels();
        let first = (usize::from(at.1) * picture.width as usize + usize::from(at.0)) * channels;
        assert_eq!(
            picture.pixels[first..first + 3],
            [255, 0, 0],
            "{screen:?} {at:?}"
        );
        assert_eq!(picture.pixels[first + channels..][..3], [0, 255, 0]);
    }
}

#[test]
fn bmp_with_faults_that_programs_forgive() {
    let whole = made::bmp();
    let expected = read(&whole);

    let mut planes = whole.clone();
    planes[26] = 3;
    assert_eq!(read(&planes), expected);

    // 21 pixels of 3 bytes: the last row's padding is one byte.
    assert_eq!(read(&whole[..whole.len() - 1]), expected);

    let rows = |height: i32| {
        let mut bytes = b"BM\0\0\0\0\0\0\0\0".to_vec();
        bytes.extend(62u32.to_le_bytes());
        bytes.extend([40u32, 2].iter().flat_map(|n| n.to_le_bytes()));
        bytes.extend(height.to_le_bytes());
        bytes.extend([1u16, 8].iter().flat_map(|n| n.to_le_bytes()));
        bytes.extend([1u32, 0, 0, 0, 2, 0].iter().flat_map(|n| n.to_le_bytes()));
        bytes.extend([3, 2, 1, 0, 6, 5, 4, 0]);
        // A pixel of colour 1, on to the next row, one skipped, one of colour 1, the end.
        bytes.extend([1, 1, 0, 0, 0, 2, 1, 0, 1, 1, 0, 1]);
        read(&bytes).upright().pixels
    };
    let (first, second) = ([4, 5, 6, 1, 2, 3], [1, 2, 3, 4, 5, 6]);
    assert_eq!(rows(2), [second, first].concat());
    assert_eq!(rows(-2), [first, second].concat());
}

/// What is stored of the upright picture 12/34/56 in each EXIF orientation.
const STORED: [(u8, (u32, u32), [u8; 6]); 8] = [
    (1, (2, 3), [1, 2, 3, 4, 5, 6]),
    (2, (2, 3), [2, 1, 4, 3, 6, 5]),
    (3, (2, 3), [6, 5, 4, 3, 2, 1]),
    (4, (2, 3), [5, 6, 3, 4, 1, 2]),
    (5, (3, 2), [1, 3, 5, 2, 4, 6]),
    (6, (3, 2), [2, 4, 6, 1, 3, 5]),
    (7, (3, 2), [6, 4, 2, 5, 3, 1]),
    (8, (3, 2), [5, 3, 1, 6, 4, 2]),
];

#[test]
fn every_orientation() {
    for (orientation, size, stored) in STORED {
        let tags = [(274, vec![orientation.into()])];
        let tiff = strip(size, &[8], 1, &tags, &stored);
        let gray = png::ColorType::Grayscale;
        let png = |exif, xmp| {
            Png {
                size,
                color: gray,
                exif,
                xmp,
                ..Png::default()
            }
            .encode(&stored)
        };
        let xmp = format!("<x tiff:Orientation=\"{orientation}\"/>");
        let files = [tiff, png(Some(orientation), None), png(None, Some(&xmp))];
        for (nth, bytes) in files.iter().enumerate() {
            let picture = read(bytes);
            assert_eq!(picture.upright_size(), (2, 3));
            assert_eq!(
                picture.upright().pixels,
                [1, 2, 3, 4, 5, 6],
                "{orientation}, file {nth}"
            );
        }

        let jpeg = made::with_exif(&made::jpeg(false, false), orientation);
        let turned = if orientation > 4 {
            (HEIGHT, WIDTH)
        } else {
            (WIDTH, HEIGHT)
        };
        assert_eq!(read(&jpeg).upright_size(), turned);
    }
}

/// A program that adds a segment of its own doesn't undo the camera's.
#[test]
fn the_first_segment_with_an_orientation_holds() {
    let jpeg = made::jpeg(false, false);
    let without = made::tiff(&[(256, vec![60])], &[]);
    let turned = made::exif(6);
    let straight = made::exif(1);
    for (segments, expected) in [
        (vec![&turned, &without], (HEIGHT, WIDTH)),
        (vec![&without, &turned], (HEIGHT, WIDTH)),
        (vec![&turned, &straight], (HEIGHT, WIDTH)),
        (vec![&straight, &turned], (WIDTH, HEIGHT)),
        (vec![&without], (WIDTH, HEIGHT)),
    ] {
        let segments = segments.into_iter().flat_map(|exif| {
            let body = [b"Exif\0\0".as_slice(), exif].concat();
            let len = (body.len() as u16 + 2).to_be_bytes();
            [b"\xff\xe1".as_slice(), &len, &body].concat()
        });
        let segments: Vec<u8> = segments.collect();
        let bytes = [&jpeg[..2], &segments, &jpeg[2..]].concat();
        assert_eq!(read(&bytes).upright_size(), expected);
    }
}

#[test]
fn regions_of_the_upright_picture() {
    for (orientation, size, stored) in STORED {
        let tags = [(274, vec![orientation.into()])];
        let picture = read(&strip(size, &[8], 1, &tags, &stored));
        let below = Region {
            left: 1.0,
            top: 1.0,
            width: 1.0,
            height: 2.0,
        };
        let part = picture.stored_region(below);
        let [left, top, width, height] = [part.left, part.top, part.width, part.height];
        let cut = picture
            .cut(left as u32, top as u32, width as u32, height as u32)
            .upright();
        assert_eq!(
            (cut.width, cut.height, cut.pixels),
            (1, 2, vec![4, 6]),
            "{orientation}"
        );
        assert_eq!(picture.stored_size((1, 2)), (width as u32, height as u32));
    }
}

#[test]
fn alpha_blended_and_dropped() {
    let png = Png {
        size: (2, 1),
        color: png::ColorType::Rgba,
        ..Png::default()
    };
    let picture = read(&png.encode(&[200, 100, 0, 51, 9, 9, 9, 0]));
    let white = picture.clone().flattened_onto([255; 3]);
    assert_eq!(white.pixels, [244, 224, 204, 255, 255, 255]);
    assert_eq!(picture.without_alpha().pixels, [200, 100, 0, 9, 9, 9]);
}

/// Colours of transparent pixels must not bleed: green is beside transparent red.
#[test]
fn resizing_weighs_colours_by_alpha() {
    let png = Png {
        size: (2, 1),
        color: png::ColorType::Rgba,
        ..Png::default()
    };
    let picture = read(&png.encode(&[255, 0, 0, 0, 0, 255, 0, 255])).premultiply();
    let whole = Region::whole((2, 1));
    let small = picture
        .resize(whole, (1, 1), kinglet_image_input::Filter::Bilinear)
        .unwrap();
    assert_eq!(small.pixels, [0, 255, 0, 128]);
}
