//! Answers requests for `/fahrenheit/21.5` with that many degrees Celsius in degrees Fahrenheit; `?digits=3` has it
//! more exactly.

use kinglet_sdk::{Failure, Request, Response};

#[kinglet_sdk::http("/fahrenheit/{celsius}")]
fn handle(request: Request) -> Result<Response, Failure> {
    // The route above names it, on every host. `?` on an error answers 500, and the logs have the
    // error.
    let celsius = request
        .parameter("celsius")
        .ok_or("the route has no {celsius}")?;

    // A request that can't be answered is a 400, with the reason for whoever sent it.
    let celsius: f64 = celsius.parse().map_err(Failure::reject)?;
    let digits: usize = match request.query().get("digits") {
        Some(digits) => digits.parse().map_err(Failure::reject)?,
        None => 1,
    };
    if digits > 9 {
        return Err(Failure::reject("at most 9 digits"));
    }
    let answer = format!("{:.digits$}\n", fahrenheit(celsius));
    Ok(Response::text(answer).header("cache-control", "max-age=3600"))
}

fn fahrenheit(celsius: f64) -> f64 {
    celsius * 9.0 / 5.0 + 32.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use kinglet_sdk::testing::Host;

    #[test]
    fn degrees_are_converted() {
        let host = Host::new();
        let request = host.request("GET", "/fahrenheit/21.5");
        let response = host.respond(handle, request);
        assert_eq!(
            (response.status, response.text()),
            (200, "70.7\n".to_owned())
        );

        let request = host.request("GET", "/fahrenheit/-40?digits=3");
        assert_eq!(host.respond(handle, request).text(), "-40.000\n");
    }

    #[test]
    fn what_is_no_number_is_rejected() {
        let host = Host::new();
        let response = host.respond(handle, host.request("GET", "/fahrenheit/warm"));
        assert_eq!(response.status, 400);
        assert_eq!(response.text(), "invalid float literal\n");

        // No route has this path.
        let response = host.respond(handle, host.request("GET", "/celsius/70"));
        assert_eq!(response.status, 404);
    }
}
