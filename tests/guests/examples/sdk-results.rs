//! A small API over results: objects of a bucket, read by what the path names, with a setting.

use kinglet_sdk::{Bucket, Config, Error, Failure, Request, Response};

#[kinglet_sdk::http]
fn results(request: Request) -> Result<Response, Failure> {
    let kind: String = Config::get_or("kind", "text/plain".to_owned())?;
    let name = request.parameter("name").ok_or("the route has a {name}")?;
    kinglet_sdk::info!("asked for {name}");
    match Bucket::open("results")?.read(name) {
        Ok(result) => Ok(Response::bytes(result, &kind)),
        Err(Error::NotFound(_)) => Ok(Response::text(format!("no result {name}\n")).status(404)),
        Err(error) => Err(error.into()),
    }
}
