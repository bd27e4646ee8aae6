//! Lets the linker find this directory's `link.ld`.

fn main() {
    let directory = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR");
    println!("cargo:rustc-link-search=native={directory}");
    println!("cargo:rerun-if-changed=link.ld");
}
