//! What becomes of a directory.

use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use palisade_site::{Archive, Encoding, Options, PackError, Packed, pack};
use tempfile::TempDir;

#[test]
fn every_file_is_found_under_its_path() {
    let site = site(&[
        ("index.html", b"root"),
        ("a/b c/index.html", b"deep"),
        ("a.txt", b""),
        ("a/grüße.css", b"x"),
    ]);
    let packed = packed(&site);
    let archive = Archive::parse(&packed.bytes).unwrap();
    let paths: Vec<&str> = archive.entries().map(|entry| entry.path()).collect();
    assert_eq!(paths, ["/a.txt", "/a/b c/index.html", "/a/grüße.css", "/index.html"]);
    for (path, content) in [("/index.html", "root"), ("/a/b c/index.html", "deep"), ("/a.txt", "")] {
        assert_eq!(archive.lookup(path).unwrap().content(Encoding::Identity).unwrap(), content.as_bytes());
    }
    for missing in ["", "/", "/a", "/a/", "index.html", "/index.htm", "/index.html/", "/z"] {
        assert!(archive.lookup(missing).is_none(), "{missing}");
    }
    assert_eq!((packed.summary.files, packed.summary.bytes, packed.summary.index), (4, 9, true));
}

#[test]
fn a_directory_is_found_by_its_page() {
    let site = site(&[("index.html", b"root"), ("a/index.html", b"a"), ("b/other.html", b"b")]);
    let packed = packed(&site);
    let archive = Archive::parse(&packed.bytes).unwrap();
    for (directory, page) in
        [("", "/index.html"), ("/", "/index.html"), ("/a", "/a/index.html"), ("/a/", "/a/index.html")]
    {
        assert_eq!(archive.index_of(directory).unwrap().path(), page);
    }
    assert!(archive.index_of("/b").is_none() && archive.index_of("/a//").is_none());
}

#[test]
fn variants_decode_to_the_file_and_are_smaller() {
    let text = "All work and no play makes a dull page. ".repeat(1000);
    let site = site(&[
        ("a.html", text.as_bytes()),
        ("a.png", text.as_bytes()),
        ("tiny.txt", b"hi"),
        ("empty.txt", b""),
    ]);
    let packed = packed(&site);
    let archive = Archive::parse(&packed.bytes).unwrap();
    let page = archive.lookup("/a.html").unwrap();
    let [_, gzip, brotli] = Encoding::ALL.map(|encoding| page.content(encoding).unwrap());
    assert!(gzip.len() < text.len() / 10 && brotli.len() <= gzip.len());
    let mut decoded = String::new();
    flate2::read::GzDecoder::new(gzip).read_to_string(&mut decoded).unwrap();
    assert_eq!(decoded, text);
    decoded.clear();
    brotli::Decompressor::new(brotli, 4096).read_to_string(&mut decoded).unwrap();
    assert_eq!(decoded, text);
    for plain in ["/a.png", "/tiny.txt", "/empty.txt"] {
        let entry = archive.lookup(plain).unwrap();
        assert!(
            entry.content(Encoding::Gzip).is_none() && entry.content(Encoding::Brotli).is_none(),
            "{plain}"
        );
    }
    assert_eq!((packed.summary.gzip, packed.summary.brotli), (1, 1));
}

#[test]
fn the_same_files_give_the_same_bytes() {
    let files: Vec<(String, Vec<u8>)> =
        (0..40_u8).map(|n| (format!("{}/{n}.html", n % 7), [n].repeat(usize::from(n) * 300))).collect();
    let forwards: Vec<(&str, &[u8])> =
        files.iter().map(|(path, content)| (path.as_str(), content.as_slice())).collect();
    let backwards: Vec<(&str, &[u8])> = forwards.iter().copied().rev().collect();
    assert_eq!(packed(&site(&forwards)), packed(&site(&backwards)));
}

#[test]
fn equal_contents_are_stored_once() {
    let (one, two) = ([7; 100_000].as_slice(), [8; 100_000].as_slice());
    let once = packed(&site(&[("a.bin", one), ("b.bin", two)])).bytes.len();
    let twice =
        packed(&site(&[("a.bin", one), ("b.bin", two), ("c.bin", one), ("d/e.bin", two)])).bytes.len();
    assert!(twice - once < 1000, "{once} {twice}");
}

#[test]
fn the_time_of_change_is_the_file_s_but_not_later_than_the_newest() {
    let site = site(&[("old.html", b"x"), ("new.html", b"y")]);
    for (name, seconds) in [("old.html", 1_000_000), ("new.html", 3_000_000)] {
        let file = fs::File::options().write(true).open(site.path().join(name)).unwrap();
        file.set_modified(UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
    }
    let times = |options: &Options| {
        let packed = pack(site.path(), options).unwrap();
        let archive = Archive::parse(&packed.bytes).unwrap();
        ["/old.html", "/new.html"].map(|path| archive.lookup(path).unwrap().modified())
    };
    assert_eq!(times(&Options::default()), [1_000_000, 3_000_000]);
    assert_eq!(times(&Options { newest: Some(2_000_000) }), [1_000_000, 2_000_000]);
}

#[test]
fn hidden_files_are_left_out_and_named_but_well_known_ones_are_served() {
    let site = site(&[
        ("index.html", b"x"),
        (".git/config", b"x"),
        ("a/.env", b"x"),
        (".well-known/security.txt", b"x"),
        (".well-known/.hidden", b"x"),
    ]);
    let packed = packed(&site);
    let archive = Archive::parse(&packed.bytes).unwrap();
    assert!(archive.lookup("/.well-known/security.txt").is_some());
    assert_eq!(archive.entries().len(), 2);
    assert_eq!(packed.summary.hidden, ["/.git", "/.well-known/.hidden", "/a/.env"]);
}

#[test]
fn the_page_for_what_does_not_exist_is_known() {
    let page = packed(&site(&[("404.html", b"gone"), ("a/404.html", b"x")]));
    let found = Archive::parse(&page.bytes).unwrap().not_found().unwrap();
    assert_eq!((found.path(), page.summary.not_found), ("/404.html", true));
    let none = packed(&site(&[("a/404.html", b"x")]));
    assert!(Archive::parse(&none.bytes).unwrap().not_found().is_none());
}

#[test]
fn links_are_followed_inside_the_site_only() {
    let site = site(&[("a/index.html", b"x")]);
    symlink("a", site.path().join("b")).unwrap();
    symlink("../a/index.html", site.path().join("a/same.html")).unwrap();
    let packed = packed(&site);
    let archive = Archive::parse(&packed.bytes).unwrap();
    assert!(archive.lookup("/b/index.html").is_some() && archive.lookup("/a/same.html").is_some());

    symlink("/etc/passwd", site.path().join("a/leak")).unwrap();
    let error = refused(&site);
    assert!(matches!(&error, PackError::LinkOutside { .. }));
    assert!(
        error.to_string().contains("a/leak is a link to /etc/passwd, which is outside the site"),
        "{error}"
    );
}

#[test]
fn a_link_to_a_directory_around_it_is_refused() {
    for target in [".", "..", "../a/../a"] {
        let site = site(&[("a/b/index.html", b"x")]);
        symlink(target, site.path().join("a/b/up")).unwrap();
        let error = refused(&site);
        let expected = if target == "../a/../a" {
            "cannot read"
        } else {
            "a/b/up is a link to a directory that contains it"
        };
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn what_cannot_be_served_is_named() {
    let case = |prepare: &dyn Fn(&Path), expected: &str| {
        let site = site(&[("sub/index.html", b"x")]);
        prepare(&site.path().join("sub"));
        let error = refused(&site).to_string();
        assert!(error.contains(expected), "{error}");
    };
    case(&|sub| symlink("nowhere", sub.join("dangling")).unwrap(), "sub/dangling: No such file");
    case(
        &|sub| drop(UnixListener::bind(sub.join("socket")).unwrap()),
        "sub/socket is neither a file nor a directory",
    );
    case(&|sub| fs::write(sub.join("a\\b"), "x").unwrap(), "nobody can ask for /sub/a\\\\b");
    case(&|sub| fs::write(sub.join("a\nb"), "x").unwrap(), "nobody can ask for /sub/a\\nb");
    let latin = std::ffi::OsString::from_vec(b"gr\xfcn.html".to_vec());
    case(&|sub| fs::write(sub.join(&latin), "x").unwrap(), "sub/gr\u{fffd}n.html is not UTF-8");
    let large = |sub: &Path| fs::File::create(sub.join("large.bin")).unwrap().set_len((1 << 30) + 1).unwrap();
    case(&large, "sub/large.bin the site has more than 1024 MiB");
}

#[test]
fn a_file_that_must_not_be_read_is_named() {
    let site = site(&[("index.html", b"x"), ("secret.html", b"x")]);
    let secret = site.path().join("secret.html");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::read(&secret).is_ok() {
        return; // Permissions mean nothing to root.
    }
    assert!(refused(&site).to_string().contains("secret.html: Permission denied"));
}

#[test]
fn a_directory_without_files_is_refused() {
    let empty = site(&[(".git/config", b"x")]);
    fs::create_dir(empty.path().join("sub")).unwrap();
    assert!(matches!(refused(&empty), PackError::Empty { .. }));
    let file = empty.path().join(".git/config");
    assert!(matches!(pack(&file, &Options::default()), Err(PackError::NotADirectory { .. })));
    let missing = pack(&empty.path().join("missing"), &Options::default()).unwrap_err();
    assert!(missing.to_string().contains("missing: No such file"), "{missing}");
}

fn site(files: &[(&str, &[u8])]) -> TempDir {
    let site = TempDir::new().unwrap();
    for (path, content) in files {
        let path = site.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        fs::File::options()
            .write(true)
            .open(path)
            .unwrap()
            .set_modified(UNIX_EPOCH + Duration::from_secs(1))
            .unwrap();
    }
    site
}

fn packed(site: &TempDir) -> Packed {
    pack(site.path(), &Options::default()).unwrap()
}

fn refused(site: &TempDir) -> PackError {
    pack(site.path(), &Options::default()).unwrap_err()
}
