use core::net::Ipv4Addr;

use log::LevelFilter;
use proptest::prelude::*;

use super::*;

static PORT: Argument<u16> = Argument::new("port", "PORT", "Where it answers.", 7);
static NAME: Argument<Option<String>> = Argument::new("name", "NAME", "What it is called.", None);
static OWN: [Description; 2] = [PORT.describe(), NAME.describe()];

fn parse(line: &str) -> Result<Arguments, Refusal> {
    Arguments::parse(line, &[&OWN, &STANDARD])
}

fn refusal(line: &str) -> String {
    parse(line).expect_err("the line is wrong").to_string()
}

#[test]
fn both_forms_of_a_value_mean_the_same() {
    for line in ["--port=8080 -l debug", "--port 8080 --logs=*:debug", "-ldebug --port \"8080\""] {
        let arguments = parse(line).unwrap();
        assert_eq!(arguments.value(&PORT), 8080);
        assert_eq!(arguments.value(&LOGS).level("x"), LevelFilter::Debug);
    }
}

#[test]
fn what_is_not_given_has_its_default() {
    let arguments = parse("").unwrap();
    assert_eq!(arguments.value(&PORT), 7);
    assert_eq!(arguments.value(&IPV4), None);
    assert_eq!(arguments.value(&NAME), None);
}

#[test]
fn addresses_are_read_as_mirageos_writes_them() {
    let arguments = parse("--ipv4=10.0.0.2/24 --ipv4-gateway=10.0.0.1 --ipv6=fd00::2/64").unwrap();
    assert_eq!(arguments.value(&IPV4), Some(Cidr { address: Ipv4Addr::new(10, 0, 0, 2), prefix: 24 }));
    assert_eq!(arguments.value(&IPV4_GATEWAY), Some(Ipv4Addr::new(10, 0, 0, 1)));
    assert_eq!(arguments.value(&IPV6).map(|cidr| cidr.prefix), Some(64));
}

#[test]
fn an_address_that_no_host_can_have_is_refused() {
    for address in ["10.0.0.2", "10.0.0.2/33", "224.0.0.1/24", "255.255.255.255/8", "0.0.0.0/0", "x/24", "/"]
    {
        assert!(refusal(&format!("--ipv4={address}")).contains("not an IPv4 address"), "{address}");
    }
    for address in ["ff02::1/64", "::/0", "fd00::2/129", "10.0.0.2/24"] {
        assert!(refusal(&format!("--ipv6={address}")).contains("not an IPv6 address"), "{address}");
    }
}

#[test]
fn a_mistake_is_named_with_what_would_be_right() {
    assert_eq!(refusal("--prot=7"), "unknown argument '--prot=7' (--help shows all)");
    assert_eq!(refusal("seven"), "unknown argument 'seven' (--help shows all)");
    assert_eq!(refusal("-"), "unknown argument '-' (--help shows all)");
    assert_eq!(refusal("--port"), "--port needs a value: a number from 0 to 65535");
    assert_eq!(refusal("--port=x\u{7}"), "--port=x\\u{7}: not a number from 0 to 65535");
    assert_eq!(refusal("--port=1 --port=2"), "--port is there twice");
    assert!(refusal("--name=\"x").contains("no partner"));
}

#[test]
fn the_help_shows_every_argument_and_its_default() {
    assert!(matches!(parse("--port=1 --help"), Err(Refusal::Help)));
    let help = Help(&[&OWN, &STANDARD]).to_string();
    assert!(help.starts_with(
        "  --port=PORT\n      Where it answers. [7]\n  --name=NAME\n      What it is called.\n"
    ));
    assert!(help.contains("  -l LEVEL, --logs=LEVEL\n"));
    assert!(help.contains("such as *:info,net:debug. [*:info]\n"));
    for description in STANDARD {
        assert!(help.contains(&format!("--{}=", description.name)));
    }
}

proptest! {
    #[test]
    fn no_command_line_is_too_strange(line in any::<String>()) {
        let _ = parse(&line);
    }

    #[test]
    fn what_is_accepted_is_what_was_written(port in any::<u16>(), address in any::<[u8; 4]>(), prefix in 0u8..=32) {
        let address = Ipv4Addr::from(address);
        let line = format!("--ipv4={address}/{prefix} --port={port}");
        match parse(&line) {
            Ok(arguments) => {
                prop_assert_eq!(arguments.value(&PORT), port);
                prop_assert_eq!(arguments.value(&IPV4), Some(Cidr { address, prefix }));
            }
            Err(_) => prop_assert!(address.is_unspecified() || address.is_broadcast() || address.is_multicast()),
        }
    }

    #[test]
    fn quoting_keeps_any_text(text in any::<String>()) {
        let quoted: String = text.chars().flat_map(|c| ['\\', c]).collect();
        let arguments = parse(&format!("--name={quoted}")).unwrap();
        prop_assert_eq!(arguments.value(&NAME), Some(text));
    }
}
