//! The example site, which the command carries inside itself: the files of `systems/website`.

use palisade_policy::SiteFile;

/// Its files, by their paths in the site.
pub(crate) fn files() -> Vec<SiteFile> {
    let file = |(path, content): &(&str, &[u8])| SiteFile {
        path: (*path).to_owned(),
        content: content.to_vec(),
        modified: CHANGED,
    };
    FILES.iter().map(file).collect()
}

static FILES: [(&str, &[u8]); 7] = [
    ("/404.html", include_bytes!("../../../systems/website/404.html")),
    ("/how/index.html", include_bytes!("../../../systems/website/how/index.html")),
    ("/index.html", include_bytes!("../../../systems/website/index.html")),
    ("/robots.txt", include_bytes!("../../../systems/website/robots.txt")),
    ("/script.js", include_bytes!("../../../systems/website/script.js")),
    ("/style.css", include_bytes!("../../../systems/website/style.css")),
    ("/wall.svg", include_bytes!("../../../systems/website/wall.svg")),
];
/// When they count as changed: 2026-11-23 00:00 UTC. What a clone of the repository makes of their times says nothing.
const CHANGED: u64 = 1_795_392_000;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn the_example_that_the_command_carries_is_the_one_of_the_repository() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../systems/website");
        let (mut expected, mut folders) = (Vec::new(), vec![root.clone()]);
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).expect("the repository has it") {
                let path = entry.expect("it can be listed").path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let relative = path.strip_prefix(&root).expect("it is below").display().to_string();
                expected.push((format!("/{relative}"), fs::read(&path).expect("it can be read")));
            }
        }
        expected.sort();
        let carried: Vec<_> = files().into_iter().map(|file| (file.path, file.content)).collect();
        assert!(carried == expected);
    }
}
