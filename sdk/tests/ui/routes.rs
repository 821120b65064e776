use kinglet_sdk::{Request, Response};

mod no_slash {
    #[kinglet_sdk::http("results/{id}")]
    fn api(_request: super::Request) -> super::Response {
        super::Response::new(200)
    }
}

mod part_of_a_segment {
    #[kinglet_sdk::http("/ok", "/results/{id}.json")]
    fn api(_request: super::Request) -> super::Response {
        super::Response::new(200)
    }
}

mod twice {
    #[kinglet_sdk::http("/results/{id}", "/results/{name}")]
    fn api(_request: super::Request) -> super::Response {
        super::Response::new(200)
    }
}

mod not_a_text {
    #[kinglet_sdk::http(route = "/results")]
    fn api(_request: super::Request) -> super::Response {
        super::Response::new(200)
    }
}

fn main() {}
