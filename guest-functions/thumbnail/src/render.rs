//! One picture in, all its thumbnails out.

use kinglet_image_input::{Filter, Picture, Rejection, ResizeError, decode};

use crate::config::{Config, Size};
use crate::encode::{EncodeError, Encoded, encode};
use crate::geometry::Plan;

/// One output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thumbnail {
    /// The box that was asked for, which names the output.
    pub size: Size,
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
    /// What `bytes` are.
    pub format: Encoded,
    /// The file.
    pub bytes: Vec<u8>,
}

/// Why there are no thumbnails.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RenderError {
    /// The input can't be used, now or later.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// A fault of ours.
    #[error(transparent)]
    Resize(#[from] ResizeError),
    /// A fault of ours.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

/// Makes every size of one picture, decoding once; in the order of `config.sizes`.
///
/// Each size is resampled from the full picture by Lanczos, in the orientation it is stored in, and
/// turned upright when small. The full picture is held once.
///
/// # Errors
/// [`RenderError::Rejected`] when the bytes can't be used; no output is made then.
pub fn render(bytes: &[u8], config: &Config) -> Result<Vec<Thumbnail>, RenderError> {
    let picture = decode(bytes, &config.limits)?;
    let format = config.format.choose(&picture);
    let plans: Vec<(Size, Plan)> = config
        .sizes
        .iter()
        .map(|&size| {
            (
                size,
                Plan::new(picture.upright_size(), size, config.mode, config.upscale),
            )
        })
        .collect();
    let finish = |size: Size, small: Picture| -> Result<Thumbnail, RenderError> {
        let small = small.upright();
        let (width, height) = (small.width, small.height);
        let bytes = encode(small, format, config.quality)?;
        Ok(Thumbnail {
            size,
            width,
            height,
            format,
            bytes,
        })
    };

    // Copies come first: multiplying by alpha, which resampling needs, loses colours.
    let mut done = Vec::with_capacity(plans.len());
    for (index, (size, plan)) in plans
        .iter()
        .enumerate()
        .filter(|(_, (_, p))| p.is_unscaled())
    {
        let part = picture.stored_region(plan.region);
        let cut = picture.cut(
            part.left as u32,
            part.top as u32,
            part.width as u32,
            part.height as u32,
        );
        done.push((index, finish(*size, cut)?));
    }
    let source = picture.premultiply();
    for (index, (size, plan)) in plans
        .iter()
        .enumerate()
        .filter(|(_, (_, p))| !p.is_unscaled())
    {
        let part = source.picture().stored_region(plan.region);
        let stored = source
            .picture()
            .stored_size((plan.size.width, plan.size.height));
        done.push((
            index,
            finish(*size, source.resize(part, stored, Filter::Lanczos)?)?,
        ));
    }
    done.sort_by_key(|(index, _)| *index);
    Ok(done.into_iter().map(|(_, thumbnail)| thumbnail).collect())
}

#[cfg(test)]
mod tests {
    use image::{DynamicImage, GenericImageView, ImageFormat, Rgb, RgbImage, Rgba, RgbaImage};

    use super::*;

    /// The left half red, the right half blue.
    fn halves(width: u32, height: u32) -> RgbImage {
        let colors = [Rgb([255, 0, 0]), Rgb([0, 0, 255])];
        RgbImage::from_fn(width, height, |x, _| colors[usize::from(x >= width / 2)])
    }

    fn png(image: impl Into<DynamicImage>) -> Vec<u8> {
        let mut bytes = std::io::Cursor::new(Vec::new());
        image.into().write_to(&mut bytes, ImageFormat::Png).unwrap();
        bytes.into_inner()
    }

    fn jpeg(image: &RgbImage, orientation: u8) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = jpeg_encoder::Encoder::new(&mut bytes, 98);
        let tag = [0x12, 1, 3, 0, 1, 0, 0, 0, orientation, 0, 0, 0];
        let exif = [b"Exif\0\0II*\0\x08\0\0\0\x01\0".as_slice(), &tag, &[0; 4]].concat();
        encoder.add_app_segment(1, exif).unwrap();
        let (width, height) = (image.width() as u16, image.height() as u16);
        encoder
            .encode(image, width, height, jpeg_encoder::ColorType::Rgb)
            .unwrap();
        bytes
    }

    fn settings(pairs: &[(&str, &str)]) -> Config {
        Config::from_pairs(pairs.iter().copied()).unwrap()
    }

    fn open(thumbnail: &Thumbnail) -> DynamicImage {
        // Of the formats that are written, `image` reads only these two in this crate.
        let opened = image::load_from_memory(&thumbnail.bytes).unwrap();
        assert_eq!(opened.dimensions(), (thumbnail.width, thumbnail.height));
        opened
    }

    #[test]
    fn several_sizes_in_each_mode() {
        let cases = [
            ("fit", "false", [(20, 10), (40, 20), (80, 40)]),
            ("fit", "true", [(20, 10), (100, 50), (200, 100)]),
            ("fill", "false", [(20, 20), (40, 40), (40, 40)]),
            ("fill", "true", [(20, 20), (100, 100), (200, 200)]),
            ("crop", "true", [(20, 20), (80, 40), (80, 40)]),
        ];
        for (mode, upscale, expected) in cases {
            // Neither the largest nor the smallest first.
            let sizes = if expected[1] == (40, 20) {
                "20,40,200"
            } else {
                "20,100,200"
            };
            let config = settings(&[("sizes", sizes), ("mode", mode), ("upscale", upscale)]);
            let made = render(&png(halves(80, 40)), &config).unwrap();
            let found: Vec<_> = made.iter().map(|t| open(t).dimensions()).collect();
            assert_eq!(found, expected, "{mode}, upscale {upscale}");
            let boxes: Vec<_> = made.iter().map(|t| t.size).collect();
            assert_eq!(boxes, config.sizes);
            for thumbnail in &made {
                let image = open(thumbnail).into_rgb8();
                let (right, middle) = (image.width() - 1, image.height() / 2);
                assert_eq!(image.get_pixel(0, middle).0, [255, 0, 0], "{mode}");
                assert_eq!(image.get_pixel(right, middle).0, [0, 0, 255], "{mode}");
            }
        }
    }

    #[test]
    fn turned_pictures_are_cut_and_scaled_upright() {
        for (mode, expected) in [("fit", (10, 20)), ("fill", (20, 20)), ("crop", (20, 20))] {
            // Stored with red on the left; upright, orientation 6 has it on top.
            let config = settings(&[("sizes", "20"), ("mode", mode), ("format", "png")]);
            let made = render(&jpeg(&halves(80, 40), 6), &config).unwrap();
            let image = open(&made[0]).into_rgb8();
            assert_eq!(image.dimensions(), expected, "{mode}");
            let (middle, bottom) = (image.width() / 2, image.height() - 1);
            assert!(image.get_pixel(middle, 0)[0] > 240, "{mode}");
            assert!(image.get_pixel(middle, bottom)[2] > 240, "{mode}");
        }
    }

    #[test]
    fn transparency_is_kept_or_lies_on_white() {
        let clear = RgbaImage::from_pixel(40, 40, Rgba([255, 0, 0, 0]));
        for (format, expected) in [("png", [0, 0, 0, 0]), ("webp", [0, 0, 0, 0])] {
            let config = settings(&[("sizes", "20"), ("format", format)]);
            let made = render(&png(clear.clone()), &config).unwrap();
            assert_eq!(
                open(&made[0]).into_rgba8().get_pixel(9, 9).0,
                expected,
                "{format}"
            );
        }
        let config = settings(&[("sizes", "20"), ("format", "jpeg")]);
        let made = render(&png(clear), &config).unwrap();
        let again = decode(&made[0].bytes, &config.limits).unwrap();
        assert!(again.pixels.iter().all(|sample| *sample > 250), "{again:?}");
    }

    /// Multiplying by alpha rounds faint colours away; pixels that aren't scaled keep them, also
    /// where other sizes of the same picture are scaled.
    #[test]
    fn unscaled_pixels_are_untouched() {
        let faint = RgbaImage::from_fn(30, 30, |x, y| Rgba([x as u8 * 8, y as u8 * 8, 77, 3]));
        let config = settings(&[("sizes", "10,30,500"), ("format", "png")]);
        let made = render(&png(faint.clone()), &config).unwrap();
        assert_eq!(open(&made[1]).into_rgba8(), faint);
        assert_eq!(open(&made[2]).into_rgba8(), faint);
    }

    #[test]
    fn auto_keeps_transparency_and_edges() {
        let opaque = halves(8, 8);
        let clear = RgbaImage::from_pixel(8, 8, Rgba([1, 2, 3, 4]));
        let webp = |image: DynamicImage| {
            let mut bytes = std::io::Cursor::new(Vec::new());
            image.write_to(&mut bytes, ImageFormat::WebP).unwrap();
            bytes.into_inner()
        };
        let cases = [
            ("jpeg", jpeg(&opaque, 1), Encoded::Jpeg),
            ("png", png(opaque.clone()), Encoded::Png),
            ("webp", webp(opaque.into()), Encoded::Jpeg),
            ("clear webp", webp(clear.into()), Encoded::Png),
        ];
        for (name, bytes, expected) in cases {
            let made = render(&bytes, &Config::default()).unwrap();
            assert_eq!(made[0].format, expected, "{name}");
        }
    }

    #[test]
    fn quality_is_jpegs() {
        let noise = RgbImage::from_fn(64, 64, |x, y| Rgb([((x * 37) ^ (y * 101)) as u8; 3]));
        let len = |quality, format| {
            let config = settings(&[("quality", quality), ("format", format)]);
            render(&png(noise.clone()), &config).unwrap()[0].bytes.len()
        };
        assert!(len("30", "jpeg") < len("95", "jpeg"));
        assert_eq!(len("30", "webp"), len("95", "webp"));
    }

    #[test]
    fn one_pixel_and_slivers() {
        for (width, height) in [(1, 1), (1, 3000), (3000, 1)] {
            for mode in ["fit", "fill", "crop"] {
                let config = settings(&[("sizes", "64x32"), ("mode", mode)]);
                let made = render(&png(halves(width, height)), &config).unwrap();
                assert!(
                    made[0].width <= 64 && made[0].height <= 32,
                    "{width}x{height}, {mode}"
                );
            }
        }
    }

    #[test]
    fn a_rejection_has_the_decoders_reason() {
        let error = render(b"words", &Config::default()).unwrap_err();
        assert!(matches!(
            error,
            RenderError::Rejected(Rejection::UnknownFormat { .. })
        ));
    }
}
