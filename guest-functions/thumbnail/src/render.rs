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
