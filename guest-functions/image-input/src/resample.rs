use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, MulDiv, PixelType, ResizeAlg, ResizeOptions, Resizer};

use crate::{Layout, Picture};

/// A rectangle of a picture in pixels; its edges may lie within pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Region {
    /// Pixels left of it.
    pub left: f64,
    /// Pixels above it.
    pub top: f64,
    /// Pixels across.
    pub width: f64,
    /// Pixels down.
    pub height: f64,
}

impl Region {
    /// A whole picture of this size.
    pub fn whole((width, height): (u32, u32)) -> Self {
        Self {
            left: 0.0,
            top: 0.0,
            width: width.into(),
            height: height.into(),
        }
    }
}

/// Convolution filters, antialiased when downscaling: Pillow's of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// Support of 1 pixel.
    Bilinear,
    /// Support of 2 pixels, a = -0.5.
    Bicubic,
    /// Support of 3 pixels.
    Lanczos,
}

/// The filter failed on sizes that its caller had made up.
#[derive(Debug, thiserror::Error)]
#[error("resizing to {width}x{height} pixels failed")]
#[non_exhaustive]
pub struct ResizeError {
    /// Pixels across asked for.
    pub width: u32,
    /// Pixels down asked for.
    pub height: u32,
    /// What the resizer said.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// A picture whose colours are multiplied by its alpha, as resampling needs: a transparent pixel's
/// colour must not bleed into its neighbours.
#[derive(Debug)]
pub struct Premultiplied(Picture);

impl Picture {
    /// Multiplies in place, once for every size that is to be made; nothing to do without alpha.
    pub fn premultiply(mut self) -> Premultiplied {
        if self.layout == Layout::Rgba
            && let Ok(mut image) =
                Image::from_slice_u8(self.width, self.height, &mut self.pixels, PixelType::U8x4)
        {
            // Fails for other pixel types only.
            let _ = MulDiv::new().multiply_alpha_inplace(&mut image);
        }
        Premultiplied(self)
    }
}

impl Premultiplied {
    /// The picture, its colours still multiplied; its size and orientation are what they were.
    pub fn picture(&self) -> &Picture {
        &self.0
    }

    /// Resamples `region` of the stored picture to `width` x `height` pixels, at once from the
    /// full picture, with straight alpha again.
    ///
    /// # Errors
    /// [`ResizeError`] when the region lies outside the picture or a side is 0.
    pub fn resize(
        &self,
        region: Region,
        (width, height): (u32, u32),
        filter: Filter,
    ) -> Result<Picture, ResizeError> {
        let failed = |source| ResizeError {
            width,
            height,
            source,
        };
        let source = &self.0;
        let pixel_type = match source.layout {
            Layout::Gray => PixelType::U8,
            Layout::Rgb => PixelType::U8x3,
            Layout::Rgba => PixelType::U8x4,
        };
        let filter = match filter {
            Filter::Bilinear => FilterType::Bilinear,
            Filter::Bicubic => FilterType::CatmullRom,
            Filter::Lanczos => FilterType::Lanczos3,
        };
        let from = ImageRef::new(source.width, source.height, &source.pixels, pixel_type)
            .map_err(|error| failed(error.into()))?;
        let mut to = Image::new(width, height, pixel_type);
        let options = ResizeOptions::new()
            .resize_alg(ResizeAlg::Convolution(filter))
            .crop(region.left, region.top, region.width, region.height)
            .use_alpha(false);
        Resizer::new()
            .resize(&from, &mut to, &options)
            .map_err(|error| failed(error.into()))?;
        if source.layout == Layout::Rgba {
            MulDiv::new()
                .divide_alpha_inplace(&mut to)
                .map_err(|error| failed(error.into()))?;
        }
        Ok(Picture {
            width,
            height,
            pixels: to.into_vec(),
            ..*source
        })
    }
}
