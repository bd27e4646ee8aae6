//! What the command line of a unikernel says about its network, in the form that MirageOS and our own library OS share:
//! `--ipv4=10.0.0.2/24 --ipv4-gateway=10.0.0.1`.

use std::fmt::Display;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use palisade_machine::{Fixed, Interface};

/// The interface that a unikernel's command line describes.
///
/// # Errors
/// One line that says which argument cannot be understood.
pub(crate) fn interface(owner: &str, line: &str) -> Result<Interface, String> {
    let words = words(line);
    Ok(Interface {
        owner: owner.to_owned(),
        ipv4: fixed::<Ipv4Addr>(&words, "ipv4", "10.0.0.2/24")?,
        ipv6: fixed::<Ipv6Addr>(&words, "ipv6", "fd00::2/64")?,
    })
}

/// The value of an argument that is a port, if it is there.
pub(crate) fn port(line: &str, name: &str) -> Option<u16> {
    value(&words(line), name)?.parse().ok()
}

fn fixed<A: FromStr + Display>(
    words: &[String],
    name: &str,
    example: &str,
) -> Result<Option<Fixed<A>>, String> {
    let Some(text) = value(words, name) else { return Ok(None) };
    let wrong = || format!("--{name}={text}: not an address with a prefix, such as {example}");
    let (address, prefix) = text.split_once('/').ok_or_else(wrong)?;
    let address = address.parse().map_err(|_| wrong())?;
    let prefix = prefix.parse().map_err(|_| wrong())?;
    let gateway = match value(words, &format!("{name}-gateway")) {
        Some(text) => {
            Some(text.parse().map_err(|_| format!("--{name}-gateway={text}: not an address of its kind"))?)
        }
        None => None,
    };
    Ok(Some(Fixed { address, prefix, gateway }))
}

/// The value in `--name=value` or `--name value`.
fn value<'a>(words: &'a [String], name: &str) -> Option<&'a str> {
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let Some(rest) = word.strip_prefix("--").and_then(|word| word.strip_prefix(name)) else { continue };
        match rest.strip_prefix('=') {
            Some(value) => return Some(value),
            None if rest.is_empty() => return words.next().map(String::as_str),
            None => {}
        }
    }
    None
}

/// Splits at white space outside of quotation marks, which vanish; a backslash takes the next character as it is.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match (character, quote) {
            ('\\', _) => word.get_or_insert_default().extend(characters.next()),
            (c, Some(open)) if c == open => quote = None,
            ('"' | '\'', None) => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (c, None) if c.is_whitespace() => words.extend(word.take()),
            (c, _) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_among_other_arguments() {
        let line = r#"-l debug --motd="--ipv4=1.1.1.1/8 is not it" --ipv4=192.168.254.10/24 --ipv4-gateway 192.168.254.1"#;
        let interface = interface("x", line).expect("it can be understood");
        let address = Ipv4Addr::new(192, 168, 254, 10);
        let gateway = Some(Ipv4Addr::new(192, 168, 254, 1));
        assert_eq!(interface.ipv4, Some(Fixed { address, prefix: 24, gateway }));
        assert_eq!(interface.ipv6, None);
    }

    #[test]
    fn without_addresses_there_is_nothing_fixed() {
        for line in ["", "--ipv4-only", "--ipv4-gateway=10.0.0.1", "--ipv4", "hello 'world"] {
            assert_eq!(
                interface("x", line),
                Ok(Interface { owner: "x".into(), ..Interface::default() }),
                "{line}"
            );
        }
    }

    #[test]
    fn what_is_no_address_is_named() {
        for (line, part) in [
            ("--ipv4=10.0.0.2", "--ipv4=10.0.0.2: "),
            ("--ipv4=10.0.0.2/x", "such as 10.0.0.2/24"),
            ("--ipv4=fd00::2/64", "--ipv4=fd00::2/64: "),
            ("--ipv6=fd00::2/64 --ipv6-gateway=10.0.0.1", "--ipv6-gateway=10.0.0.1: "),
        ] {
            let said = interface("x", line).expect_err(line);
            assert!(said.contains(part), "{said}");
        }
    }

    #[test]
    fn ports_are_read_where_they_are_given() {
        assert_eq!(port("--https=4433 --http 8080", "https"), Some(4433));
        assert_eq!(port("--https=4433 --http 8080", "http"), Some(8080));
        assert_eq!(port("--https=none", "https"), None);
    }
}
