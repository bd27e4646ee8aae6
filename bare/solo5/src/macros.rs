//! What makes a crate a program: its entry, and the notes by which the builder knows it.

/// Makes the crate a unikernel that runs `$main: fn(&StartInfo) -> i32`; what it returns is the exit status.
///
/// The stack has 64 KiB, or as many bytes as `stack = ...` says. `networks = ["service", ...]` names the network devices
/// that the unikernel wants; see [`crate::net`].
#[macro_export]
macro_rules! unikernel {
    ($main:path $(, stack = $stack:expr)? $(, networks = [$($network:expr),* $(,)?])?) => {
        $crate::__program!($main, true, [$($stack)?], [$($($network),*)?]);
    };
}

/// Makes the crate a native subject of the system: a unikernel that does not announce itself on the console.
///
/// The stack has 64 KiB, or as many bytes as `stack = ...` says.
#[macro_export]
macro_rules! subject {
    ($main:path $(, stack = $stack:expr)?) => {
        $crate::__program!($main, false, [$($stack)?], []);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __program {
    ($main:path, $speaks:expr, [], [$($network:expr),*]) => {
        $crate::__program!($main, $speaks, [64 * 1024], [$($network),*]);
    };
    ($main:path, $speaks:expr, [$stack:expr], [$($network:expr),*]) => {
        #[allow(unsafe_code)]
        const _: () = {
            use $crate::abi::note::{AbiNote, DeviceKind, ManifestNote, PalisadeNote};

            const NETWORKS: &[&str] = &[$($network),*];

            // SAFETY of these attributes: the symbol is one that `solo5` declares with this very type, and the sections
            // are notes, which only the builder reads.
            #[unsafe(no_mangle)]
            static SOLO5_ENTRY: $crate::Entry = $crate::Entry { main: $main, speaks: $speaks };
            #[used]
            #[unsafe(link_section = ".note.Solo5.abi")]
            static ABI: AbiNote = AbiNote::muen(4);
            #[used]
            #[unsafe(link_section = ".note.Solo5.manifest")]
            static MANIFEST: ManifestNote<{ NETWORKS.len() }> =
                ManifestNote::new([$(($network, DeviceKind::Network)),*]);
            #[used]
            #[unsafe(link_section = ".note.Palisade.program")]
            static NATIVE: PalisadeNote = PalisadeNote::new($stack);
        };
    };
}

/// Writes formatted text to the console.
#[macro_export]
macro_rules! print {
    ($($argument:tt)*) => {{
        let _ = ::core::fmt::Write::write_fmt(&mut $crate::console::Console, ::core::format_args!($($argument)*));
    }};
}

/// Writes a line of formatted text to the console.
#[macro_export]
macro_rules! println {
    ($($argument:tt)*) => {{
        $crate::print!($($argument)*);
        $crate::console::write(b"\n");
    }};
}
