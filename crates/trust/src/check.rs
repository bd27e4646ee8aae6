//! Judging a certificate and a key that somebody brings.

use std::fmt;
use std::time::{Duration, SystemTime};

use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::time::ASN1Time;

use crate::pem;

/// A file that should be PEM.
#[derive(Debug, Clone, Copy)]
pub struct PemFile<'a> {
    /// What it is called in messages.
    pub name: &'a str,
    /// What is in it.
    pub bytes: &'a [u8],
}

/// A certificate and a key that belong together.
#[derive(Debug, Clone)]
pub struct Checked {
    /// The certificates (DER); the server's own is the first.
    pub chain: Vec<CertificateDer<'static>>,
    /// What keeps no server from using them, but some clients from believing it.
    pub warnings: Vec<Warning>,
}

/// Something that is probably not meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// What it is, in one line.
    pub message: String,
    /// What would be right.
    pub help: String,
}

/// Why no server can use a certificate with a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    message: String,
    help: String,
}

/// Judges a chain of certificates and a key.
///
/// # Errors
/// The first [`Flaw`]. It names the file.
pub fn check(certificate: PemFile<'_>, key: PemFile<'_>, now: SystemTime) -> Result<Checked, Flaw> {
    let chain = read_certificates(certificate)?;
    let key_of_server = read_key(key)?;
    let parsed = parse(&chain, certificate.name)?;
    match_key(&chain, key_of_server, certificate.name, key.name)?;
    let mut warnings: Vec<_> = parsed.iter().filter_map(|one| validity(one, certificate.name, now)).collect();
    warnings.extend(order(&parsed, certificate.name));
    drop(parsed);
    Ok(Checked { chain, warnings })
}

impl Flaw {
    /// What would be right.
    #[must_use]
    pub fn help(&self) -> &str {
        &self.help
    }

    fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { message: message.into(), help: help.into() }
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Flaw {}

fn read_certificates(file: PemFile<'_>) -> Result<Vec<CertificateDer<'static>>, Flaw> {
    let PemFile { name, bytes } = file;
    let chain = pem::certificates(bytes);
    if !chain.is_empty() {
        return Ok(chain);
    }
    let message = format!("{name} has no certificate");
    Err(if !pem::private_keys(bytes).is_empty() {
        Flaw::new(format!("{message}, but a private key"), "give the two files the other way round")
    } else if is_der(bytes) {
        Flaw::new(
            message,
            format!("if it is DER, make it PEM: openssl x509 -inform DER -in {name} -out cert.pem"),
        )
    } else {
        Flaw::new(message, "give a PEM file: the server's certificate first, then those of its authorities")
    })
}

fn read_key(file: PemFile<'_>) -> Result<PrivateKeyDer<'static>, Flaw> {
    let PemFile { name, bytes } = file;
    let mut keys = pem::private_keys(bytes);
    if keys.len() > 1 {
        return Err(Flaw::new(
            format!("{name} has {} private keys", keys.len()),
            "give a file with the one key of the server's certificate",
        ));
    }
    let message = format!("{name} has no private key");
    let has = |mark: &str| bytes.windows(mark.len()).any(|window| window == mark.as_bytes());
    keys.pop().ok_or_else(|| {
        if has("ENCRYPTED") {
            Flaw::new(
                format!("the private key in {name} is encrypted"),
                format!("nobody can type a password into the machine; decrypt it: openssl pkey -in {name} -out key.pem"),
            )
        } else if !pem::certificates(bytes).is_empty() {
            Flaw::new(format!("{message}, but a certificate"), "give the two files the other way round")
        } else if is_der(bytes) {
            Flaw::new(message, format!("if it is DER, make it PEM: openssl pkey -inform DER -in {name} -out key.pem"))
        } else {
            Flaw::new(message, "give a PEM file with the key of the server's certificate")
        }
    })
}

fn parse<'a>(chain: &'a [CertificateDer<'_>], name: &str) -> Result<Vec<X509Certificate<'a>>, Flaw> {
    let parse = |(number, der): (usize, &'a CertificateDer<'_>)| {
        X509Certificate::from_der(der).map(|(_, parsed)| parsed).map_err(|error| {
            Flaw::new(
                format!("{name}: certificate {} cannot be read: {error}", number + 1),
                "get the file anew from whoever issued it",
            )
        })
    };
    chain.iter().enumerate().map(parse).collect()
}

/// Whether the key is that of the first certificate, judged as the server will.
fn match_key(
    chain: &[CertificateDer<'static>],
    key: PrivateKeyDer<'static>,
    certificate_name: &str,
    key_name: &str,
) -> Result<(), Flaw> {
    let key = any_supported_type(&key).map_err(|_| {
        Flaw::new(
            format!("the private key in {key_name} is of a kind that cannot be used"),
            "use ECDSA with P-256 or P-384, RSA with 2048 to 8192 bits, or Ed25519",
        )
    })?;
    let belongs = |certificate: &CertificateDer<'static>| {
        CertifiedKey::new(vec![certificate.clone()], key.clone()).keys_match().is_ok()
    };
    match chain.iter().position(belongs) {
        Some(0) => Ok(()),
        Some(number) => Err(Flaw::new(
            format!(
                "the private key in {key_name} belongs to certificate {} of {certificate_name}, not to the first",
                number + 1
            ),
            "put the server's certificate first, then the one that certifies it, and so on",
        )),
        None => Err(Flaw::new(
            format!("the private key in {key_name} does not belong to the certificate in {certificate_name}"),
            "give the certificate and the key that were made together",
        )),
    }
}

fn validity(certificate: &X509Certificate<'_>, name: &str, now: SystemTime) -> Option<Warning> {
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let now = ASN1Time::from_timestamp(i64::try_from(since.as_secs()).unwrap_or(i64::MAX)).ok()?;
    let validity = certificate.validity();
    let subject = certificate.subject();
    let (what, help) = if validity.not_after < now {
        (format!("expired on {}", validity.not_after), "clients will refuse it: renew it")
    } else if now < validity.not_before {
        (format!("is not valid before {}", validity.not_before), "clients will refuse it until then")
    } else {
        return None;
    };
    Some(Warning { message: format!("{name}: the certificate of {subject} {what}"), help: help.into() })
}

/// Whether each certificate is certified by the next one.
fn order(chain: &[X509Certificate<'_>], name: &str) -> Option<Warning> {
    let pair = chain.windows(2).find(|pair| pair[0].issuer() != pair[1].subject())?;
    let (issuer, found) = (pair[0].issuer(), pair[1].subject());
    Some(Warning {
        message: format!("{name}: {issuer} should come next in the chain, but {found} does"),
        help: "put the server's certificate first, then the one that certifies it, and so on".into(),
    })
}

/// The encoding of a certificate or key begins with a sequence.
fn is_der(bytes: &[u8]) -> bool {
    bytes.first() == Some(&0x30)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, IsCa, Issuer, KeyPair, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};

    use super::*;

    #[test]
    fn what_belongs_together_is_accepted() {
        for algorithm in [&rcgen::PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384, &PKCS_ED25519] {
            let key = KeyPair::generate_for(algorithm).expect("made");
            let certificate = self_signed(&key);
            let checked = judge(&certificate, &key.serialize_pem()).expect("they match");
            assert_eq!((checked.chain.len(), checked.warnings), (1, vec![]));
        }
    }

    #[test]
    fn another_key_is_refused() {
        let (certificate, other) = (self_signed(&key()), key().serialize_pem());
        assert_flaw(&certificate, &other, "key.pem does not belong to the certificate in cert.pem");
    }

    #[test]
    fn files_the_wrong_way_round_are_recognised() {
        let key = key();
        let certificate = self_signed(&key);
        let flaw =
            assert_flaw(&key.serialize_pem(), &certificate, "cert.pem has no certificate, but a private key");
        assert!(flaw.help().contains("the other way round"));
        assert_flaw(&certificate, &certificate, "key.pem has no private key, but a certificate");
    }

    #[test]
    fn what_is_no_pem_is_refused_with_what_would_be_right() {
        let key = key();
        let certificate = self_signed(&key);
        for (bytes, help) in
            [(&b""[..], "PEM file"), (b"0\x82", "openssl x509 -inform DER"), (b"hello", "PEM file")]
        {
            let flaw = check(file("cert.pem", bytes), file("key.pem", key.serialize_pem().as_bytes()), now());
            assert!(flaw.expect_err("no certificate").help().contains(help), "{bytes:?}");
        }
        assert_flaw(&certificate, "", "key.pem has no private key");
        let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIH=\n-----END ENCRYPTED PRIVATE KEY-----\n";
        let flaw = assert_flaw(&certificate, encrypted, "the private key in key.pem is encrypted");
        assert!(flaw.help().contains("openssl pkey"));
        let two = key.serialize_pem().repeat(2);
        assert_flaw(&certificate, &two, "key.pem has 2 private keys");
        let nonsense = "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n";
        assert_flaw(nonsense, &key.serialize_pem(), "cert.pem: certificate 1 cannot be read");
    }

    #[test]
    fn the_servers_certificate_comes_first() {
        let (authority, key) = (key(), key());
        let [root, site] = chain(&authority, &key);
        let good = judge(&format!("{site}{root}"), &key.serialize_pem()).expect("they match");
        assert_eq!((good.chain.len(), good.warnings), (2, vec![]));
        let flaw = assert_flaw(
            &format!("{root}{site}"),
            &key.serialize_pem(),
            "belongs to certificate 2 of cert.pem",
        );
        assert!(flaw.help().contains("first"));
    }

    #[test]
    fn a_gap_in_the_chain_is_a_warning() {
        let key = key();
        let [_, site] = chain(&self::key(), &key);
        let stranger = self_signed(&self::key());
        let checked = judge(&format!("{site}{stranger}"), &key.serialize_pem()).expect("they match");
        let [warning] = checked.warnings.as_slice() else { panic!("one warning: {:?}", checked.warnings) };
        assert!(warning.message.contains("CN=authority should come next"), "{}", warning.message);
    }

    #[test]
    fn times_that_are_over_or_to_come_are_warnings() {
        let key = key();
        let now = now();
        let mut parameters = CertificateParams::default();
        parameters.not_before = (now - Duration::from_secs(10)).into();
        parameters.not_after = (now + Duration::from_secs(10)).into();
        let certificate = parameters.self_signed(&key).expect("made").pem();
        let key = key.serialize_pem();
        let start = now - Duration::from_secs(100);
        for (seconds, what) in [(0, Some("is not valid before")), (100, None), (200, Some("expired on"))] {
            let time = start + Duration::from_secs(seconds);
            let checked =
                check(file("cert.pem", certificate.as_bytes()), file("key.pem", key.as_bytes()), time);
            let warnings = checked.expect("they match").warnings;
            assert_eq!(warnings.len(), usize::from(what.is_some()), "{seconds}");
            assert!(what.is_none_or(|what| warnings[0].message.contains(what)), "{warnings:?}");
        }
    }

    #[track_caller]
    fn assert_flaw(certificate: &str, key: &str, message: &str) -> Flaw {
        let flaw = judge(certificate, key).expect_err("not usable");
        assert!(flaw.to_string().contains(message), "{flaw}");
        flaw
    }

    fn judge(certificate: &str, key: &str) -> Result<Checked, Flaw> {
        check(file("cert.pem", certificate.as_bytes()), file("key.pem", key.as_bytes()), now())
    }

    const fn file<'a>(name: &'a str, bytes: &'a [u8]) -> PemFile<'a> {
        PemFile { name, bytes }
    }

    fn key() -> KeyPair {
        KeyPair::generate().expect("made")
    }

    fn self_signed(key: &KeyPair) -> String {
        CertificateParams::default().self_signed(key).expect("made").pem()
    }

    /// An authority's certificate, and one that it issued for `key`.
    fn chain(authority: &KeyPair, key: &KeyPair) -> [String; 2] {
        let mut root = CertificateParams::default();
        root.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        root.distinguished_name.push(DnType::CommonName, "authority");
        let certificate = root.self_signed(authority).expect("made").pem();
        let issuer = Issuer::new(root, authority);
        let site = CertificateParams::default().signed_by(key, &issuer).expect("made").pem();
        [certificate, site]
    }

    /// 2026-11-23.
    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_392_000)
    }
}
