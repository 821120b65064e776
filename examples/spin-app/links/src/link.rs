//! Links, and where they are kept.

use serde::{Deserialize, Serialize};
use spin_sdk::key_value::Store;

#[derive(Deserialize, Serialize)]
pub struct Link {
    pub url: String,
    #[serde(default)]
    pub visits: u64,
}

#[derive(Deserialize)]
pub struct Named {
    pub name: String,
    #[serde(flatten)]
    pub link: Link,
}

impl Named {
    pub fn is_good(&self) -> bool {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
        let url = &self.link.url;
        !self.name.is_empty()
            && self.name.chars().all(plain)
            && (url.starts_with("https://") || url.starts_with("http://"))
            && url.chars().all(|c| c.is_ascii_graphic())
    }
}

/// All links: the values of a store, by name.
pub struct Links(Store);

impl Links {
    pub async fn open() -> anyhow::Result<Self> {
        Ok(Self(Store::open_default().await?))
    }

    pub async fn get(&self, name: &str) -> anyhow::Result<Option<Link>> {
        self.0.get_json(name).await
    }

    pub async fn set(&self, name: &str, link: &Link) -> anyhow::Result<()> {
        self.0.set_json(name, link).await
    }

    pub async fn exists(&self, name: &str) -> anyhow::Result<bool> {
        Ok(self.0.exists(name).await?)
    }

    pub async fn delete(&self, name: &str) -> anyhow::Result<()> {
        Ok(self.0.delete(name).await?)
    }

    /// In no order that a host promises.
    pub async fn names(&self) -> anyhow::Result<Vec<String>> {
        let mut names = self.0.get_keys().await.collect().await?;
        names.sort_unstable();
        Ok(names)
    }
}
