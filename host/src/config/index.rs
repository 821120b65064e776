//! What wakes whom, by name.

use std::collections::{BTreeMap, HashMap};

use super::{Ingress, Manifest, Source};

/// Places in the manifest's list of functions.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    functions: HashMap<String, usize>,
    /// Every topic that there is, with those that listen to it.
    topics: BTreeMap<String, Vec<usize>>,
    /// Every bucket that wakes somebody.
    buckets: BTreeMap<String, Vec<usize>>,
}

impl Index {
    pub fn new(manifest: &Manifest) -> Self {
        let mut index = Self::default();
        for name in manifest.topics.keys() {
            index.topics.entry(name.clone()).or_default();
        }
        for topic in manifest.ingresses.iter().flat_map(Ingress::topic_names) {
            index.topics.entry(topic.clone()).or_default();
        }
        for (at, function) in manifest.functions.iter().enumerate() {
            // Of two with one name, which is a problem, the first is it.
            index.functions.entry(function.name.clone()).or_insert(at);
            for topic in &function.grants.publish {
                index.topics.entry(topic.clone()).or_default();
            }
            match function.on.source() {
                Source::Topic(topic) => index.topics.entry(topic.to_owned()).or_default().push(at),
                Source::Bucket(bucket) => {
                    index.buckets.entry(bucket.to_owned()).or_default().push(at);
                }
                Source::Schedule(_) | Source::Http(_) => {}
            }
        }
        index
    }

    pub fn function(&self, name: &str) -> Option<usize> {
        self.functions.get(name).copied()
    }

    pub fn topics(&self) -> impl Iterator<Item = &str> {
        self.topics.keys().map(String::as_str)
    }

    pub fn has_topic(&self, name: &str) -> bool {
        self.topics.contains_key(name)
    }

    pub fn listening(&self, topic: &str) -> &[usize] {
        self.topics.get(topic).map_or(&[], Vec::as_slice)
    }

    pub fn buckets(&self) -> impl Iterator<Item = &str> {
        self.buckets.keys().map(String::as_str)
    }

    pub fn watching(&self, bucket: &str) -> &[usize] {
        self.buckets.get(bucket).map_or(&[], Vec::as_slice)
    }
}
