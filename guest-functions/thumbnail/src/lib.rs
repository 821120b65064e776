//! A function: thumbnails of every picture that lands in a bucket.

pub mod config;
pub mod encode;
pub mod geometry;
pub mod naming;
pub mod render;
