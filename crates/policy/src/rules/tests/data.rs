use std::fs;
use std::path::Path;
use std::sync::Arc;

use crate::plan::{Backing, Rights};
use crate::testing::{TestLibrary, assert_breaks, assert_passes, hello_with, plan, plan_with};
use crate::{Library, Options, Planned, Problems, Site, SiteFile, SiteFiles, for_site};

/// A folder with a site and files.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("site")).unwrap();
    fs::create_dir(folder.path().join("nothing")).unwrap();
    fs::write(folder.path().join("site/index.html"), "<p>Hello").unwrap();
    fs::write(folder.path().join("empty"), "").unwrap();
    fs::write(folder.path().join("pem"), "-----BEGIN").unwrap();
    folder
}

/// Plans a system whose lines name files as `@/name`.
fn plan_in(folder: &Path, lines: &str) -> Result<Planned, Problems> {
    plan(&hello_with(&lines.replace('@', &folder.to_string_lossy())))
}

/// The data regions of the unikernel `hello`: name, address, size.
fn regions(planned: &Planned) -> Vec<(&str, u64, u64)> {
    let data = planned.plan.subjects[3].regions.iter().filter(|region| region.address >> 32 == 0xf);
    let data = data.filter(|region| region.address < 0xf_8000_0000);
    data.map(|region| (region.name.as_str(), region.address, region.size)).collect()
}

#[test]
fn files_are_regions_that_their_subject_reads() {
    let folder = folder();
    fs::write(folder.path().join("large"), vec![1; (2 << 20) + 1]).unwrap();
    let lines = "[subject.hello.data]\nfirst = \"@/pem\"\nlarge = \"@/large\"\nlast = \"@/pem\"";
    let planned = assert_passes(plan_in(folder.path(), lines));
    let large = 0x20_1000;
    let expected = [
        ("first", 0xf_0000_0000, 0x1000),
        ("large", 0xf_0020_0000, large),
        ("last", 0xf_0020_0000 + large + 0x1000, 0x1000),
    ];
    assert_eq!(regions(&planned), expected);
    let hello = &planned.plan.subjects[3];
    let first = hello.regions.iter().find(|region| region.name == "first").unwrap();
    let Backing::Content(bytes) = &first.backing else { panic!("it is content") };
    assert_eq!((&bytes[..], first.rights), (&b"-----BEGIN"[..], Rights::Read));
    assert!(hello.resources.iter().any(|resource| resource.name == "first"));
}

#[test]
fn a_file_that_is_missing_or_empty_is_pointed_at() {
    let folder = folder();
    let lines = |file: &str| format!("[subject.hello.data]\nx = \"@/{file}\"");
    assert_breaks(plan_in(folder.path(), &lines("none")), "file-readable", 4, "relative to its folder");
    assert_breaks(plan_in(folder.path(), &lines("empty")), "data-size", 4, "at least one byte");
    assert_breaks(plan_in(folder.path(), "[subject.hello.data]\nx = 1"), "value-type", 4, "double quotes");
}

#[test]
fn data_beyond_their_part_of_the_address_space_are_refused() {
    let folder = folder();
    let large = fs::File::create(folder.path().join("large")).unwrap();
    large.set_len((1 << 20) + 1).unwrap();
    let lines = "certificate = \"@/large\"\nkey = \"@/pem\"";
    assert_breaks(plan_in(folder.path(), lines), "file-readable", 3, "1 MiB at most");
    let planned = assert_passes(plan_in(folder.path(), "[subject.hello.data]\nx = \"@/pem\""));
    let mut system = planned.system;
    let half: Arc<[u8]> = vec![0; 1 << 20].into();
    let region = system.subjects[3].data[0].clone();
    let regions = (0..2048).map(|_| crate::Data { contents: half.clone(), ..region.clone() });
    system.subjects[3].data = regions.collect();
    let problems = crate::problem::Collector::default();
    crate::rules::check_system(&system, &problems);
    let broken = problems.into_problems();
    assert!(broken.iter().any(|problem| problem.rule().id == "data-size"), "{broken:?}");
}

#[test]
fn data_have_names_that_nothing_else_has() {
    let folder = folder();
    let named = |name: &str| plan_in(folder.path(), &format!("[subject.hello.data]\n{name} = \"@/pem\""));
    assert_passes(named("words"));
    assert_breaks(named("debuglog"), "resource-names", 4, "other than debuglog");
    assert_breaks(named("\"\""), "resource-names", 4, "1 to 63");
    assert_breaks(named("\"a b\""), "resource-names", 4, "1 to 63");
    let both = "site = \"@/site\"\n[subject.hello.data]\nkey = \"@/pem\"";
    assert_breaks(plan_in(folder.path(), both), "resource-names", 5, "another name");
}

#[test]
fn a_site_is_packed_and_gets_a_certificate_for_development() {
    let folder = folder();
    let lines = "site = \"@/site\"\nbootparams = \"--ipv4=10.0.0.2/24 --ipv6=fd00::2/64 --ipv4=nonsense\"";
    let planned = assert_passes(plan_in(folder.path(), lines));
    let names = regions(&planned).into_iter().map(|(name, ..)| name);
    assert_eq!(names.collect::<Vec<_>>(), ["site", "certificate", "key"]);
    let data = &planned.system.subjects[3].data;
    let site = palisade_site::Archive::parse(&data[0].contents).unwrap();
    assert!(site.lookup("/index.html").is_some());
    let certificate = "certificate of localhost hello.localhost 127.0.0.1 ::1 10.0.0.2 fd00::2";
    assert_eq!((&*data[1].contents, &*data[2].contents), (certificate.as_bytes(), &b"key"[..]));
}

#[test]
fn a_site_keeps_the_certificate_that_it_is_given() {
    let folder = folder();
    let lines = "site = \"@/site\"\ncertificate = \"@/pem\"\nkey = \"@/pem\"";
    let planned = assert_passes(plan_in(folder.path(), lines));
    let data = &planned.system.subjects[3].data;
    assert!(data[1..].iter().all(|data| &*data.contents == b"-----BEGIN") && data.len() == 3);
}

#[test]
fn a_certificate_for_development_names_the_addresses_where_the_site_is_published() {
    let folder = folder();
    let directory = folder.path().join("site");
    let site = Site { files: SiteFiles::Directory(&directory), certificate: None, command_line: None };
    let publish = ["10.1.2.3:4433:443", "0.0.0.0:8080:80", "127.0.0.1:1:2"].map(String::from).into();
    let planned = for_site(&site, &Options { publish, ..Options::default() }, &TestLibrary::new());
    let certificate = assert_passes(planned).system.subjects[4].data[1].contents.clone();
    let names = "localhost website.localhost 127.0.0.1 ::1 192.168.254.10 10.1.2.3";
    assert_eq!(&*certificate, format!("certificate of {names}").as_bytes());
}

#[test]
fn a_site_that_is_served_without_tls_needs_no_certificate() {
    let folder = folder();
    let planned = assert_passes(plan_in(folder.path(), "site = \"@/site\"\nbootparams = \"--https=0\""));
    let names: Vec<_> = regions(&planned).into_iter().map(|(name, ..)| name).collect();
    assert_eq!(names, ["site"]);
}

#[test]
fn a_certificate_without_its_key_is_refused() {
    let folder = folder();
    for lines in ["certificate = \"@/pem\"", "key = \"@/pem\""] {
        assert_breaks(plan_in(folder.path(), lines), "site-certificate", 3, "give both");
    }
}

#[test]
fn a_site_without_a_certificate_needs_somebody_who_makes_one() {
    struct Bare(TestLibrary);
    impl Library for Bare {
        fn program(&self, name: &str) -> Option<Arc<[u8]>> {
            self.0.program(name)
        }

        fn unikernels(&self) -> Vec<String> {
            self.0.unikernels()
        }
    }
    let folder = folder();
    let text = hello_with(&format!("site = {:?}", folder.path().join("site")));
    let result = plan_with(&text, &Options::default(), &Bare(TestLibrary::new()));
    assert_breaks(result, "site-certificate", 3, "`certificate` and `key`");
}

#[test]
fn a_directory_that_is_no_site_is_pointed_at() {
    let folder = folder();
    for directory in ["none", "nothing", "pem"] {
        let lines = format!("site = \"@/{directory}\"");
        assert_breaks(plan_in(folder.path(), &lines), "file-readable", 3, "relative to its folder");
    }
}

#[test]
fn a_site_without_a_first_page_is_warned_of() {
    let folder = folder();
    let lines = "site = \"@/site\"";
    assert!(assert_passes(plan_in(folder.path(), lines)).warnings.is_empty());
    fs::rename(folder.path().join("site/index.html"), folder.path().join("site/home.html")).unwrap();
    let planned = assert_passes(plan_in(folder.path(), lines));
    let [warning] = &planned.warnings[..] else { panic!("{:?}", planned.warnings) };
    assert_eq!(warning.rule().id, "site-index");
}

#[test]
fn a_site_needs_no_description() {
    let folder = folder();
    let directory = folder.path().join("site");
    let site = Site { files: SiteFiles::Directory(&directory), certificate: None, command_line: None };
    let planned = assert_passes(for_site(&site, &Options::default(), &TestLibrary::new()));
    assert_eq!((planned.plan.name.as_str(), planned.plan.subjects.len()), ("website", 5));
    let pem = folder.path().join("pem");
    let own = Site { certificate: Some((&pem, &pem)), command_line: Some("--ipv4=10.0.0.2/24"), ..site };
    let planned = assert_passes(for_site(&own, &Options::default(), &TestLibrary::new()));
    let website = &planned.system.subjects[4];
    assert_eq!(website.command_line.value, "--ipv4=10.0.0.2/24");
    assert_eq!(&*website.data[1].contents, b"-----BEGIN");
}

#[test]
fn a_site_in_memory_needs_no_directory() {
    let file = SiteFile { path: "/index.html".into(), content: b"<p>hello</p>".to_vec(), modified: 1 };
    let site = Site { files: SiteFiles::Memory(&[file]), certificate: None, command_line: None };
    let planned = assert_passes(for_site(&site, &Options::default(), &TestLibrary::new()));
    let data = &planned.system.subjects[4].data[0];
    let archive = palisade_site::Archive::parse(&data.contents).unwrap();
    assert!(data.name.value == "site" && archive.lookup("/index.html").is_some());
}
