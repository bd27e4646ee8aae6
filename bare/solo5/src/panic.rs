//! Panics of unikernels. Native subjects have none: their build checks that this handler is not linked.

use core::panic::PanicInfo;

use crate::{exit, println};

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    println!("\nSolo5: {info}");
    exit::abort()
}
