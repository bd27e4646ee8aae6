//! Writes the valid inputs of each fuzz target to where cargo-fuzz looks for them.

use std::path::Path;
use std::{fs, io};

use palisade_fuzz_targets::targets;

fn main() -> io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    for target in targets::ALL {
        let folder = corpus.join(target.name);
        fs::create_dir_all(&folder)?;
        for (number, input) in (target.samples)().iter().enumerate() {
            fs::write(folder.join(format!("valid-{number}")), input)?;
        }
    }
    Ok(())
}
