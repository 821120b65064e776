#[kinglet_sdk::init]
fn takes(_event: kinglet_sdk::Message) {}

mod waits {
    #[kinglet_sdk::init]
    async fn prepare() {}
}

mod with_arguments {
    #[kinglet_sdk::init("table")]
    fn prepare() {}
}

mod not_a_function {
    #[kinglet_sdk::init]
    static TABLE: [u8; 4] = [0; 4];
}

fn main() {}
