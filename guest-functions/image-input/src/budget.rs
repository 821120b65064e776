use crate::Rejection;

/// How much a picture may take. Checked against the header, before memory is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most pixels, width times height.
    pub max_pixels: u64,
    /// Most bytes that may be held at once: the file and what decoding allocates.
    pub max_bytes: u64,
}

impl Default for Limits {
    /// 50 million pixels and 224 MiB: leaves room for outputs where a function runs within 256 MiB,
    /// and suffices for 24 megapixels in any format, progressive JPEG without halved chroma too.
    fn default() -> Self {
        Self {
            max_pixels: 50_000_000,
            max_bytes: 224 << 20,
        }
    }
}

impl Limits {
    /// Checks an object's size before it is read.
    ///
    /// # Errors
    /// [`Rejection::FileTooLarge`] when the file alone is over [`Limits::max_bytes`].
    pub fn check_file(&self, bytes: u64) -> Result<(), Rejection> {
        if bytes > self.max_bytes {
            return Err(Rejection::FileTooLarge {
                bytes,
                max_bytes: self.max_bytes,
            });
        }
        Ok(())
    }
}

/// Limits, and the file that is held throughout.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    pub limits: Limits,
    pub file_bytes: u64,
}

impl Budget {
    /// What decoding may allocate.
    pub fn left(&self) -> u64 {
        self.limits.max_bytes.saturating_sub(self.file_bytes)
    }
}

/// What a header declares and decoding it takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Demand {
    pub width: u32,
    pub height: u32,
    /// Bytes held at the peak of decoding.
    pub bytes: u64,
}

impl Demand {
    pub fn per_pixel(width: u32, height: u32, bytes_per_pixel: u64) -> Self {
        let bytes = (u64::from(width) * u64::from(height)).saturating_mul(bytes_per_pixel);
        Self {
            width,
            height,
            bytes,
        }
    }

    pub fn check(self, budget: &Budget) -> Result<(), Rejection> {
        let Self {
            width,
            height,
            bytes,
        } = self;
        let Limits {
            max_pixels,
            max_bytes,
        } = budget.limits;
        if u64::from(width) * u64::from(height) > max_pixels {
            return Err(Rejection::TooLarge {
                width,
                height,
                max_pixels,
            });
        }
        if bytes > budget.left() {
            let needed_bytes = bytes.saturating_add(budget.file_bytes);
            return Err(Rejection::TooMuchMemory {
                width,
                height,
                needed_bytes,
                max_bytes,
            });
        }
        Ok(())
    }
}
