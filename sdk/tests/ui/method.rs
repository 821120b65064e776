use kinglet_sdk::Failure;

struct Thumbnail;

impl Thumbnail {
    #[kinglet_sdk::object_created]
    fn handle(&self) -> Result<(), Failure> {
        Ok(())
    }
}

fn main() {}
