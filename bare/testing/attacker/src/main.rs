//! Tries one forbidden thing, named by its argument.
//!
//! A thing that must stop the subject stops it, and nothing more is printed; if it does not, `NOT CONTAINED` is. A thing that
//! must have no effect ends with `still here` and exit status 0.

#![no_std]
#![no_main]

mod instructions;
mod memory;
mod nuisance;

use solo5::{StartInfo, println};

solo5::unikernel!(main);

fn main(start: &StartInfo) -> i32 {
    let name = start.arguments().next().unwrap_or("");
    let fatal = memory::ATTACKS.iter().chain(instructions::ATTACKS).find(|(known, _)| *known == name);
    if let Some((_, attack)) = fatal {
        println!("trying {name}");
        attack(start);
        println!("NOT CONTAINED: {name}");
        return 99;
    }
    let Some((_, nuisance)) = nuisance::ATTACKS.iter().find(|(known, _)| *known == name) else {
        println!("there is no attack `{name}`");
        return 98;
    };
    println!("trying {name}");
    nuisance(start);
    println!("still here after {name}");
    0
}

/// Something that must not succeed, by name.
type Attack = (&'static str, fn(&StartInfo));
