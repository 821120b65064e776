//! Small pictures for tests, made as they are needed.

#![allow(dead_code, reason = "each test binary uses another part")]

use image::{ExtendedColorType, ImageEncoder};

pub const WIDTH: u32 = 21;
pub const HEIGHT: u32 = 13;

/// RGB, smooth enough for JPEG, no two rows or columns alike.
pub fn pixels() -> Vec<u8> {
    let rows = 0..HEIGHT;
    rows.flat_map(|y| (0..WIDTH).flat_map(move |x| [x * 12, y * 19, 255 - x * 5 - y * 5]))
        .map(|sample| sample as u8)
        .collect()
}

pub fn jpeg(progressive: bool, restarts: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut bytes, 98);
    encoder.set_progressive(progressive);
    if restarts {
        encoder.set_restart_interval(1);
    }
    let (width, height) = (WIDTH as u16, HEIGHT as u16);
    encoder
        .encode(&pixels(), width, height, jpeg_encoder::ColorType::Rgb)
        .unwrap();
    bytes
}

/// Baseline with halved chroma and a scan for each component.
pub fn jpeg_in_scans() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut bytes, 98);
    encoder.set_sampling_factor(jpeg_encoder::SamplingFactor::F_2_2);
    // It then writes the components one after another.
    encoder.set_optimized_huffman_tables(true);
    let (width, height) = (WIDTH as u16, HEIGHT as u16);
    encoder
        .encode(&pixels(), width, height, jpeg_encoder::ColorType::Rgb)
        .unwrap();
    bytes
}

/// Of the inks given, all over, as Adobe writes it.
pub fn cmyk_jpeg(inks: [u8; 4]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let encoder = jpeg_encoder::Encoder::new(&mut bytes, 98);
    let data = inks.repeat(64);
    encoder
        .encode(&data, 8, 8, jpeg_encoder::ColorType::Cmyk)
        .unwrap();
    bytes
}

/// A JPEG's first segment made EXIF with an orientation.
pub fn with_exif(jpeg: &[u8], orientation: u8) -> Vec<u8> {
    let body = [b"Exif\0\0".as_slice(), &exif(orientation)].concat();
    let len = (body.len() as u16 + 2).to_be_bytes();
    [&jpeg[..2], b"\xff\xe1", &len, &body, &jpeg[2..]].concat()
}

pub fn exif(orientation: u8) -> Vec<u8> {
    tiff(&[(274, vec![orientation.into()])], &[])
}

pub struct Png<'a> {
    pub size: (u32, u32),
    pub color: png::ColorType,
    pub depth: png::BitDepth,
    pub palette: Option<Vec<u8>>,
    pub transparency: Option<Vec<u8>>,
    pub exif: Option<u8>,
    pub xmp: Option<&'a str>,
}

impl Default for Png<'_> {
    fn default() -> Self {
        Self {
            size: (WIDTH, HEIGHT),
            color: png::ColorType::Rgb,
            depth: png::BitDepth::Eight,
            palette: None,
            transparency: None,
            exif: None,
            xmp: None,
        }
    }
}

impl Png<'_> {
    pub fn encode(self, data: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, self.size.0, self.size.1);
        encoder.set_color(self.color);
        encoder.set_depth(self.depth);
        if let Some(palette) = self.palette {
            encoder.set_palette(palette);
        }
        if let Some(transparency) = self.transparency {
            encoder.set_trns(transparency);
        }
        if let Some(xmp) = self.xmp {
            encoder
                .add_itxt_chunk("XML:com.adobe.xmp".into(), xmp.into())
                .unwrap();
        }
        let mut writer = encoder.write_header().unwrap();
        if let Some(orientation) = self.exif {
            writer
                .write_chunk(png::chunk::eXIf, &exif(orientation))
                .unwrap();
        }
        writer.write_image_data(data).unwrap();
        drop(writer);
        bytes
    }
}

pub fn png() -> Vec<u8> {
    Png::default().encode(&pixels())
}

pub fn webp(color: ExtendedColorType, data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let encoder = image::codecs::webp::WebPEncoder::new_lossless(&mut bytes);
    encoder.write_image(data, WIDTH, HEIGHT, color).unwrap();
    bytes
}

pub fn bmp() -> Vec<u8> {
    let mut bytes = Vec::new();
    let encoder = image::codecs::bmp::BmpEncoder::new(&mut bytes);
    encoder
        .write_image(&pixels(), WIDTH, HEIGHT, ExtendedColorType::Rgb8)
        .unwrap();
    bytes
}

/// A frame of `size` at `at` on a screen of `screen`, in four colours.
pub fn gif(
    screen: (u16, u16),
    at: (u16, u16),
    size: (u16, u16),
    transparent: Option<u8>,
) -> Vec<u8> {
    let palette = [255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 0];
    let mut bytes = Vec::new();
    let mut encoder = gif::Encoder::new(&mut bytes, screen.0, screen.1, &palette).unwrap();
    let frame = gif::Frame {
        left: at.0,
        top: at.1,
        width: size.0,
        height: size.1,
        transparent,
        buffer: (0..size.0 * size.1).map(|at| (at % 4) as u8).collect(),
        ..gif::Frame::default()
    };
    encoder.write_frame(&frame).unwrap();
    drop(encoder);
    bytes
}

/// A little-endian TIFF: numbers of 32 bits, the data at offset 8.
pub fn tiff(tags: &[(u16, Vec<u32>)], data: &[u8]) -> Vec<u8> {
    let directory = (8 + data.len()).next_multiple_of(2);
    let mut bytes = [b"II*\0".as_slice(), &(directory as u32).to_le_bytes(), data].concat();
    bytes.resize(directory, 0);
    let mut beyond = directory + 2 + tags.len() * 12 + 4;
    let mut values = Vec::new();
    bytes.extend((tags.len() as u16).to_le_bytes());
    for (tag, numbers) in tags {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(4u16.to_le_bytes());
        bytes.extend((numbers.len() as u32).to_le_bytes());
        match numbers.as_slice() {
            [number] => bytes.extend(number.to_le_bytes()),
            _ => {
                bytes.extend((beyond as u32).to_le_bytes());
                values.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
                beyond += numbers.len() * 4;
            }
        }
    }
    bytes.extend(0u32.to_le_bytes());
    bytes.extend(values);
    // EXIF's orientation is a short in TIFF's own words, and a reader may insist.
    for (index, _) in tags.iter().enumerate().filter(|(_, (tag, _))| *tag == 274) {
        bytes[directory + 2 + index * 12 + 2] = 3;
    }
    bytes
}

/// Tags of a picture in one strip; `more` comes in place of these where it has the same tag.
pub fn strip(
    size: (u32, u32),
    bits: &[u32],
    photometric: u32,
    more: &[(u16, Vec<u32>)],
    data: &[u8],
) -> Vec<u8> {
    let mut tags = vec![
        (256, vec![size.0]),
        (257, vec![size.1]),
        (258, bits.to_vec()),
        (259, vec![1]),
        (262, vec![photometric]),
        (273, vec![8]),
        (277, vec![bits.len() as u32]),
        (279, vec![data.len() as u32]),
    ];
    for (tag, values) in more {
        tags.retain(|(own, _)| own != tag);
        tags.push((*tag, values.clone()));
    }
    tags.sort_by_key(|(tag, _)| *tag);
    tiff(&tags, data)
}

pub fn rgb_tiff() -> Vec<u8> {
    strip((WIDTH, HEIGHT), &[8, 8, 8], 2, &[], &pixels())
}

/// One whole file of each format.
pub fn each_format() -> [(&'static str, Vec<u8>); 7] {
    [
        ("jpeg", jpeg(false, false)),
        ("progressive jpeg", jpeg(true, false)),
        ("png", png()),
        ("webp", webp(ExtendedColorType::Rgb8, &pixels())),
        ("gif", gif((21, 13), (0, 0), (21, 13), None)),
        ("tiff", rgb_tiff()),
        ("bmp", bmp()),
    ]
}
