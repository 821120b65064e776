//! What a valid manifest says and probably doesn't mean.

use super::{Function, Manifest, Source};

impl Manifest {
    /// Sentences about one function: nothing is wrong with it, and something of it may do nothing.
    pub fn advice(&self, function: &Function) -> Vec<String> {
        let mut advice = Vec::new();
        if let Source::Bucket(bucket) = function.on.source()
            && !function
                .grants
                .read
                .iter()
                .any(|grant| grant.bucket == bucket)
        {
            advice.push(format!(
                "objects in {bucket:?} wake it and it may not read them; add `grants = {{ read = \
                 [\"{bucket}\"] }}`"
            ));
        }
        if let Some(bucket) = &function.on.object_created {
            let suffixes = function.on.suffix.iter();
            for suffix in suffixes.filter(|suffix| self.is_unfinished(bucket, suffix)) {
                advice.push(format!(
                    "names that end with {suffix:?} are of unfinished files, which wake nobody; list the endings \
                     that are in `buckets.{bucket}.unfinished`"
                ));
            }
        }
        for topic in &function.grants.publish {
            if self.woken_by_message(topic).is_empty() {
                advice.push(format!(
                    "it may publish to {topic:?}, which wakes no function: such messages are gone"
                ));
            }
        }
        advice
    }
}
