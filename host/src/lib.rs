//! Kinglet.
