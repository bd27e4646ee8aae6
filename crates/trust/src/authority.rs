//! The development authority.
//!
//! Two kinds of files: `authority.pem` has the authority's certificate and key, `site-HASH.pem` a certificate for a set of
//! names and its key. Each pair is one file, so no two files can disagree. `ca.pem` is a copy of the authority's
//! certificate for those who are to trust it.

use std::fmt::Write;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints, PKCS_ECDSA_P256_SHA256, SanType,
};
use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::private::{LOCALHOST, NETWORKS, PrivateName};
use crate::{Directory, DirectoryError, pem};

/// An authority whose certificates are good for development only: it is constrained to `localhost` and to private
/// addresses, so that a stolen key gains nobody another's website.
#[derive(Debug)]
pub struct Authority {
    directory: Directory,
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    is_new: bool,
}

/// A certificate of the authority and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// The certificate (PEM).
    pub certificate: String,
    /// Its private key (PEM).
    pub key: String,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The directory cannot be used.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// A file of the directory is not what was written there.
    #[error("{} is damaged", .0.display())]
    Damaged(PathBuf),
    /// The certificate could not be made.
    #[error("a development certificate could not be made: {0}")]
    Refused(#[from] rcgen::Error),
}

impl Authority {
    /// The authority that lives in `directory`. It is made if there is none, or if it will expire soon.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn open(directory: Directory, now: SystemTime) -> Result<Self, AuthorityError> {
        let damaged = || AuthorityError::Damaged(directory.path_of(AUTHORITY));
        let kept = match directory.read(AUTHORITY)? {
            Some(text) => Some(Pair::parse(&text).ok_or_else(damaged)?),
            None => None,
        };
        let good = kept.filter(|pair| pair.expires() > now + AUTHORITY_RENEWAL);
        let is_new = good.is_none();
        let pair = match good {
            Some(pair) => pair,
            None => {
                let pair = make_authority(now)?;
                directory.write_secret(AUTHORITY, &pair.text())?;
                pair
            }
        };
        if directory.read(PUBLIC)?.as_ref() != Some(&pair.issued.certificate) {
            directory.write_public(PUBLIC, &pair.issued.certificate)?;
        }
        let key = KeyPair::from_pem(&pair.issued.key).map_err(|_| damaged())?;
        let issuer = Issuer::from_ca_cert_der(&pair.certificate, key).map_err(|_| damaged())?;
        Ok(Self { issuer, certificate: pair.certificate, is_new, directory })
    }

    /// Whether nobody can trust it yet, because it was made just now.
    #[must_use]
    pub const fn is_new(&self) -> bool {
        self.is_new
    }

    /// The file with its certificate.
    #[must_use]
    pub fn certificate_path(&self) -> PathBuf {
        self.directory.path_of(PUBLIC)
    }

    /// SHA-256 of its certificate, as browsers show it: `AB:CD:...`.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let bytes = Sha256::digest(&self.certificate);
        bytes.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
    }

    /// A certificate for those of `names` that it may be for: `localhost` and what is below it, and private addresses. The
    /// one that was made for them before is good as long as it will not expire soon.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn issue(&self, names: &[String], now: SystemTime) -> Result<Issued, AuthorityError> {
        let mut names: Vec<_> = names.iter().filter_map(|name| PrivateName::parse(name)).collect();
        names.push(PrivateName::Host(LOCALHOST.into()));
        names.sort_unstable();
        names.dedup();
        let file = file_of(&names);
        let kept = self.directory.read(&file)?.and_then(|text| Pair::parse(&text));
        let is_good =
            |pair: &Pair| pair.expires() > now + SITE_RENEWAL && pair.is_issued_by(&self.certificate);
        if let Some(pair) = kept.filter(is_good) {
            return Ok(pair.issued);
        }
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let certificate = site_parameters(&names, now)?.signed_by(&key, &self.issuer)?;
        let pair = Pair::new(certificate.der().clone(), certificate.pem(), key.serialize_pem());
        self.directory.write_secret(&file, &pair.text())?;
        Ok(pair.issued)
    }
}

impl AuthorityError {
    /// What the reader can do about it.
    #[must_use]
    pub fn help(&self) -> String {
        match self {
            Self::Directory(error) => error.help().into(),
            Self::Damaged(path) => format!("delete {}: a new one will be made", path.display()),
            Self::Refused(_) => "bring a certificate of your own: --cert FILE --key FILE".into(),
        }
    }
}

/// A certificate and its key, in one file.
struct Pair {
    certificate: CertificateDer<'static>,
    issued: Issued,
}

impl Pair {
    const fn new(certificate: CertificateDer<'static>, text: String, key: String) -> Self {
        Self { certificate, issued: Issued { certificate: text, key } }
    }

    /// Reads what [`Pair::text`] wrote: first the certificate, then the key.
    fn parse(text: &str) -> Option<Self> {
        let (certificate, key) = text.split_at_checked(text.find(KEY_BEGINS)?)?;
        KeyPair::from_pem(key).ok()?;
        let der = pem::certificates(certificate.as_bytes()).pop()?;
        X509Certificate::from_der(&der).ok()?;
        Some(Self::new(der, certificate.into(), key.into()))
    }

    fn text(&self) -> String {
        format!("{}{}", self.issued.certificate, self.issued.key)
    }

    fn expires(&self) -> SystemTime {
        let seconds = self.parsed().map_or(0, |parsed| parsed.validity().not_after.timestamp());
        SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
    }

    fn is_issued_by(&self, authority: &CertificateDer<'_>) -> bool {
        let Ok((_, authority)) = X509Certificate::from_der(authority) else { return false };
        self.parsed().is_some_and(|site| site.verify_signature(Some(authority.public_key())).is_ok())
    }

    fn parsed(&self) -> Option<X509Certificate<'_>> {
        X509Certificate::from_der(&self.certificate).ok().map(|(_, parsed)| parsed)
    }
}

fn make_authority(now: SystemTime) -> Result<Pair, AuthorityError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    // Trust stores tell authorities apart by their names.
    let mark = hex(&Sha256::digest(key.public_key_raw())[..4]);
    let mut parameters =
        parameters(now, AUTHORITY_VALIDITY, &format!("Palisade development authority {mark}"));
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    // Name constraints say nothing about certificates for mail or programs: those it must not issue at all.
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let networks = NETWORKS.iter().map(|(network, prefix)| CidrSubnet::from_addr_prefix(*network, *prefix));
    let mut permitted_subtrees = vec![GeneralSubtree::DnsName(LOCALHOST.into())];
    permitted_subtrees.extend(networks.map(GeneralSubtree::IpAddress));
    parameters.name_constraints = Some(NameConstraints { permitted_subtrees, excluded_subtrees: Vec::new() });
    let certificate = parameters.self_signed(&key)?;
    Ok(Pair::new(certificate.der().clone(), certificate.pem(), key.serialize_pem()))
}

fn site_parameters(names: &[PrivateName], now: SystemTime) -> Result<CertificateParams, AuthorityError> {
    let mut parameters = parameters(now, SITE_VALIDITY, LOCALHOST);
    parameters.is_ca = IsCa::ExplicitNoCa;
    parameters.subject_alt_names = names.iter().map(alternative).collect::<Result<_, _>>()?;
    parameters.use_authority_key_identifier_extension = true;
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(parameters)
}

fn alternative(name: &PrivateName) -> Result<SanType, AuthorityError> {
    Ok(match name {
        PrivateName::Host(name) => SanType::DnsName(name.as_str().try_into()?),
        PrivateName::Address(address) => SanType::IpAddress(*address),
    })
}

/// Valid from a little before `now`, because clocks differ.
fn parameters(now: SystemTime, validity: Duration, common_name: &str) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.not_before = (now - TOLERANCE).into();
    parameters.not_after = (now + validity).into();
    parameters.distinguished_name = DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, common_name);
    parameters
}

/// The file for a set of names.
fn file_of(names: &[PrivateName]) -> String {
    let mut text = String::new();
    for name in names {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{name}");
    }
    format!("site-{}.pem", hex(&Sha256::digest(text)[..8]))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

const AUTHORITY: &str = "authority.pem";
const PUBLIC: &str = "ca.pem";
const KEY_BEGINS: &str = "-----BEGIN PRIVATE KEY-----";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// People must be asked to trust a new one, so that is rare.
const AUTHORITY_VALIDITY: Duration = DAY.saturating_mul(3 * 365);
/// So long, at least, what it issues is valid.
const AUTHORITY_RENEWAL: Duration = SITE_VALIDITY;
const SITE_VALIDITY: Duration = DAY.saturating_mul(90);
const SITE_RENEWAL: Duration = DAY.saturating_mul(30);
const TOLERANCE: Duration = DAY;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;

    use rustls::RootCertStore;
    use rustls::client::WebPkiServerVerifier;
    use rustls::client::danger::ServerCertVerifier;
    use rustls::pki_types::{ServerName, UnixTime};
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn an_authority_is_made_once() {
        let home = home();
        let first = open(&home, start());
        assert!(first.is_new());
        let (fingerprint, issued) = (first.fingerprint(), first.issue(&[], start()).expect("issued"));
        drop(first);
        let again = open(&home, start() + DAY);
        assert!(!again.is_new());
        assert_eq!(again.fingerprint(), fingerprint);
        assert_eq!(again.issue(&[], start() + DAY).expect("issued"), issued);
        assert_eq!(fingerprint.len(), 32 * 3 - 1);
    }

    #[test]
    fn certificates_are_good_for_this_computer_and_the_private_addresses_asked_for() {
        let home = home();
        let authority = open(&home, start());
        let asked = ["x.localhost", "127.0.0.1", "192.168.254.10", "fd00::10", "8.8.8.8", "example.org"];
        let issued = authority.issue(&asked.map(String::from), start()).expect("issued");
        for name in ["localhost", "x.localhost", "127.0.0.1", "192.168.254.10", "fd00::10"] {
            verify(&authority, &issued, name, start()).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        for name in ["8.8.8.8", "example.org", "192.168.254.11"] {
            verify(&authority, &issued, name, start()).expect_err(name);
        }
    }

    #[test]
    fn a_stolen_key_of_the_authority_makes_no_certificate_for_others() {
        let home = home();
        let authority = open(&home, start());
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("made");
        let mut forged = site_parameters(&[], start()).expect("named");
        forged.subject_alt_names = vec![SanType::IpAddress("8.8.8.8".parse().expect("an address"))];
        forged.subject_alt_names.push(SanType::DnsName("example.org".try_into().expect("a name")));
        let certificate = forged.signed_by(&key, &authority.issuer).expect("signed");
        let issued = Issued { certificate: certificate.pem(), key: key.serialize_pem() };
        for name in ["example.org", "8.8.8.8"] {
            let error = verify(&authority, &issued, name, start()).expect_err("not permitted");
            assert!(error.to_string().contains("NameConstraint"), "{error}");
        }
    }

    /// What browsers look at (CA/Browser Forum, Baseline Requirements 2.0, 7.1.2).
    #[test]
    fn certificates_say_what_they_are_for_and_nothing_else() {
        let home = home();
        let authority = open(&home, start());
        let issued = authority.issue(&[], start()).expect("issued");
        let site = pem::certificates(issued.certificate.as_bytes()).pop().expect("there is one");
        let [authority, site] = [&authority.certificate, &site]
            .map(|certificate| X509Certificate::from_der(certificate).expect("it can be read").1);
        for (certificate, is_authority) in [(&authority, true), (&site, false)] {
            let constraints = certificate.basic_constraints().expect("once").expect("there");
            assert_eq!((constraints.critical, constraints.value.ca), (true, is_authority));
            assert_eq!(constraints.value.path_len_constraint, is_authority.then_some(0));
            let usage = certificate.key_usage().expect("once").expect("there");
            assert!(usage.critical);
            assert_eq!(usage.value.key_cert_sign(), is_authority);
            assert_eq!(usage.value.digital_signature(), !is_authority);
            let purpose = certificate.extended_key_usage().expect("once").expect("there").value;
            assert!(purpose.server_auth && !purpose.any);
            let others = [purpose.client_auth, purpose.code_signing, purpose.email_protection];
            assert!(!others.contains(&true) && purpose.other.is_empty());
        }
        assert!(authority.name_constraints().expect("once").expect("there").critical);
        assert_eq!(site.issuer(), authority.subject());
        assert!(site.subject_alternative_name().expect("once").is_some());
    }

    #[test]
    fn certificates_are_renewed_before_they_expire() {
        let home = home();
        let authority = open(&home, start());
        let issued = authority.issue(&[], start()).expect("issued");
        let early = start() + SITE_VALIDITY - SITE_RENEWAL - DAY;
        assert_eq!(authority.issue(&[], early).expect("issued"), issued);
        let late = early + DAY * 2;
        let renewed = authority.issue(&[], late).expect("issued");
        assert_ne!(renewed, issued);
        verify(&authority, &renewed, "localhost", late + SITE_VALIDITY - DAY).expect("valid");
        drop(authority);
        let end = start() + AUTHORITY_VALIDITY - DAY;
        let authority = open(&home, end);
        assert!(authority.is_new());
        let issued = authority.issue(&[], end).expect("issued");
        verify(&authority, &issued, "localhost", end).expect("by the new authority");
    }

    #[test]
    fn different_names_have_different_certificates_and_keep_them() {
        let home = home();
        let authority = open(&home, start());
        let [one, two] = ["10.0.0.1", "10.0.0.2"].map(|text| [text.to_owned()]);
        let first = authority.issue(&one, start()).expect("issued");
        assert_ne!(authority.issue(&two, start()).expect("issued"), first);
        assert_eq!(authority.issue(&one, start()).expect("issued"), first);
    }

    #[test]
    fn a_damaged_authority_is_not_replaced_unasked() {
        let home = home();
        drop(open(&home, start()));
        let path = home.path().join(AUTHORITY);
        let text = fs::read_to_string(&path).expect("it is there");
        fs::write(&path, &text[..text.len() / 2]).expect("it is ours");
        let directory = Directory::open(home.path()).expect("it can be opened");
        let error = Authority::open(directory, start()).expect_err("damaged");
        assert!(error.to_string().contains("authority.pem is damaged"), "{error}");
        assert!(error.help().contains("delete"));
    }

    #[test]
    fn a_damaged_certificate_of_a_site_is_made_anew() {
        let home = home();
        let authority = open(&home, start());
        let names = [PrivateName::Host(LOCALHOST.into())];
        authority.issue(&[], start()).expect("issued");
        let path = home.path().join(file_of(&names));
        fs::write(path, "nonsense").expect("it is ours");
        let issued = authority.issue(&[], start()).expect("issued");
        verify(&authority, &issued, "localhost", start()).expect("valid");
    }

    fn home() -> TempDir {
        tempfile::tempdir().expect("temporary directories can be made")
    }

    fn open(home: &TempDir, now: SystemTime) -> Authority {
        let directory = Directory::open(home.path()).expect("it can be opened");
        Authority::open(directory, now).expect("it can be made")
    }

    /// Judges a certificate as a client does that trusts the authority.
    fn verify(
        authority: &Authority,
        issued: &Issued,
        name: &str,
        now: SystemTime,
    ) -> Result<(), rustls::Error> {
        let mut roots = RootCertStore::empty();
        roots.add(authority.certificate.clone()).expect("it is a certificate");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
        let certificate = pem::certificates(issued.certificate.as_bytes()).pop().expect("there is one");
        let since = now.duration_since(SystemTime::UNIX_EPOCH).expect("after it");
        let name = ServerName::try_from(name).expect("a name");
        let time = UnixTime::since_unix_epoch(since);
        let verifier = verifier.expect("there is a root");
        verifier.verify_server_cert(&certificate, &[], &name, &[], time).map(|_| ())
    }

    /// 2026-11-23.
    fn start() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_392_000)
    }
}
