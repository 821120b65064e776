//! What is written in a URL with `%` and `+`.

use crate::Attributes;

/// The pairs of a query, as forms write them. What isn't UTF-8 has U+FFFD in its place.
pub fn pairs(query: &str) -> Attributes {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let decoded = |text: &str| decode(&text.replace('+', " "));
    let pairs = pairs.map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(name), decoded(value))
    });
    Attributes(pairs.collect())
}

/// A text with `%20` and the like in it. A `%` that two hexadecimal digits don't follow stands for itself.
pub fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let digits = (after.first(), after.get(1));
        let encoded = match digits {
            (Some(&high), Some(&low)) if byte == b'%' => digit(high).zip(digit(low)),
            _ => None,
        };
        match encoded {
            Some((high, low)) => {
                bytes.push(high << 4 | low);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_decoded() {
        for (text, decoded) in [
            ("", ""),
            ("wren", "wren"),
            ("a%20b", "a b"),
            ("%C3%A9%c3%a9", "éé"),
            ("100%", "100%"),
            ("%4", "%4"),
            ("%zz%%41", "%zz%A"),
            ("a+b", "a+b"),
            ("%ff", "\u{fffd}"),
            ("é", "é"),
        ] {
            assert_eq!(decode(text), decoded, "{text}");
        }
    }

    #[test]
    fn queries_are_pairs() {
        let found = pairs("a=1&b=x+y&&c&a=2&d=%26%3D&=e&f=g=h");
        let found: Vec<_> = found.iter().collect();
        assert_eq!(
            found,
            [
                ("a", "1"),
                ("b", "x y"),
                ("c", ""),
                ("a", "2"),
                ("d", "&="),
                ("", "e"),
                ("f", "g=h"),
            ]
        );
        assert_eq!(pairs("").iter().count(), 0);
    }
}
