//! The image corpora, through the real host.

pub fn check() -> anyhow::Result<()> {
    anyhow::bail!("being written")
}
