//! Converts every reading on the topic `inbox`, in degrees Celsius such as `21.5`, and publishes it in
//! degrees Fahrenheit to `outbox`.

use kinglet_sdk::{Config, Draft, Failure, Message, Topic};

#[kinglet_sdk::message]
fn handle(event: Message) -> Result<(), Failure> {
    // A setting of kinglet.toml, or its default. `?` on an error asks for another attempt.
    let alarm: f64 = Config::get_or("alarm", 30.0)?;

    // No attempt makes a number of what isn't one: the event goes to the dead letters at once.
    let text = event.text().map_err(Failure::reject)?;
    let celsius: f64 = text.trim().parse().map_err(Failure::reject)?;
    if celsius > alarm {
        kinglet_sdk::warn!("{celsius} °C is above {alarm} °C");
    }

    // Staged until this function succeeds, discarded if it doesn't.
    let level = if celsius > alarm { "alarm" } else { "normal" };
    let reading = Draft::new(format!("{:.1}", fahrenheit(celsius)))
        .content_type("text/plain")
        .attribute("level", level);
    Topic::open("outbox")?.publish(reading)?;
    Ok(())
}

fn fahrenheit(celsius: f64) -> f64 {
    celsius * 9.0 / 5.0 + 32.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use kinglet_sdk::testing::Host;

    #[test]
    fn a_reading_is_converted() {
        let host = Host::new();
        host.topic("outbox");

        assert_eq!(host.run(handle, host.message("inbox", "21.5")), Ok(()));
        let readings = host.topic("outbox").messages();
        assert_eq!(readings[0].text(), "70.7");
        assert_eq!(readings[0].attributes.get("level"), Some("normal"));
    }

    #[test]
    fn what_is_no_number_is_rejected() {
        let host = Host::new();
        host.topic("outbox");

        let outcome = host.run(handle, host.message("inbox", "warm"));
        assert_eq!(outcome, Err(Failure::reject("invalid float literal")));
        assert!(host.topic("outbox").messages().is_empty());
    }
}
