struct NoDisplay;

#[kinglet_sdk::init]
fn prepare() -> Vec<u8> {
    Vec::new()
}

mod elsewhere {
    #[kinglet_sdk::init]
    fn prepare() -> Result<(), crate::NoDisplay> {
        Ok(())
    }
}

fn main() {}
