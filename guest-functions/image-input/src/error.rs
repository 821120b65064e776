use std::error::Error as _;
use std::io;

use image::error::{LimitErrorKind, UnsupportedErrorKind};

use crate::Format;

/// Why an input can't be used. The reason lies in the bytes, so another attempt gives it again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// The object has no bytes.
    #[error("the file is empty")]
    Empty,
    /// The content starts like no format known here.
    #[error(
        "not a picture: starts with {starts_with}; supported are JPEG, PNG, WebP, GIF, TIFF and BMP"
    )]
    UnknownFormat {
        /// The first bytes, in hexadecimal.
        starts_with: String,
    },
    /// The content is recognised, and of another format.
    #[error("{name} pictures aren't supported; convert to JPEG, PNG, WebP, GIF, TIFF or BMP")]
    UnsupportedFormat {
        /// The format's name.
        name: &'static str,
    },
    /// The format is supported; this use of it isn't.
    #[error("unsupported {format}: {feature}")]
    Unsupported {
        /// The file's format.
        format: Format,
        /// What the file uses, as in "JPEG 2000 compression".
        feature: String,
    },
    /// The file alone is larger than decoding may hold.
    #[error("the file has {bytes} bytes, over the limit of {max_bytes}; raise `max-memory`")]
    FileTooLarge {
        /// The file's size.
        bytes: u64,
        /// The limit that was passed.
        max_bytes: u64,
    },
    /// The header declares more pixels than the limit.
    #[error("{width}x{height} pixels are over the limit of {max_pixels}; raise `max-pixels`")]
    TooLarge {
        /// Pixels across, as declared.
        width: u32,
        /// Pixels down, as declared.
        height: u32,
        /// The limit that was passed.
        max_pixels: u64,
    },
    /// Within the limit on pixels, yet decoding would take more memory than allowed.
    #[error(
        "decoding {width}x{height} pixels takes {needed_bytes} bytes, over the limit of {max_bytes}; raise `max-memory`"
    )]
    TooMuchMemory {
        /// Pixels across, as declared.
        width: u32,
        /// Pixels down, as declared.
        height: u32,
        /// The file, and what decoding would allocate at its peak.
        needed_bytes: u64,
        /// The limit that was passed.
        max_bytes: u64,
    },
    /// The file ends before its picture does.
    #[error("truncated {format}: the file ends before the picture does")]
    Truncated {
        /// The file's format.
        format: Format,
    },
    /// The content breaks the rules of its format.
    #[error("corrupt {format}: {reason}")]
    Corrupt {
        /// The file's format.
        format: Format,
        /// What is wrong with it.
        reason: String,
    },
}

impl Rejection {
    pub(crate) fn corrupt(format: Format, reason: impl Into<String>) -> Self {
        Self::Corrupt {
            format,
            reason: reason.into(),
        }
    }

    pub(crate) fn unsupported(format: Format, feature: impl Into<String>) -> Self {
        Self::Unsupported {
            format,
            feature: feature.into(),
        }
    }

    /// The codecs wrap an early end of the file in errors of their own; it is found by its source.
    pub(crate) fn from_codec(format: Format, error: &(dyn std::error::Error + 'static)) -> Self {
        let mut cause = Some(error);
        while let Some(current) = cause {
            let io_ended = current
                .downcast_ref::<io::Error>()
                .is_some_and(|error| error.kind() == io::ErrorKind::UnexpectedEof);
            let gif_ended = match current.downcast_ref::<gif::DecodingError>() {
                Some(gif::DecodingError::UnexpectedEof) => true,
                // A frame's data that end before its last row have no type of their own.
                Some(error) => error.to_string() == "image truncated",
                None => false,
            };
            if io_ended || gif_ended {
                return Self::Truncated { format };
            }
            cause = current.source();
        }
        Self::corrupt(format, tidy(&error.to_string()))
    }

    pub(crate) fn from_image(format: Format, error: &image::ImageError) -> Self {
        match error {
            image::ImageError::Unsupported(error) => match error.kind() {
                UnsupportedErrorKind::GenericFeature(feature) => {
                    Self::unsupported(format, tidy(&feature))
                }
                _ => Self::unsupported(format, tidy(&error.to_string())),
            },
            image::ImageError::Limits(error)
                if error.kind() == LimitErrorKind::InsufficientMemory =>
            {
                Self::corrupt(
                    format,
                    "its parts take more memory than its size accounts for",
                )
            }
            // What it wraps says the same without naming the format twice.
            image::ImageError::Decoding(error) => match error.source() {
                Some(source) => Self::from_codec(format, source),
                None => Self::from_codec(format, error),
            },
            // Its source is the error's own cause, past the error itself.
            image::ImageError::IoError(error) => Self::from_codec(format, error),
            _ => Self::from_codec(format, error),
        }
    }
}

/// One line, bounded: codecs quote what they read, and it ends in logs.
pub(crate) fn tidy(text: &str) -> String {
    const MAX_CHARS: usize = 200;
    text.trim_matches('"')
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(MAX_CHARS)
        .collect()
}
